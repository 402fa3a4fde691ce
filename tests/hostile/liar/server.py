"""The server that lies when it is told to, and a driver on it that does not wait long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

from azdriver import AzureBlobDriver
from azdriver.azureblob import AzureBlobOptions, RetrySettings
from azdriver.azureblob.options import SasToken
from liar.lies import Lie
from liar.messages import SECRET, Answer, Request
from liar.polite import polite

__all__ = ["Handler", "Server", "hostile_server", "hurried", "listening"]


@dataclass
class Server:
    """Answers politely until it is told what to lie, and to which request."""

    endpoint: str = ""
    requests: list[Request] = field(default_factory=list)
    lie: Lie | None = None
    operation: str = ""
    skip: int = 0  # so many requests of this operation are answered politely first
    bait: str = ""
    visitors: int = 0  # connections to the bait

    def reset(self) -> None:
        self.requests.clear()
        self.lie = None

    def answer(self, request: Request) -> Answer:
        answer = polite(request)
        if self.lie is None or request.operation != self.operation:
            return answer
        if self.skip:
            self.skip -= 1
            return answer
        return self.lie(request, answer)

    def _named(self, data: bytes) -> bytes:
        if b"{bait" not in data:
            return data
        host = urlsplit(self.bait).netloc
        return data.replace(b"{bait}", self.bait.encode()).replace(b"{bait_host}", host.encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep_alive = True
        while keep_alive and (head := await reader.readuntil(b"\r\n\r\n")):
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines if line)
            headers = {key.strip().lower(): value.strip() for key, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Request(method, target, headers, body)
            self.requests.append(request)
            answer = self.answer(request)
            writer.write(self._named(answer.encoded(method)))
            await writer.drain()
            if answer.tail is not None:
                for piece in answer.tail():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(answer.pause_seconds)
            keep_alive = answer.keep_alive and answer.tail is None

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visitors += 1


Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncGenerator[str, None]:
    """A loopback server that hangs up when its handler ends; yields its URL."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await handle(reader, writer)
                await writer.drain()
                writer.close()
                return
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=8 * 1024 * 1024)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        await asyncio.sleep(0.01)  # for what was accepted this moment
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()


@asynccontextmanager
async def hostile_server() -> AsyncGenerator[Server, None]:
    server = Server()
    async with listening(server.serve) as endpoint, listening(server.visited) as bait:
        server.endpoint = f"{endpoint}/account"
        server.bait = bait
        yield server


def hurried(server: Server, *, connections: int = 2, lean_lane: bool = True) -> AzureBlobDriver:
    """A driver that gives up soon, with blocks and ranges of five bytes."""
    return AzureBlobDriver(
        AzureBlobOptions(
            account_url=server.endpoint,
            container="cage",
            credential=SasToken(f"sv=2021-12-02&sig={SECRET}"),
            append_block_bytes=5,
            read_range_bytes=5,
            connections=connections,
            lean_lane=lean_lane,
            connect_timeout_seconds=0.3,
            pool_timeout_seconds=0.3,
            read_timeout_seconds=0.2,
            copy_poll_seconds=0.01,
            copy_timeout_seconds=0.1,
            retry=RetrySettings(
                retries=1,
                first_delay_seconds=0.001,
                longest_delay_seconds=0.002,
                attempt_seconds=0.2,
                total_seconds=0.4,
            ),
        )
    )
