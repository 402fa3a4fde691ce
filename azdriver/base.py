"""What every driver does alike: check, refuse, observe.

A driver subclasses :class:`BaseDriver` and implements the operations behind the public methods;
those take paths that are checked already. Third-party drivers are welcome to do the same.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from azdriver.contract import (
    DEFAULT_URL_EXPIRY,
    Buffer,
    FileInfo,
    FileReader,
    FileWriter,
    Walk,
)
from azdriver.errors import (
    ConfigurationError,
    DriverStateError,
    InvalidExpiryError,
    InvalidOffsetError,
    UnsupportedMethodError,
)
from azdriver.filewriter import as_bytes_view
from azdriver.observe import Observer
from azdriver.paths import StoragePath, parse_path
from azdriver.stats import DriverStats
from azdriver.tree import TreeSource, TreeWalk

__all__ = ["BaseDriver"]


class BaseDriver(ABC):
    """The public methods of the contract over the operations of one driver.

    Used with ``async with``, which opens it; the docstrings of the public methods are those of
    :class:`azdriver.StorageDriver`.
    """

    def __init__(self, name: str, service: Mapping[str, str | int] | None = None) -> None:
        """
        Args:
            name: the driver's, as in its errors.
            service: the attributes by which telemetry tells the server, such as
                ``server.address``; None for a driver that works in this process.
        """
        self._name = name
        self._observer = Observer(name, service)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    # What a driver implements.

    @abstractmethod
    async def _open(self) -> None:
        """Make ready; called once."""

    @abstractmethod
    async def _close(self) -> None:
        """Release everything; called once, also after an ``_open`` that failed."""

    @abstractmethod
    async def _get_content(self, path: StoragePath) -> bytes: ...

    @abstractmethod
    async def _put_content(
        self, path: StoragePath, content: memoryview, if_match: str | None, if_absent: bool
    ) -> FileInfo: ...

    @abstractmethod
    def _reader(
        self, path: StoragePath, offset: int, length: int | None
    ) -> AbstractAsyncContextManager[FileReader]: ...

    @abstractmethod
    def _writer(
        self, path: StoragePath, append: bool
    ) -> AbstractAsyncContextManager[FileWriter]: ...

    @abstractmethod
    async def _stat(self, path: StoragePath) -> FileInfo: ...

    @abstractmethod
    async def _list(self, path: StoragePath) -> Sequence[str]: ...

    @abstractmethod
    async def _move(self, source: StoragePath, dest: StoragePath) -> None: ...

    @abstractmethod
    async def _delete(self, path: StoragePath) -> None: ...

    @abstractmethod
    async def _url_for(self, path: StoragePath, expiry: datetime) -> str: ...

    @abstractmethod
    def _tree(self) -> TreeSource: ...

    def _parse(self, path: str, *, root: bool = False) -> StoragePath:
        """Check a path; a driver with a narrower grammar overrides this."""
        return parse_path(path, driver=self._name, root=root)

    # The contract.

    async def get_content(self, path: str) -> bytes:
        parsed = self._parse(path)
        self._require_usable()
        with self._observer.operation("get_content", parsed) as seen:
            content = await self._get_content(parsed)
            seen.bytes = len(content)
            return content

    async def put_content(
        self, path: str, content: Buffer, *, if_match: str | None = None, if_absent: bool = False
    ) -> FileInfo:
        parsed = self._parse(path)
        if if_absent and if_match is not None:
            raise ConfigurationError(self._name, "if_absent", "excludes if_match")
        if if_match is not None and not _is_etag(if_match):
            raise ConfigurationError(self._name, "if_match", f"is not an ETag: {if_match!r}")
        self._require_usable()
        # Released at the end: until then a bytearray of the caller's cannot be resized.
        with (
            as_bytes_view(content) as view,
            self._observer.operation("put_content", parsed) as seen,
        ):
            seen.bytes = len(view)
            return await self._put_content(parsed, view, if_match, if_absent)

    def reader(
        self, path: str, offset: int = 0, *, length: int | None = None
    ) -> AbstractAsyncContextManager[FileReader]:
        parsed = self._parse(path)
        if offset < 0:
            raise InvalidOffsetError(self._name, parsed, offset)
        if length is not None and length < 0:
            raise InvalidOffsetError(self._name, parsed, length, "length")
        self._require_usable()
        return self._observed_reader(parsed, offset, length)

    def writer(self, path: str, *, append: bool = False) -> AbstractAsyncContextManager[FileWriter]:
        parsed = self._parse(path)
        self._require_usable()
        return self._observed_writer(parsed, append)

    async def stat(self, path: str) -> FileInfo:
        parsed = self._parse(path, root=True)
        self._require_usable()
        with self._observer.operation("stat", parsed):
            return await self._stat(parsed)

    async def list(self, path: str) -> Sequence[str]:
        parsed = self._parse(path, root=True)
        self._require_usable()
        with self._observer.operation("list", parsed):
            return await self._list(parsed)

    async def move(self, source: str, dest: str) -> None:
        parsed_source = self._parse(source)
        parsed_dest = self._parse(dest)
        self._require_usable()
        with self._observer.operation("move", parsed_source):
            await self._move(parsed_source, parsed_dest)

    async def delete(self, path: str) -> None:
        parsed = self._parse(path)
        self._require_usable()
        with self._observer.operation("delete", parsed):
            await self._delete(parsed)

    async def url_for(
        self, path: str, *, method: str = "GET", expiry: datetime | timedelta = DEFAULT_URL_EXPIRY
    ) -> str:
        parsed = self._parse(path)
        if method not in ("GET", "HEAD"):
            raise UnsupportedMethodError(self._name, parsed, f"url_for(method={method!r})")
        now = datetime.now(UTC)
        try:
            until = now + expiry if isinstance(expiry, timedelta) else expiry
        except OverflowError:
            raise InvalidExpiryError(self._name, parsed, "beyond the last date") from None
        if until.tzinfo is None:
            raise InvalidExpiryError(self._name, parsed, "a datetime without a time zone")
        if until <= now:
            raise InvalidExpiryError(self._name, parsed, "in the past")
        self._require_usable()
        with self._observer.operation("url_for", parsed):
            return await self._url_for(parsed, until)

    def walk(self, path: str, *, start_after: str | None = None) -> Walk:
        parsed = self._parse(path, root=True)
        parsed_start = None if start_after is None else self._parse(start_after)
        self._require_usable()
        return TreeWalk(self._observer, self._tree(), parsed, parsed_start)

    def stats(self) -> DriverStats:
        """What was done so far, also after closing; no contract, but what every driver here has.

        A driver that talks to a server adds what it counts there.
        """
        return DriverStats(
            operations=dict(self._observer.operations), failures=dict(self._observer.failures)
        )

    # Life.

    async def open(self) -> None:
        """Make the driver ready in the running event loop; ``async with`` calls it.

        Raises:
            DriverStateError: it was opened or closed before.
        """
        if self._closed:
            raise DriverStateError(self._name, "", "is closed")
        if self._loop is not None:
            raise DriverStateError(self._name, "", "was opened already")
        self._loop = asyncio.get_running_loop()
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        if self._closed:
            return
        self._require_loop()
        self._closed = True
        if self._loop is not None:
            await self._close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _require_usable(self) -> None:
        if self._closed:
            raise DriverStateError(self._name, "", "is closed")
        if self._loop is None:
            raise DriverStateError(self._name, "", "is not open: use it with 'async with'")
        self._require_loop()

    def _require_loop(self) -> None:
        if self._loop is None:
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # called from no task at all
            running = None
        if running is not self._loop:
            raise DriverStateError(self._name, "", "belongs to another event loop")

    @asynccontextmanager
    async def _observed_reader(
        self, path: StoragePath, offset: int, length: int | None
    ) -> AsyncIterator[FileReader]:
        with self._observer.stream("reader", path) as seen:
            async with self._reader(path, offset, length) as reader:
                began = reader.offset
                try:
                    yield reader
                finally:
                    seen.bytes = reader.offset - began

    @asynccontextmanager
    async def _observed_writer(self, path: StoragePath, append: bool) -> AsyncIterator[FileWriter]:
        with self._observer.stream("writer", path) as seen:
            async with self._writer(path, append) as writer:
                began = writer.size
                try:
                    yield writer
                finally:
                    seen.bytes = writer.size - began


def _is_etag(text: str) -> bool:
    """Whether a header can carry it; quotes are optional, since listings leave them out."""
    bare = text.strip('"')
    # A bare ``*`` is no version: HTTP reads it as "whatever is there".
    return bool(bare) and bare != "*" and bare.isascii() and bare.isprintable() and '"' not in bare
