"""A loopback TCP proxy between a driver and its server, which hurts real connections::

    async with fault_proxy(server.blob_endpoint) as proxy:
        proxy.cut_answers_after(100_000, times=1)
        ...  # a driver on proxy.endpoint

What it does is seen by the driver as a network's doing: nothing is replaced in between.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

__all__ = ["FaultProxy", "fault_proxy"]

_REQUEST_LINE = re.compile(rb"(GET|PUT|HEAD|DELETE|POST) (/[^ ?]*)[^ ]* HTTP/1\.1\r\n")
_CHUNK = 64 * 1024


@dataclass(slots=True)
class _Limit:
    """What happens to the next ``times`` connections once ``bytes`` have gone one way."""

    bytes: int
    times: int


@dataclass(slots=True)
class FaultProxy:
    """Hands bytes on, and hurts them as told. All numbers are bytes and seconds.

    Attributes:
        endpoint: the server's endpoint as seen through the proxy.
        request_lines: method and path of each request on the wire, in order. Matches within
            bodies count as well: send none that look like requests.
        connections: how many were opened.
        bytes_per_second: throttles answers; None for no limit.
    """

    endpoint: str
    request_lines: list[tuple[str, str]] = field(default_factory=list, init=False)
    connections: int = field(default=0, init=False)
    bytes_per_second: int | None = None
    _cut_answers: _Limit = field(default_factory=lambda: _Limit(0, 0), init=False)
    _cut_requests: _Limit = field(default_factory=lambda: _Limit(0, 0), init=False)
    _stall_answers: _Limit = field(default_factory=lambda: _Limit(0, 0), init=False)
    _corrupt_answers: _Limit = field(default_factory=lambda: _Limit(0, 0), init=False)

    def cut_answers_after(self, count: int, *, times: int) -> None:
        """Reset the next ``times`` connections when so many bytes of an answer came by."""
        self._cut_answers = _Limit(count, times)

    def cut_requests_after(self, count: int, *, times: int) -> None:
        """Reset the next ``times`` connections when so many bytes of a request came by."""
        self._cut_requests = _Limit(count, times)

    def stall_answers_after(self, count: int, *, times: int) -> None:
        """Hand on nothing more once so many bytes of an answer came by."""
        self._stall_answers = _Limit(count, times)

    def corrupt_answers_at(self, count: int, *, times: int) -> None:
        """Invert the byte of an answer at this position."""
        self._corrupt_answers = _Limit(count, times)

    async def _serve(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, up_writer, writer))
                group.create_task(self._answers(up_reader, writer))
        except* (ConnectionError, _Cut):
            pass
        finally:
            for side in (writer, up_writer):
                side.transport.abort()
            for side in (writer, up_writer):
                with suppress(ConnectionError):
                    await side.wait_closed()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            for method, path in _REQUEST_LINE.findall(chunk):
                self.request_lines.append((method.decode(), path.decode()))
            if self._cut_requests.times and len(chunk) > self._cut_requests.bytes:
                self._cut_requests.times -= 1
                up_writer.write(chunk[: self._cut_requests.bytes])
                await up_writer.drain()
                raise _Cut
            self._cut_requests.bytes -= len(chunk) if self._cut_requests.times else 0
            up_writer.write(chunk)
            await up_writer.drain()
        raise _Cut  # the client hung up

    async def _answers(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while chunk := await up_reader.read(_CHUNK):
            here = range(passed, passed + len(chunk))
            if self._corrupt_answers.times and self._corrupt_answers.bytes in here:
                self._corrupt_answers.times -= 1
                at = self._corrupt_answers.bytes - passed
                chunk = chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]
            if self._cut_answers.times and here.stop > self._cut_answers.bytes:
                self._cut_answers.times -= 1
                writer.write(chunk[: max(0, self._cut_answers.bytes - passed)])
                await writer.drain()
                raise _Cut
            if self._stall_answers.times and here.stop > self._stall_answers.bytes:
                self._stall_answers.times -= 1
                writer.write(chunk[: max(0, self._stall_answers.bytes - passed)])
                await writer.drain()
                await asyncio.sleep(3600)
            writer.write(chunk)
            await writer.drain()
            passed += len(chunk)
            if self.bytes_per_second is not None:
                await asyncio.sleep(len(chunk) / self.bytes_per_second)
        raise _Cut  # the server hung up


class _Cut(Exception):
    """Ends both directions of a connection."""


@asynccontextmanager
async def fault_proxy(endpoint: str) -> AsyncIterator[FaultProxy]:
    """Start a proxy before the server of ``endpoint``, on a free loopback port; always stopped."""
    url = urlsplit(endpoint)
    assert url.hostname is not None
    host, port = url.hostname, url.port or (443 if url.scheme == "https" else 80)
    proxy = FaultProxy("")
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await proxy._serve(host, port, reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy is being stopped; asyncio would log it as an error
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    own_host, own_port = server.sockets[0].getsockname()[:2]
    proxy.endpoint = urlunsplit((url.scheme, f"{own_host}:{own_port}", url.path, "", ""))
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
