"""The contract: what a storage driver does, whatever it stores in.

Source: the interfaces ``StorageDriver`` and ``FileWriter`` of the CNCF ``distribution``
container registry (``registry/storage/driver/storagedriver.go``), restated for asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias, runtime_checkable

__all__ = [
    "DEFAULT_URL_EXPIRY",
    "Buffer",
    "FileInfo",
    "FileReader",
    "FileWriter",
    "StorageDriver",
    "Walk",
]

# ``collections.abc.Buffer`` came with Python 3.12.
Buffer: TypeAlias = bytes | bytearray | memoryview
"""What content and streams are written from."""

DEFAULT_URL_EXPIRY: Final = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is stored at a path.

    Attributes:
        path: absolute.
        size: bytes; 0 for a directory.
        mod_time: the last change, an aware datetime in UTC; None for a directory.
        is_dir: whether this is a directory, which exists as long as something is below it.
        etag: the version of the content as HTTP has it, quotes included; None for a directory
            or where the driver has none.
    """

    path: str
    size: int = 0
    mod_time: datetime | None = None
    is_dir: bool = False
    etag: str | None = None


class FileReader(Protocol):
    """A stream of bytes out of one version of a blob.

    Bytes of two versions are never mixed: if the blob is overwritten or deleted meanwhile, the
    reader goes on with the old version or raises ``ConcurrentWriteError``. To be used by one task
    at a time.
    """

    @property
    def size(self) -> int:
        """Bytes of the whole blob, wherever the reader began."""
        ...

    @property
    def offset(self) -> int:
        """Where in the blob the next byte comes from, in bytes."""
        ...

    @property
    def etag(self) -> str | None:
        """The version that is read; None where the driver has none, or nothing was to read."""
        ...

    async def read(self, n: int = -1, /) -> bytes:
        """Read ``n`` bytes, fewer at the end only, or all the rest with ``-1``."""
        ...

    async def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill ``buffer``; the number of bytes, less than its length at the end only."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The rest as chunks, none of them empty, of the sizes in which they arrive."""
        ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Release the connection; idempotent."""
        ...


class FileWriter(Protocol):
    """A stream into a blob, entered with ``async with``.

    Any number of tasks may write at once: the bytes of each ``write`` land contiguously, in the
    order in which the writes took the writer's lock. Leaving the ``async with`` closes, never
    commits; when it is left by an exception, what was accepted is flushed as far as a short
    grace allows, so that ``writer(path, append=True)`` can resume.
    """

    @property
    def size(self) -> int:
        """Bytes accepted, those found at opening with ``append=True`` included."""
        ...

    async def write(self, data: Buffer, /) -> None:
        """Accept all of ``data`` or raise; ``size`` says how much was accepted.

        Raises:
            WriterStateError: after ``close``, ``commit`` or ``cancel``.
            ContentTooLargeError: nothing of ``data`` was accepted.
            ConcurrentWriteError: another writer is on the blob.
            BackendError: the stream could not be stored; resume from what is.
        """
        ...

    async def commit(self) -> None:
        """Flush, and make the content final.

        Raises:
            WriterStateError: after ``close``, ``commit`` or ``cancel``.
        """
        ...

    async def cancel(self) -> None:
        """Throw away what was written.

        Raises:
            WriterStateError: after ``close``, ``commit`` or ``cancel``.
        """
        ...

    async def close(self) -> None:
        """Flush, and stop writing; without a ``commit`` the stream can be resumed.

        Raises:
            WriterStateError: after ``close`` or ``cancel``; ``close`` after ``commit`` is right.
        """
        ...


class Walk(Protocol):
    """An iterator over a tree; see ``StorageDriver.walk``."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> FileInfo: ...

    def skip(self) -> None:
        """Leave out what is below the directory that was returned last.

        Raises:
            ValueError: what was returned last is not a directory.
        """
        ...

    async def aclose(self) -> None:
        """Stop, and release what the walk holds; idempotent."""
        ...


