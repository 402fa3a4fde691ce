"""Streams as append blobs: blocks appended in order, one on its way while the next one fills."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobProperties, BlobType

from azdriver.azureblob.blobs import (
    WRITE_ID,
    checked_etag,
    delete_if_unchanged,
    head,
    is_changed,
    new_write_id,
    same_etag,
)
from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import error_code, translated
from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    ContentTooLargeError,
    NotAppendableError,
    PathNotFoundError,
    StorageDriverError,
)
from azdriver.filewriter import BaseFileWriter
from azdriver.paths import StoragePath

__all__ = ["AppendBlobWriter", "open_append_writer"]

# https://learn.microsoft.com/rest/api/storageservices/append-block
MAX_BLOCKS: Final = 50_000
MAX_LOOKS: Final = 20


async def open_append_writer(
    clients: Clients, path: StoragePath, name: BlobName, *, append: bool
) -> AppendBlobWriter:
    """Create the append blob, or find where an earlier writer left off.

    Raises:
        PathNotFoundError: ``append``, and nothing is there.
        NotAppendableError: ``append``, and it is neither an append blob nor empty.
    """
    if not append:
        return await _create(clients, path, name)
    seen = await head(clients, name)
    if seen is None:
        raise PathNotFoundError(DRIVER_NAME, path)
    if seen.blob_type == BlobType.APPENDBLOB:
        return AppendBlobWriter(clients, path, name, _Stored.of(seen))
    if seen.size:
        raise NotAppendableError(DRIVER_NAME, path, str(getattr(seen.blob_type, "value", "blob")))
    # Nothing to lose: an empty content becomes an empty stream.
    await delete_if_unchanged(clients, name, seen.etag)
    return await _create(clients, path, name)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a writer begins with."""

    etag: str
    write_id: str | None
    size: int = 0
    blocks: int = 0

    @classmethod
    def of(cls, blob: BlobProperties) -> _Stored:
        blocks = blob.append_blob_committed_block_count or 0
        return cls(blob.etag, blob.metadata.get(WRITE_ID), blob.size, blocks)


async def _create(clients: Clients, path: StoragePath, name: BlobName) -> AppendBlobWriter:
    """An empty append blob, over whatever is there."""
    write_id = new_write_id()
    blob = clients.blob(name)

    async def send() -> _Stored:
        answer = await blob.create_append_blob(metadata={WRITE_ID: write_id})
        return _Stored(etag=checked_etag(answer["etag"]), write_id=write_id)

    async def look() -> _Stored | None:
        now = await head(clients, name)
        if now is None or now.metadata.get(WRITE_ID) != write_id:
            return None
        return _Stored.of(now)

    for attempt in range(MAX_LOOKS):
        try:
            stored = await clients.retrier.settle(send, look)
            return AppendBlobWriter(clients, path, name, stored)
        except HttpResponseError as error:
            # The service does not let a blob change its type (Azurite does): what is in the way
            # goes first, if it is still what we see.
            if error.status_code != 409 or error_code(error) != "InvalidBlobType":
                raise
        seen = await head(clients, name)
        if seen is not None and not await delete_if_unchanged(clients, name, seen.etag):
            await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "another client keeps changing the blob's type")


