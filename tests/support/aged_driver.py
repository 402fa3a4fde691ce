"""A driver on which time passes when a test says so, and whose calls take turns at random."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from types import TracebackType
from typing import Final, Self

from azdriver import FileInfo, FileReader, FileWriter, StorageDriver
from azdriver.contract import DEFAULT_URL_EXPIRY, Buffer, Walk

__all__ = ["AgedDriver", "paths"]

AGE: Final = timedelta(days=3)
MAX_TURNS: Final = 6


class AgedDriver:
    """Passes every call on, and shows what was there at ``grow_old`` as three days older.

    What is written later, over the same path too, is new. With ``random``, other tasks run for a
    while before each call, so that calls of several tasks meet in many orders. ``meet``, if a test
    sets it, is awaited before each call with its name and path: what it does comes in between.
    """

    def __init__(self, inner: StorageDriver, random: Random | None = None) -> None:
        self._inner = inner
        self._random = random
        self._old: set[tuple[str, str | None]] = set()
        self.meet: Callable[[str, str], Awaitable[None]] | None = None

    async def grow_old(self) -> None:
        """Let three days pass."""
        async with aclosing(self._inner.walk("/")) as walk:
            self._old = {(info.path, info.etag) async for info in walk if not info.is_dir}

    async def _turn(self, operation: str, path: str) -> None:
        if self.meet is not None:
            await self.meet(operation, path)
        if self._random is not None:
            for _ in range(self._random.randrange(MAX_TURNS)):
                await asyncio.sleep(0)

    def _aged(self, info: FileInfo) -> FileInfo:
        if info.mod_time is None or (info.path, info.etag) not in self._old:
            return info
        return replace(info, mod_time=info.mod_time - AGE)

    @property
    def name(self) -> str:
        return self._inner.name

    async def get_content(self, path: str) -> bytes:
        await self._turn("get_content", path)
        return await self._inner.get_content(path)

    async def put_content(
        self, path: str, content: Buffer, *, if_match: str | None = None, if_absent: bool = False
    ) -> FileInfo:
        await self._turn("put_content", path)
        return await self._inner.put_content(path, content, if_match=if_match, if_absent=if_absent)

    @asynccontextmanager
    async def _reader(
        self, path: str, offset: int, length: int | None
    ) -> AsyncIterator[FileReader]:
        await self._turn("reader", path)
        async with self._inner.reader(path, offset, length=length) as reader:
            yield reader

    def reader(
        self, path: str, offset: int = 0, *, length: int | None = None
    ) -> AbstractAsyncContextManager[FileReader]:
        return self._reader(path, offset, length)

    @asynccontextmanager
    async def _writer(self, path: str, append: bool) -> AsyncIterator[FileWriter]:
        await self._turn("writer", path)
        async with self._inner.writer(path, append=append) as writer:
            yield writer

    def writer(self, path: str, *, append: bool = False) -> AbstractAsyncContextManager[FileWriter]:
        return self._writer(path, append)

    async def stat(self, path: str) -> FileInfo:
        await self._turn("stat", path)
        return self._aged(await self._inner.stat(path))

    async def list(self, path: str) -> Sequence[str]:
        await self._turn("list", path)
        return await self._inner.list(path)

    async def move(self, source: str, dest: str) -> None:
        await self._turn("move", source)
        await self._inner.move(source, dest)

    async def delete(self, path: str) -> None:
        await self._turn("delete", path)
        await self._inner.delete(path)

    async def url_for(
        self, path: str, *, method: str = "GET", expiry: datetime | timedelta = DEFAULT_URL_EXPIRY
    ) -> str:
        return await self._inner.url_for(path, method=method, expiry=expiry)

    def walk(self, path: str, *, start_after: str | None = None) -> Walk:
        return _AgedWalk(self, path, self._inner.walk(path, start_after=start_after))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc, tb)


class _AgedWalk:
    def __init__(self, driver: AgedDriver, path: str, inner: Walk) -> None:
        self._driver = driver
        self._path = path
        self._inner = inner

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FileInfo:
        await self._driver._turn("walk", self._path)
        return self._driver._aged(await self._inner.__anext__())

    def skip(self) -> None:
        self._inner.skip()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def paths(driver: StorageDriver) -> AsyncGenerator[str, None]:
    """The paths of all that is stored."""
    async with aclosing(driver.walk("/")) as walk:
        async for info in walk:
            if not info.is_dir:
                yield info.path