@runtime_checkable
class StorageDriver(Protocol):
    """Stores content and streams by path.

    A driver may be shared by any number of tasks of one event loop. Paths are absolute,
    ``(/[A-Za-z0-9._-]+)+``; ``/`` alone is allowed for ``stat``, ``list`` and ``walk``. Every
    method raises ``InvalidPathError`` before any request, ``BackendError`` for what the backend
    answers otherwise than foreseen, and ``DriverStateError`` when the driver is not open.
    """

    @property
    def name(self) -> str:
        """The driver's name, which starts the message of its errors."""
        ...

    async def get_content(self, path: str) -> bytes:
        """Read a content whole.

        The bytes are those of one version, never torn, however many clients write.

        Raises:
            PathNotFoundError: no blob is stored at ``path``.
        """
        ...

    async def put_content(
        self, path: str, content: Buffer, *, if_match: str | None = None, if_absent: bool = False
    ) -> FileInfo:
        """Write a content whole, atomically, over whatever is there.

        Args:
            path: where to.
            content: its bytes; it may be reused when the call returns.
            if_match: write only over the version with this ETag (compare-and-swap).
            if_absent: write only if nothing is there (create-only).

        Raises:
            ContentTooLargeError: larger than the driver's limit; no request was sent.
            PreconditionFailedError: ``if_match`` or ``if_absent`` did not hold.
        """
        ...

    def reader(
        self, path: str, offset: int = 0, *, length: int | None = None
    ) -> AbstractAsyncContextManager[FileReader]:
        """Open a stream out of a blob.

        Args:
            path: where from.
            offset: the first byte; at or past the end the reader is empty.
            length: at most so many bytes; None for all.

        Raises:
            InvalidOffsetError: ``offset`` or ``length`` is negative; no request was sent.
            PathNotFoundError: on entering, no blob is stored at ``path``.
        """
        ...

    def writer(self, path: str, *, append: bool = False) -> AbstractAsyncContextManager[FileWriter]:
        """Open a stream into a blob.

        Args:
            path: where to. Without ``append`` an existing blob of any kind is truncated.
            append: go on at the end of what an earlier writer stored.

        Raises:
            PathNotFoundError: on entering with ``append``, nothing is stored at ``path``.
            NotAppendableError: on entering with ``append``, ``path`` holds a content.
        """
        ...

    async def stat(self, path: str) -> FileInfo:
        """What is at a path; a blob goes before a directory of the same name.

        Raises:
            PathNotFoundError: nothing is; never for ``/``.
        """
        ...

    async def list(self, path: str) -> Sequence[str]:
        """The direct descendants of a directory: absolute paths, sorted, each once.

        Raises:
            PathNotFoundError: nothing is below ``path``; never for ``/``.
        """
        ...

    async def move(self, source: str, dest: str) -> None:
        """Move a blob, over whatever blob is at ``dest``; onto itself it does nothing.

        The source is deleted only after the copy succeeded, and only if it is still what was
        copied.

        Raises:
            PathNotFoundError: no blob is stored at ``source``.
            ConcurrentWriteError: the source was overwritten meanwhile and was kept.
        """
        ...

    async def delete(self, path: str) -> None:
        """Delete the blob at ``path`` and every blob below ``path + "/"``.

        Raises:
            PathNotFoundError: there is neither.
            PartialDeleteError: some are left; calling it again finishes.
        """
        ...

    async def url_for(
        self, path: str, *, method: str = "GET", expiry: datetime | timedelta = DEFAULT_URL_EXPIRY
    ) -> str:
        """An URL by which anyone can read the blob without credentials.

        Args:
            path: which blob; it need not exist.
            method: ``GET`` or ``HEAD``.
            expiry: until when, an aware datetime, or for how long from now.

        Raises:
            UnsupportedMethodError: another method, or the driver or credential cannot sign.
            InvalidExpiryError: ``expiry`` is in the past, or a naive datetime.
        """
        ...

    def walk(self, path: str, *, start_after: str | None = None) -> Walk:
        """Everything below a directory, each directory before what is in it.

        The order is that of the bytes of the paths, where a directory counts with a slash at
        its end: ``/a-b``, ``/a/`` (returned as ``/a``), ``/a/x``, ``/a0``. A path that is both
        a blob and a directory is returned as both. What is written or deleted during the walk
        may be seen or not; what is there all the time is returned exactly once.

        Args:
            path: the directory; it is not itself returned.
            start_after: go on behind this path, as an earlier walk of ``path`` returned it.
                Name the last *file* that was handled: the directories above it are not
                returned again.

        Raises:
            PathNotFoundError: from the first step, nothing is below ``path``; never for ``/``.
        """
        ...

    async def aclose(self) -> None:
        """Close the driver; idempotent. Afterwards every call is a ``DriverStateError``."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None: ...
