"""Every operation of the contract, by name: what a path may be given to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from azdriver import AzureBlobDriver

__all__ = ["OPERATIONS", "Operation", "every_operation"]


async def _reader(driver: AzureBlobDriver, path: str) -> None:
    async with driver.reader(path) as reader:
        await reader.read()


async def _writer(driver: AzureBlobDriver, path: str, *, append: bool = False) -> None:
    async with driver.writer(path, append=append) as writer:
        await writer.write(b"x")
        await writer.commit()


async def _walk(driver: AzureBlobDriver, path: str, start_after: str | None = None) -> None:
    async for _ in driver.walk(path, start_after=start_after):
        pass


Operation = Callable[[AzureBlobDriver, str], Awaitable[Any]]

OPERATIONS: Final[dict[str, Operation]] = {
    "get_content": lambda driver, path: driver.get_content(path),
    "put_content": lambda driver, path: driver.put_content(path, b"x"),
    "put_content, if_absent": lambda driver, path: driver.put_content(path, b"x", if_absent=True),
    "reader": _reader,
    "writer": _writer,
    "writer, append": lambda driver, path: _writer(driver, path, append=True),
    "stat": lambda driver, path: driver.stat(path),
    "list": lambda driver, path: driver.list(path),
    "walk": _walk,
    "walk, start_after": lambda driver, path: _walk(driver, "/", path),
    "move, source": lambda driver, path: driver.move(path, "/moved"),
    "move, dest": lambda driver, path: driver.move("/a", path),
    "url_for": lambda driver, path: driver.url_for(path),
    "delete": lambda driver, path: driver.delete(path),
}


async def every_operation(driver: AzureBlobDriver) -> None:
    """Each at least once; nothing is left."""
    await driver.put_content("/a/content", b"content")
    await driver.get_content("/a/content")
    await driver.stat("/a/content")
    await driver.stat("/a")
    async with driver.writer("/a/stream") as writer:
        await writer.write(bytes(100))
        await writer.commit()
    async with driver.writer("/a/stream", append=True) as writer:
        await writer.write(bytes(100))
    async with driver.reader("/a/stream", 10) as reader:
        await reader.read()
    await driver.put_content("/a/stream", b"migrated")
    await driver.list("/a")
    await _walk(driver, "/")
    await driver.move("/a/stream", "/a/moved")
    for number in range(3):
        await driver.put_content(f"/a/tree/{number}", b"")
    await driver.delete("/a")
