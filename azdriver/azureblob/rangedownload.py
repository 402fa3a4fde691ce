"""One range of a blob: a ranged Get Blob pinned to one version, resumed where its body was cut."""

from __future__ import annotations

import asyncio
from collections import deque

from azure.core.exceptions import AzureError, IncompleteReadError

from azdriver.azureblob.blobs import is_changed
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import BlobStream
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.retry import is_ambiguous
from azdriver.errors import ConcurrentWriteError
from azdriver.paths import StoragePath

__all__ = ["RangeAhead", "RangeDownload"]


class RangeDownload:
    """The bytes of a range in order, as they come.

    Cancelling a call loses no byte: the next one goes on where the cancelled one stood.
    """

    def __init__(
        self,
        clients: Clients,
        path: StoragePath,
        name: BlobName,
        *,
        first: int,
        end: int,
        etag: str,
        stream: BlobStream | None = None,
    ) -> None:
        """
        Args:
            clients: what to talk through.
            path: for errors.
            name: which blob.
            first: the first byte.
            end: behind the last byte.
            etag: the version.
            stream: the answer to a request that was sent already.
        """
        self._clients = clients
        self._path = path
        self._name = name
        self._position = first
        self._end = end
        self._etag = etag
        self._stream = stream
        self._failures = 0  # in a row, without a byte in between

    async def next_chunk(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            ConcurrentWriteError: the blob is another version, or gone.
            AzureError: the attempts are used up.
        """
        while self._position < self._end:
            try:
                chunk = await self._receive()
            except AzureError as error:
                await self.close()
                await self.consider(error)
                continue
            except BaseException:
                # A body whose reading was cancelled holds its connection until it is closed.
                await self.close()
                raise
            if chunk:
                self._failures = 0
                self._position += len(chunk)
                return chunk
        await self.close()
        return b""

    async def close(self) -> None:
        """Release the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _receive(self) -> bytes:
        if self._stream is None:
            self._stream = await self._clients.lane.get(
                self._name, first=self._position, last=self._end - 1, etag=self._etag
            )
            if self._stream.length == 0:
                raise IncompleteReadError("the answer holds nothing of what was asked for")
        chunk = await anext(self._stream, b"")
        if not chunk:
            await self.close()  # it ended before the range did: the rest is another request
        return chunk[: self._end - self._position]

    async def consider(self, error: AzureError) -> None:
        """Wait before going on after a failure; or raise what ends the reading."""
        if is_changed(error):
            raise ConcurrentWriteError(
                DRIVER_NAME, self._path, "overwritten or deleted while it was read"
            ) from error
        self._failures += 1
        if not is_ambiguous(error) or self._failures > self._clients.options.retry.retries:
            raise error
        await self._clients.retrier.pause(self._failures - 1)


class RangeAhead:
    """A range that is fetched by a task of its own, before it is wanted."""

    def __init__(self, download: RangeDownload) -> None:
        self._download = download
        self._chunks: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._fetch())

    async def next_chunk(self) -> bytes:
        """As :meth:`RangeDownload.next_chunk`; cancelling it does not cancel the fetching."""
        while not self._chunks:
            if self._task.done():
                self._task.result()
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        return self._chunks.popleft()

    async def close(self) -> None:
        """Stop fetching, and release the connection."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # nobody asks for it any more
        self._chunks.clear()

    async def _fetch(self) -> None:
        try:
            while chunk := await self._download.next_chunk():
                self._chunks.append(chunk)
                self._arrived.set()
        finally:
            await self._download.close()
            # After the task is done, which is what ``next_chunk`` looks at.
            asyncio.get_running_loop().call_soon(self._arrived.set)
