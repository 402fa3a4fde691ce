"""HTTP/1.1 for the stand-in, parsed by hand: bodies go where they belong, or nowhere, uncopied."""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import os
import sys
import threading
from typing import Any, Final, cast

from benchmarks.standin.service import ACCOUNT, CONTROL, Answer, Request, Service

__all__ = ["main"]

MAX_HEAD_BYTES: Final = 64 * 1024
# Up to this an answer goes out in one piece, its body joined to its head.
JOINED_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 1024 * 1024
PACED_BYTES: Final = 128 * 1024  # so much at a time where the rate is limited
# Where thrown-away bodies go: shared by all connections, read by none.
_SCRATCH: Final = memoryview(bytearray(1024 * 1024))


class _Connection(asyncio.BufferedProtocol):
    """One connection; requests are answered one after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._head = bytearray(MAX_HEAD_BYTES)
        self._head_view = memoryview(self._head)
        self._held = 0  # bytes in _head
        self._method = self._path = self._query = ""
        self._headers: dict[str, str] = {}
        self._body: memoryview | None = None  # None: thrown away
        self._length = 0
        self._left = 0  # of the body, still to come
        self._body_began = 0.0
        self._is_busy = False  # an answer is on its way
        self._answer: Answer | None = None
        self._sent = 0  # of its body
        self._send_began = 0.0
        self._is_paused = False

    # Connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=2 * WRITE_BYTES, low=WRITE_BYTES // 2)

    def connection_lost(self, exc: Exception | None) -> None:
        self._answer = None

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._answer is not None:
            self._send_more()

    # Receiving.

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self._left:
            return self._head_view[self._held :]
        if self._body is None:
            return _SCRATCH[: self._left]
        return self._body[self._length - self._left :]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._left:
            self._held += nbytes
            if not self._is_busy:
                self._read_head()
            elif self._held == MAX_HEAD_BYTES:
                self._transport.abort()
            return
        self._left -= nbytes
        if not self._left:
            self._finish_body()
        elif self._service.bytes_per_second:
            due = self._body_due() - self._loop.time()
            if due > 0.002:
                self._transport.pause_reading()
                self._loop.call_later(due, self._resume_reading)

    def _body_due(self) -> float:
        received = self._length - self._left
        return self._body_began + received / self._service.bytes_per_second

    def _resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _read_head(self) -> None:
        end = self._head.find(b"\r\n\r\n", 0, self._held)
        if end < 0:
            if self._held == MAX_HEAD_BYTES:
                self._transport.abort()
            return
        lines = str(self._head_view[:end], "latin-1").split("\r\n")
        self._method, target, _ = lines[0].split(" ", 2)
        self._path, _, self._query = target.partition("?")
        headers = self._headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self._is_busy = True
        if "transfer-encoding" in headers:
            print("the stand-in takes no chunked bodies", file=sys.stderr, flush=True)
            self._transport.abort()
            return
        self._length = length = int(headers.get("content-length", 0))
        begin = end + 4
        here = min(self._held - begin, length)
        above = self._service.discard_above
        if above is not None and length > above:
            self._body = None
        elif here == length:
            self._body = memoryview(bytes(self._head_view[begin : begin + here]))
        else:
            self._body = memoryview(bytearray(length))
            self._body[:here] = self._head_view[begin : begin + here]
        rest = self._held - begin - here
        if rest:
            self._head[:rest] = self._head[begin + here : self._held]
        self._held = rest
        self._left = length - here
        self._body_began = self._loop.time()
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left:
            self._finish_body()

    def _finish_body(self) -> None:
        service = self._service
        delay = 0.0
        if not self._path.startswith(CONTROL):
            service.received_bytes += self._length
            delay = service.delay_seconds
            if service.bytes_per_second and self._length:
                delay += max(0.0, self._body_due() - self._loop.time())
        if delay:
            self._loop.call_later(delay, self._respond)
        else:
            self._respond()

    # Sending.

    def _respond(self) -> None:
        if self._transport.is_closing():
            return
        answer = self._service.answer(
            Request(self._method, self._path, self._query, self._headers, self._body, self._length)
        )
        self._body = None
        blob, length = answer.blob, answer.length or len(answer.body)
        self._service.sent_bytes += length
        is_paced = self._service.bytes_per_second and length > PACED_BYTES
        if length <= JOINED_BYTES or (blob is None and not is_paced):
            body = answer.body
            if blob is not None and length:
                piece = blob.read(answer.first, length)
                while len(piece) < length:  # of several blocks
                    piece = memoryview(
                        bytes(piece) + blob.read(answer.first + len(piece), length - len(piece))
                    )
                body = bytes(piece)
            if len(body) <= JOINED_BYTES:
                self._transport.write(answer.head + body)
            else:
                self._transport.write(answer.head)
                self._transport.write(body)
            self._finish_answer()
            return
        self._transport.write(answer.head)
        self._answer = answer
        self._sent = 0
        self._send_began = self._loop.time()
        self._send_more()

    def _send_more(self) -> None:
        answer = self._answer
        if answer is None or self._transport.is_closing():
            return
        rate = self._service.bytes_per_second
        total = answer.length or len(answer.body)
        limit = PACED_BYTES if rate else WRITE_BYTES
        while self._sent < total:
            if self._is_paused:
                return  # resume_writing goes on
            size = min(limit, total - self._sent)
            if rate:
                wait = self._send_began + (self._sent + size) / rate - self._loop.time()
                if wait > 0.001:
                    self._loop.call_later(wait, self._send_more)
                    return
            if answer.blob is None:
                piece = memoryview(answer.body)[self._sent : self._sent + size]
            else:
                piece = answer.blob.read(answer.first + self._sent, size)
            self._transport.write(piece)
            self._sent += len(piece)
        self._answer = None
        self._finish_answer()

    def _finish_answer(self) -> None:
        self._is_busy = False
        if self._headers.get("connection", "").lower() == "close":
            self._transport.close()
        elif self._held:
            self._read_head()


async def _serve(port: int) -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", port, backlog=1024)
    bound = server.sockets[0].getsockname()[1]
    print(
        json.dumps(
            {
                "endpoint": f"http://127.0.0.1:{bound}/{ACCOUNT}",
                "pid": os.getpid(),
                "loop": type(loop).__module__.partition(".")[0],
            }
        ),
        flush=True,
    )
    # Nothing here is cyclic but what is at most a few kilobytes a connection.
    gc.disable()
    # The parent holds the other end: when it is gone, so are we.
    ended = asyncio.Event()

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    port: int = parser.parse_args().port
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError:
        print("the stand-in runs without uvloop, at half its speed", file=sys.stderr)
        asyncio.run(_serve(port))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(port))
