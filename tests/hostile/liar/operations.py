"""The operations of the contract, as they are tried on the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from azdriver import AzureBlobDriver, FileInfo
from liar.messages import CONTENT, Request
from liar.server import Server, hurried

__all__ = ["OPERATIONS", "Call", "Target", "requests_of"]


async def _read(driver: AzureBlobDriver, offset: int = 0, length: int | None = None) -> bytes:
    async with driver.reader("/content", offset, length=length) as reader:
        parts = []
        async for chunk in reader:
            parts.append(chunk)
            assert sum(map(len, parts)) < 10_000_000, "more than anyone asked for"
        return b"".join(parts)


async def _write(driver: AzureBlobDriver, end: str = "commit", *, append: bool = False) -> int:
    async with driver.writer("/stream", append=append) as writer:
        await writer.write(CONTENT)
        await getattr(writer, end)()
        return 0 if end == "cancel" else writer.size


async def _walk(driver: AzureBlobDriver, *, skip: bool = False) -> list[FileInfo]:
    infos: list[FileInfo] = []
    walk = driver.walk("/")
    async for info in walk:
        infos.append(info)
        assert len(infos) < 1000, "more than anyone stored"
        if skip and info.is_dir:
            walk.skip()
    return infos


async def _open(driver: AzureBlobDriver) -> None:
    async with AzureBlobDriver(driver.options):
        pass


Call: TypeAlias = Callable[[AzureBlobDriver], Awaitable[Any]]


OPERATIONS: Final[dict[str, Call]] = {
    "open": _open,
    "get_content": lambda d: d.get_content("/content"),
    "put_content": lambda d: d.put_content("/new", CONTENT),
    "put_content over a legacy blob": lambda d: d.put_content("/stream", CONTENT),
    "put_content if_match": lambda d: d.put_content("/content", CONTENT, if_match='"0x8D1"'),
    "put_content if_absent": lambda d: d.put_content("/new", CONTENT, if_absent=True),
    "reader": _read,
    "reader with an offset": lambda d: _read(d, 3, 6),
    "reader past the end": lambda d: _read(d, 100),
    "reader of nothing": lambda d: _read(d, 0, 0),
    "writer": _write,
    "writer, append": lambda d: _write(d, append=True),
    "writer, close": lambda d: _write(d, "close"),
    "writer, cancel": lambda d: _write(d, "cancel"),
    "stat a file": lambda d: d.stat("/content"),
    "stat a directory": lambda d: d.stat("/dir"),
    "stat the root": lambda d: d.stat("/"),
    "list": lambda d: d.list("/dir"),
    "walk": _walk,
    "walk and skip": lambda d: _walk(d, skip=True),
    "move": lambda d: d.move("/content", "/new"),
    "delete a blob": lambda d: d.delete("/content"),
    "delete a tree": lambda d: d.delete("/dir"),
}


Target: TypeAlias = tuple[str, int]
"""A request of an operation: its REST operation, and which one of that kind."""


async def requests_of(server: Server, call: Call) -> dict[Target, Request]:
    """What an operation sends when all goes well."""
    async with hurried(server) as driver:
        server.reset()
        await call(driver)
        counts: dict[str, int] = {}
        seen: dict[Target, Request] = {}
        for request in server.requests:
            number = counts.setdefault(request.operation, 0)
            counts[request.operation] += 1
            seen[request.operation, number] = request
        return seen
