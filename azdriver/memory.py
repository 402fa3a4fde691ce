"""The driver that keeps everything in this process: for tests, and for development without Azure.

It is the reference that the other drivers are compared with, so it behaves as they do where that
can be seen: a stream only takes bytes at the position and the version that its writer knows (as
an append blob does), a move keeps the kind, every change has a new ETag and a later time.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from azdriver.base import BaseDriver
from azdriver.contract import FileInfo, FileReader, FileWriter
from azdriver.errors import (
    ConcurrentWriteError,
    ConfigurationError,
    ContentTooLargeError,
    DriverStateError,
    NotAppendableError,
    PathNotFoundError,
    PreconditionFailedError,
    UnsupportedMethodError,
)
from azdriver.filewriter import BaseFileWriter
from azdriver.paths import ROOT, StoragePath
from azdriver.tree import FlatPage, TreeSource, direct_descendants, directory_prefix

__all__ = ["DEFAULT_MAX_CONTENT_BYTES", "MemoryDriver"]

DEFAULT_MAX_CONTENT_BYTES: Final = 64 * 1024 * 1024

_NAME: Final = "memory"
_READ_CHUNK_BYTES: Final = 1024 * 1024
# Small enough that a test's tree has several pages, as a large one has in Azure.
_PAGE_ENTRIES: Final = 1000
_TICK: Final = timedelta(microseconds=1)


class MemoryDriver(BaseDriver):
    """Stores in this process; what is stored ends with the driver.

    Each call lets other tasks run once, as a call over a network would, and then acts at once:
    no task ever sees half an operation.
    """

    def __init__(self, *, max_content_bytes: int = DEFAULT_MAX_CONTENT_BYTES) -> None:
        """Make a driver; it is empty, and is opened by ``async with``.

        Args:
            max_content_bytes: the limit of ``put_content``; streams have none.

        Raises:
            ConfigurationError: ``max_content_bytes`` is negative.
        """
        super().__init__(_NAME)
        if max_content_bytes < 0:
            raise ConfigurationError(_NAME, "max_content_bytes", "is negative")
        self._max_content_bytes = max_content_bytes
        self._store = _Store()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Make a driver out of a configuration's parameters; all of them are optional.

        Args:
            parameters: ``maxcontentbytes``, a number or its decimal digits, as the driver of
                Azure has it.

        Raises:
            ConfigurationError: naming the parameter that is unknown or wrong.
        """
        given = {str(key).lower(): value for key, value in parameters.items() if value is not None}
        limit = given.pop("maxcontentbytes", DEFAULT_MAX_CONTENT_BYTES)
        for key in given:
            raise ConfigurationError(_NAME, key[:100], "is unknown; there are: maxcontentbytes")
        try:
            return cls(max_content_bytes=int(str(limit)))
        except ValueError:  # not a number, or one that the options refuse
            text = repr(limit)
            shown = text if len(text) <= 100 else text[:100] + "…"
            reason = f"is to be a whole number of bytes, not {shown}"
            raise ConfigurationError(_NAME, "maxcontentbytes", reason) from None

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        self._store.close()

    async def _get_content(self, path: StoragePath) -> bytes:
        await self._store.turn()
        return self._store.get(path).bytes()

    async def _put_content(
        self, path: StoragePath, content: memoryview, if_match: str | None, if_absent: bool
    ) -> FileInfo:
        if len(content) > self._max_content_bytes:
            raise ContentTooLargeError(_NAME, path, len(content), self._max_content_bytes)
        await self._store.turn()
        found = self._store.find(path)
        if if_absent and found is not None:
            raise PreconditionFailedError(_NAME, path, "if_absent")
        if if_match is not None and (found is None or found.etag.strip('"') != if_match.strip('"')):
            raise PreconditionFailedError(_NAME, path, "if_match")
        return self._store.put(path, bytes(content), len(content)).info(path)

    @asynccontextmanager
    async def _reader(
        self, path: StoragePath, offset: int, length: int | None
    ) -> AsyncIterator[FileReader]:
        await self._store.turn()
        reader = _MemoryReader(self._store, self._store.get(path), offset, length)
        try:
            yield reader
        finally:
            await reader.aclose()

    @asynccontextmanager
    async def _writer(self, path: StoragePath, append: bool) -> AsyncIterator[FileWriter]:
        await self._store.turn()
        if append:
            blob = self._store.get(path)
            if not blob.is_stream:
                if blob.size:
                    raise NotAppendableError(_NAME, path, "content")
                blob = self._store.put(path, bytearray(), 0)
        else:
            blob = self._store.put(path, bytearray(), 0)
        async with _MemoryWriter(self._store, path, blob) as writer:
            yield writer

    async def _stat(self, path: StoragePath) -> FileInfo:
        await self._store.turn()
        found = self._store.find(path)
        if found is not None:
            return found.info(path)
        if path != ROOT and not self._store.below(directory_prefix(path), limit=1):
            raise PathNotFoundError(_NAME, path)
        return FileInfo(path, is_dir=True)

    async def _list(self, path: StoragePath) -> Sequence[str]:
        await self._store.turn()
        prefix = directory_prefix(path)
        found = direct_descendants(self._store.below(prefix), prefix)
        if not found and path != ROOT:
            raise PathNotFoundError(_NAME, path)
        return found

    async def _move(self, source: StoragePath, dest: StoragePath) -> None:
        await self._store.turn()
        blob = self._store.get(source)
        if source != dest:
            self._store.put(dest, blob.buffer, blob.size)
            self._store.remove(source)

    async def _delete(self, path: StoragePath) -> None:
        await self._store.turn()
        doomed = self._store.below(directory_prefix(path))
        if self._store.find(path) is not None:
            doomed.append(path)
        if not doomed:
            raise PathNotFoundError(_NAME, path)
        for name in doomed:
            self._store.remove(name)

    async def _url_for(self, path: StoragePath, expiry: datetime) -> str:
        raise UnsupportedMethodError(_NAME, path, "url_for", "nothing in memory has an URL")

    def _tree(self) -> TreeSource:
        return _MemoryTree(self._store)


