"""Reading a blob: the first range as it comes, the next ones fetched ahead, in order."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from azure.core.exceptions import HttpResponseError

from azdriver.azureblob.client import Clients
from azdriver.azureblob.contentrange import size_of_unsatisfiable
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.rangedownload import RangeAhead, RangeDownload
from azdriver.azureblob.translate import translated
from azdriver.errors import PathNotFoundError
from azdriver.filewriter import as_bytes_view
from azdriver.paths import StoragePath

__all__ = ["BlobReader"]


class BlobReader:
    """The ``FileReader`` of the contract.

    The first range is handed on as it arrives. When more than its first chunk is asked for, the
    next ranges are fetched ahead, as many at once as the options say, all of one version; what is
    in memory is at most these ranges. Cancelling a call loses no byte: the next one goes on where
    the cancelled one stood.
    """

    def __init__(self, clients: Clients, path: StoragePath, name: BlobName) -> None:
        options = clients.options
        self._clients = clients
        self._path = path
        self._name = name
        self._ranges_at_once = options.read_ranges_in_flight
        # In one request where nothing is fetched ahead: the connection is its own buffer.
        self._range_bytes = options.read_range_bytes if self._ranges_at_once > 1 else None
        self._size = 0
        self._etag: str | None = None
        self._started = 0  # the first byte that was asked for
        self._position = 0  # of the next byte to be received
        self._next = 0  # where the next range begins that is to be asked for
        self._end = 0  # behind the last byte that is wanted
        self._ranges: deque[RangeDownload | RangeAhead] = deque()
        self._chunks: deque[bytes] = deque()  # received, not yet handed out
        self._held = 0  # bytes in _chunks
        self._closed = False

    @classmethod
    async def open(
        cls,
        clients: Clients,
        path: StoragePath,
        name: BlobName,
        offset: int,
        length: int | None,
    ) -> Self:
        """Send the first Get Blob.

        Args:
            clients: what to talk through.
            path: for errors.
            name: which blob.
            offset: the first byte.
            length: at most so many bytes; None for all.

        Raises:
            PathNotFoundError: there is no such blob.
        """
        reader = cls(clients, path, name)
        reader._started = reader._position = reader._next = offset
        with translated(path, "reader"):
            if length == 0:
                await reader._look()
            else:
                await reader._open_first(offset, length)
        return reader

    async def _look(self) -> None:
        properties = await self._clients.lane.head(self._name)
        if properties is None:
            raise PathNotFoundError(DRIVER_NAME, self._path)
        self._size, self._etag = properties.size, properties.etag
        self._end = self._position

    async def _open_first(self, offset: int, length: int | None) -> None:
        span = min((n for n in (self._range_bytes, length) if n is not None), default=None)
        last = None if span is None else offset + span - 1
        try:
            stream = await self._clients.lane.get(self._name, first=offset, last=last)
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
        self._next = min(self._end, offset + stream.length)
        self._ranges.append(
            RangeDownload(
                self._clients,
                self._path,
                self._name,
                first=offset,
                end=self._next,
                etag=stream.etag,
                stream=stream,
            )
        )

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
        while self._ranges:
            await self._ranges.popleft().close()

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
        with translated(self._path, "reader"):
            if self._position > self._started:  # more than one chunk is wanted
                self._fetch_ahead()
            while self._ranges:
                chunk = await self._ranges[0].next_chunk()
                if chunk:
                    self._position += len(chunk)
                    self._held += len(chunk)
                    self._chunks.append(chunk)
                    return True
                await self._ranges.popleft().close()
                self._fetch_ahead()
        return False

    def _fetch_ahead(self) -> None:
        while self._next < self._end and len(self._ranges) < self._ranges_at_once:
            end = min(self._end, self._next + (self._range_bytes or self._end))
            assert self._etag is not None
            download = RangeDownload(
                self._clients,
                self._path,
                self._name,
                first=self._next,
                end=end,
                etag=self._etag,
            )
            self._ranges.append(RangeAhead(download) if self._ranges_at_once > 1 else download)
            self._next = end