class AppendBlobWriter(BaseFileWriter):
    """The ``FileWriter`` of the contract on an append blob.

    At most two blocks are in memory: one that fills, and one on its way. Each Append Block says
    at which position it has to land and over which version, so that a block whose answer was
    lost cannot be stored twice, nor between another writer's.
    """

    def __init__(
        self, clients: Clients, path: StoragePath, name: BlobName, stored: _Stored
    ) -> None:
        super().__init__(DRIVER_NAME, path)
        self._clients = clients
        self._name = name
        self._block_bytes = clients.options.append_block_bytes
        self._write_id = stored.write_id
        self._etag = stored.etag
        self._stored = stored.size
        self._blocks = stored.blocks
        self._filling = bytearray()
        self._sent = 0  # bytes on their way
        self._sending: asyncio.Task[None] | None = None
        self._failure: StorageDriverError | None = None
        self._failure_was_raised = False

    @property
    def size(self) -> int:
        return self._stored + self._sent + len(self._filling)

    async def _accept(self, data: memoryview) -> None:
        self._raise_failure()
        left = MAX_BLOCKS - self._blocks - (self._sent > 0)
        limit = self._stored + self._sent + left * self._block_bytes
        if self.size + len(data) > limit:
            raise ContentTooLargeError(DRIVER_NAME, self._path, self.size + len(data), limit)
        while data:
            if len(self._filling) == self._block_bytes:  # a cancelled call left it full
                await self._send_block()
            part = data[: self._block_bytes - len(self._filling)]
            self._filling += part
            data = data[len(part) :]
            if len(self._filling) == self._block_bytes:
                await self._send_block()

    async def _flush(self) -> None:
        if self._failure is not None and self._failure_was_raised:
            return  # the caller knows; what is stored can be resumed
        if self._filling:
            await self._send_block()
        await self._arrived()

    async def _finish(self) -> None:
        self._raise_failure()
        await self._flush()

    async def _discard(self) -> None:
        """Delete the blob, unless it is no longer ours."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        with translated(self._path, "writer"):
            etag = self._etag
            for attempt in range(MAX_LOOKS):
                if await delete_if_unchanged(self._clients, self._name, etag):
                    break
                seen = await head(self._clients, self._name)
                if seen is None or seen.metadata.get(WRITE_ID) != self._write_id:
                    break
                etag = seen.etag  # a block of ours landed although its answer was lost
                await self._clients.retrier.pause(attempt)
        self._filling.clear()

    async def _release(self) -> None:
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait({self._sending})
        self._filling.clear()

    async def _send_block(self) -> None:
        """Send what was filled, once the block before it has arrived."""
        await self._arrived()
        block, self._filling = self._filling, bytearray()
        self._sent = len(block)
        self._sending = asyncio.create_task(self._append(block))

    async def _arrived(self) -> None:
        """Wait for the block on its way; cancelling this wait does not cancel that."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
            self._sending = None
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._failure_was_raised = True
            raise self._failure

    async def _append(self, block: bytearray) -> None:
        """The task that sends one block; what fails is kept for the next call."""
        try:
            with translated(self._path, "writer"):
                self._etag = await self._append_exactly_once(block)
        except StorageDriverError as error:
            self._failure = error
        except asyncio.CancelledError:
            self._failure = BackendError(
                DRIVER_NAME, self._path, "writer", reason="closed before the last block arrived"
            )
            raise
        except Exception as error:
            # Not foreseen, such as a session that was closed under us. Nobody awaits this task's
            # result: without this the block would vanish, and ``commit`` succeed all the same.
            self._failure = BackendError(
                DRIVER_NAME, self._path, "writer", reason=type(error).__name__
            )
            self._failure.__cause__ = error
        else:
            self._stored += len(block)
            self._blocks += 1
        finally:
            self._sent = 0
            if self._failure is not None:
                self._filling.clear()

    async def _append_exactly_once(self, block: bytearray) -> str:
        """Append Block; returns the blob's new ETag."""

        async def send() -> str:
            try:
                answer: dict[str, Any] = await self._clients.blob(self._name).append_block(
                    memoryview(block),
                    length=len(block),
                    appendpos_condition=self._stored,
                    etag=self._etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except HttpResponseError as error:
                if not is_changed(error) and error_code(error) != "InvalidBlobType":
                    raise
                # It may be our own block that is in the way, of an attempt that arrived late.
                etag = await look()
                if etag is None:
                    raise
                return etag
            return checked_etag(answer["etag"])

        async def look() -> str | None:
            return await self._find(block)

        return await self._clients.retrier.settle(send, look)

    async def _find(self, block: bytearray) -> str | None:
        """Whether ``block`` is stored at its place: the blob's ETag if it is, None if it is not.

        Raises:
            ConcurrentWriteError: something else is.
        """
        seen = await head(self._clients, self._name)
        if seen is None:
            raise PathNotFoundError(DRIVER_NAME, self._path)
        if same_etag(seen.etag, self._etag):
            return None
        end = self._stored + len(block)
        if seen.blob_type == BlobType.APPENDBLOB and seen.size == end:
            try:
                async with await self._clients.lean.get(
                    self._name, first=self._stored, last=end - 1, etag=seen.etag
                ) as stream:
                    position = 0
                    async for chunk in stream:
                        if block[position : position + len(chunk)] != chunk:
                            break
                        position += len(chunk)
                    else:
                        if position == len(block):
                            return str(seen.etag)
            except AzureError as error:
                if not is_changed(error):
                    raise
        raise ConcurrentWriteError(
            DRIVER_NAME, self._path, f"expected {self._stored} bytes, found {seen.size} of others"
        )