@dataclass(frozen=True, slots=True)
class _Blob:
    """One version of a blob.

    A stream's buffer only ever grows, and all its versions share it: the first ``size`` bytes
    are those of this version for as long as anyone holds it.
    """

    buffer: bytes | bytearray
    size: int
    etag: str
    mod_time: datetime

    @property
    def is_stream(self) -> bool:
        return isinstance(self.buffer, bytearray)

    def bytes(self, begin: int = 0, end: int | None = None) -> bytes:
        # A bytearray with a view on it cannot grow: the view must not outlive this line.
        with memoryview(self.buffer) as view:
            return bytes(view[begin : self.size if end is None else end])

    def info(self, path: str) -> FileInfo:
        return FileInfo(path, self.size, self.mod_time, etag=self.etag)


class _Store:
    """Blobs by path, and the paths in order. No method but ``turn`` waits: each is atomic."""

    def __init__(self) -> None:
        self._closed = False
        self._blobs: dict[str, _Blob] = {}
        self._names: list[str] = []
        self._versions = itertools.count(1)
        self._last_change = datetime.min.replace(tzinfo=UTC)

    async def turn(self) -> None:
        """Let other tasks run, as a request would; every operation starts with it.

        Raises:
            DriverStateError: the driver was closed, maybe under a reader, writer or walk.
        """
        await asyncio.sleep(0)
        if self._closed:
            raise DriverStateError(_NAME, "", "is closed")

    def close(self) -> None:
        self._closed = True
        self._blobs.clear()
        self._names.clear()

    def find(self, path: str) -> _Blob | None:
        return self._blobs.get(path)

    def get(self, path: str) -> _Blob:
        blob = self._blobs.get(path)
        if blob is None:
            raise PathNotFoundError(_NAME, path)
        return blob

    def put(self, path: str, buffer: bytes | bytearray, size: int) -> _Blob:
        """Store a new version, over whatever is there."""
        if path not in self._blobs:
            insort(self._names, path)
        # Clocks stand still between two changes, or go back; versions must not.
        self._last_change = max(datetime.now(UTC), self._last_change + _TICK)
        blob = _Blob(buffer, size, f'"0x{next(self._versions):016X}"', self._last_change)
        self._blobs[path] = blob
        return blob

    def extend(self, path: str, known: _Blob, data: memoryview) -> _Blob:
        """Append to the stream ``known``, if it is what the path still holds.

        Raises:
            PathNotFoundError: it was deleted, or moved away.
            ConcurrentWriteError: it was extended, truncated or replaced.
        """
        self.require(path, known)
        buffer = known.buffer
        assert isinstance(buffer, bytearray)  # the version is that of a writer
        buffer += data
        return self.put(path, buffer, len(buffer))

    def require(self, path: str, known: _Blob) -> None:
        """Check that ``known`` is still what the path holds; raises as ``extend`` does."""
        blob = self.get(path)
        if blob.etag != known.etag:
            raise ConcurrentWriteError(
                _NAME, path, f"expected {known.size} bytes, found {blob.size} of others"
            )

    def remove(self, path: str) -> None:
        del self._blobs[path]
        del self._names[bisect_left(self._names, path)]

    def below(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Up to ``limit`` paths with a prefix, in order; it ends with a slash."""
        begin = max(bisect_left(self._names, prefix), bisect_right(self._names, after))
        end = bisect_left(self._names, _past(prefix))
        return self._names[begin : end if limit is None else min(end, begin + limit)]


def _past(prefix: str) -> str:
    """What sorts after every path with a prefix that ends with a slash, and before all others."""
    return prefix + "~"  # greater than every character of a path


class _MemoryReader:
    """A ``FileReader`` of the version that was there at opening, whatever happens to the path."""

    def __init__(self, store: _Store, blob: _Blob, offset: int, length: int | None) -> None:
        self._store = store
        self._blob: _Blob | None = blob
        self._size = blob.size
        self._etag = blob.etag
        self._offset = offset
        end = blob.size if length is None else min(blob.size, offset + length)
        self._end = max(offset, end)  # past the end there is nothing, not less than nothing

    @property
    def size(self) -> int:
        return self._size

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def etag(self) -> str | None:
        return self._etag

    async def read(self, n: int = -1, /) -> bytes:
        await self._store.turn()
        if self._blob is None:
            raise ValueError("the reader is closed")
        end = self._end if n < 0 else min(self._end, self._offset + n)
        data = self._blob.bytes(self._offset, end)
        self._offset = end
        return data

    async def readinto(self, buffer: bytearray | memoryview, /) -> int:
        with memoryview(buffer) as whole, whole.cast("B") as view:
            data = await self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read(_READ_CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._blob = None


class _MemoryWriter(BaseFileWriter):
    """A ``FileWriter`` on one stream; what was accepted is stored already."""

    def __init__(self, store: _Store, path: StoragePath, blob: _Blob) -> None:
        super().__init__(_NAME, path)
        self._store = store
        self._blob = blob

    @property
    def size(self) -> int:
        return self._blob.size

    async def _accept(self, data: memoryview) -> None:
        await self._store.turn()
        if data:
            self._blob = self._store.extend(self._path, self._blob, data)

    async def _flush(self) -> None:
        pass

    async def _finish(self) -> None:
        await self._store.turn()
        self._store.require(self._path, self._blob)

    async def _discard(self) -> None:
        await self._store.turn()
        found = self._store.find(self._path)
        # The stream of this writer, whoever else extended it; not what has replaced it.
        if found is not None and found.buffer is self._blob.buffer:
            self._store.remove(self._path)


class _MemoryTree:
    """The ``TreeSource`` of the driver. A page is cut when it is asked for, so it is never old."""

    def __init__(self, store: _Store) -> None:
        self._store = store

    async def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        prefix = directory_prefix(directory)
        names: list[str] = []
        more = True
        while more:
            await self._store.turn()
            after = names[-1] if names else ""
            # One more than the page tells whether another page follows.
            names = self._store.below(prefix, after=after, limit=_PAGE_ENTRIES + 1)
            more = len(names) > _PAGE_ENTRIES
            names = names[:_PAGE_ENTRIES]
            entries = [self._store.get(name).info(name) for name in names]
            yield FlatPage(entries, more, found=bool(entries))

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        prefix = directory_prefix(directory)
        after = ""
        while True:
            await self._store.turn()
            found = self._store.below(prefix, after=after, limit=1)
            if not found:
                return
            name = found[0]
            segment, slash, _ = name[len(prefix) :].partition("/")
            if slash:
                yield FileInfo(prefix + segment, is_dir=True)
                after = _past(f"{prefix}{segment}/")
            else:
                yield self._store.get(name).info(name)
                after = name
