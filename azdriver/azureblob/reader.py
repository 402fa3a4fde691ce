"""Reading a blob: ranged Get Blobs pinned to one version, resumed where a body was cut."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from azure.core.exceptions import AzureError, HttpResponseError, IncompleteReadError

from azdriver.azureblob.blobs import head, is_changed, quoted
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lean import BlobStream, size_of_unsatisfiable
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.retry import is_ambiguous
from azdriver.azureblob.translate import translated
from azdriver.errors import ConcurrentWriteError, PathNotFoundError
from azdriver.filewriter import as_bytes_view
from azdriver.paths import StoragePath

__all__ = ["BlobReader"]


class BlobReader:
    """The ``FileReader`` of the contract.

    Cancelling a call loses no byte: the next one goes on where the cancelled one stood.
    """

    def __init__(self, clients: Clients, path: StoragePath, name: BlobName, *, whole: bool) -> None:
        self._clients = clients
        self._path = path
        self._name = name
        self._range_bytes = None if whole else clients.options.read_range_bytes
        self._operation = "get_content" if whole else "reader"  # for errors
        self._size = 0
        self._etag: str | None = None
        self._position = 0  # of the next byte from the service
        self._end = 0  # behind the last byte that is wanted
        self._stream: BlobStream | None = None
        self._body: AsyncIterator[bytes] | None = None
        self._chunks: deque[bytes] = deque()  # received, not yet handed out
        self._held = 0  # bytes in _chunks
        self._closed = False
        self._failures = 0  # in a row, without a byte in between

    @classmethod
    async def open(
        cls,
        clients: Clients,
        path: StoragePath,
        name: BlobName,
        offset: int,
        length: int | None,
        *,
        whole: bool = False,
    ) -> Self:
        """Send the first Get Blob.

        Args:
            clients: what to talk through.
            path: for errors.
            name: which blob.
            offset: the first byte.
            length: at most so many bytes; None for all.
            whole: in one Get Blob, whatever the size.

        Raises:
            PathNotFoundError: there is no such blob.
        """
        reader = cls(clients, path, name, whole=whole)
        reader._position = offset
        with translated(path, reader._operation):
            if length == 0:
                await reader._look()
            else:
                await reader._open_first(offset, length)
        return reader

    async def _look(self) -> None:
        properties = await head(self._clients, self._name)
        if properties is None:
            raise PathNotFoundError(DRIVER_NAME, self._path)
        self._size, self._etag = properties.size, quoted(properties.etag)
        self._end = self._position

    async def _open_first(self, offset: int, length: int | None) -> None:
        span = min((n for n in (self._range_bytes, length) if n is not None), default=None)
        last = None if span is None else offset + span - 1
        try:
            stream = await self._clients.lean.get(self._name, first=offset, last=last)
        except HttpResponseError as error:
            if error.status_code != 416:
                raise
            # At or past the end, an empty blob's beginning included: nothing to read.
            size = size_of_unsatisfiable(error)
            self._size = offset if size is None else size
            self._end = self._position
            return
        self._size, self._etag = stream.size, stream.etag
        self._end = max(
            offset, stream.size if length is None else min(stream.size, offset + length)
        )
        self._use(stream)

    @property
    def size(self) -> int:
        return self._size

    @property
    def offset(self) -> int:
        return self._position - self._held

    @property
    def etag(self) -> str | None:
        return self._etag

    async def read(self, n: int = -1, /) -> bytes:
        self._require_open()
        while n < 0 or self._held < n:
            if not await self._receive():
                break
        return b"".join(self._take(self._held if n < 0 else n))

    async def readinto(self, buffer: bytearray | memoryview, /) -> int:
        self._require_open()
        target = as_bytes_view(buffer)
        filled = 0
        try:
            while filled < len(target) and (self._chunks or await self._receive()):
                for chunk in self._take(len(target) - filled):
                    target[filled : filled + len(chunk)] = chunk
                    filled += len(chunk)
        except BaseException:
            # The caller does not learn how much was filled: the next call begins there again.
            if filled:
                self._chunks.appendleft(bytes(target[:filled]))
                self._held += filled
            raise
        return filled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._require_open()
        if not self._chunks and not await self._receive():
            raise StopAsyncIteration
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        return chunk

    async def aclose(self) -> None:
        self._closed = True
        self._chunks.clear()
        self._held = 0
        await self._drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _require_open(self) -> None:
        if self._closed:  # an empty answer would look like the end of the blob
            raise ValueError("the reader is closed")

    def _take(self, n: int) -> list[bytes]:
        """Up to ``n`` bytes of those that are held."""
        taken = []
        while n > 0 and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > n:
                self._chunks.appendleft(chunk[n:])
                chunk = chunk[:n]
            n -= len(chunk)
            self._held -= len(chunk)
            taken.append(chunk)
        return taken

    async def _receive(self) -> bool:
        """Get one more chunk; False at the end."""
        with translated(self._path, self._operation):
            while self._position < self._end:
                try:
                    chunk = await self._next_chunk()
                except AzureError as error:
                    await self._drop()
                    await self._consider(error)
                    continue
                except BaseException:
                    # A body whose reading was cancelled holds its connection until it is closed.
                    await self._drop()
                    raise
                if chunk:
                    self._failures = 0
                    self._position += len(chunk)
                    self._held += len(chunk)
                    self._chunks.append(chunk)
                    return True
        await self._drop()
        return False

    async def _next_chunk(self) -> bytes:
        """The next bytes; none where a range ends."""
        if self._body is None:
            span = self._range_bytes or self._end - self._position
            last = min(self._position + span, self._end) - 1
            stream = await self._clients.lean.get(
                self._name, first=self._position, last=last, etag=self._etag
            )
            self._use(stream)
            if stream.first != self._position or stream.length == 0:
                raise IncompleteReadError("the answer holds another range than asked for")
        assert self._body is not None
        chunk = await anext(self._body, b"")
        if not chunk:
            await self._drop()
        return chunk[: self._end - self._position]

    async def _consider(self, error: AzureError) -> None:
        """Wait before going on; or raise what ends the reading."""
        if is_changed(error):
            raise ConcurrentWriteError(
                DRIVER_NAME, self._path, "overwritten or deleted while it was read"
            ) from error
        self._failures += 1
        if not is_ambiguous(error) or self._failures > self._clients.options.retry.retries:
            raise error
        await self._clients.retrier.pause(self._failures - 1)

    def _use(self, stream: BlobStream) -> None:
        self._stream = stream
        self._body = aiter(stream)

    async def _drop(self) -> None:
        stream, self._stream, self._body = self._stream, None, None
        if stream is not None:
            await stream.close()
