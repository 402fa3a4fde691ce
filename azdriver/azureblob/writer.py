"""Streams as append blobs: blocks appended in order, one on its way while the next one fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobType

from azdriver.azureblob.blobs import (
    MAX_LOOKS,
    WRITE_ID,
    delete_if_unchanged,
    is_changed,
    new_write_id,
    same_etag,
)
from azdriver.azureblob.blockstream import Block, BlockStreamWriter
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import BlobHead
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.pieces import keep_freed_memory
from azdriver.azureblob.translate import checked_etag, error_code, translated
from azdriver.errors import ConcurrentWriteError, NotAppendableError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["AppendBlobWriter", "open_append_writer"]

# https://learn.microsoft.com/rest/api/storageservices/append-block
MAX_BLOCKS: Final = 50_000


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
    seen = await clients.lane.head(name)
    if seen is None:
        raise PathNotFoundError(DRIVER_NAME, path)
    if seen.blob_type == BlobType.APPENDBLOB:
        return AppendBlobWriter(clients, path, name, _Stored.of(seen))
    if seen.size:
        raise NotAppendableError(DRIVER_NAME, path, seen.blob_type)
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
    def of(cls, blob: BlobHead) -> _Stored:
        return cls(blob.etag, blob.metadata.get(WRITE_ID), blob.size, blob.committed_blocks)


async def _create(clients: Clients, path: StoragePath, name: BlobName) -> AppendBlobWriter:
    """An empty append blob, over whatever is there."""
    write_id = new_write_id()
    blob = clients.blob(name)

    async def send() -> _Stored:
        answer = await blob.create_append_blob(metadata={WRITE_ID: write_id})
        return _Stored(etag=checked_etag(answer["etag"]), write_id=write_id)

    async def look() -> _Stored | None:
        now = await clients.lane.head(name)
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
        seen = await clients.lane.head(name)
        if seen is not None and not await delete_if_unchanged(clients, name, seen.etag):
            await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "another client keeps changing the blob's type")


class AppendBlobWriter(BlockStreamWriter):
    """The ``FileWriter`` of the contract on an append blob.

    At most two blocks are in memory: one that fills, and one on its way. Each Append Block says
    at which position it has to land and over which version, so that a block whose answer was
    lost cannot be stored twice, nor between another writer's.
    """

    def __init__(
        self, clients: Clients, path: StoragePath, name: BlobName, stored: _Stored
    ) -> None:
        super().__init__(clients, path, name, stored=stored.size)
        keep_freed_memory(clients.options.append_block_bytes)
        self._write_id = stored.write_id
        self._etag = stored.etag
        self._committed_blocks = stored.blocks

    def _block_bytes(self) -> int:
        return self._clients.options.append_block_bytes

    def _limit(self) -> int:
        left = MAX_BLOCKS - self._committed_blocks - len(self._blocks)
        return self._stored + self._sent + left * self._block_bytes()

    def _blocks_at_once(self) -> int:
        return 1  # the next one needs the version that this one makes

    async def _discard(self) -> None:
        """Delete the blob, unless it is no longer ours."""
        await self._ended()
        with translated(self._path, "writer"):
            etag = self._etag
            for attempt in range(MAX_LOOKS):
                if await delete_if_unchanged(self._clients, self._name, etag):
                    break
                seen = await self._clients.lane.head(self._name)
                if seen is None or seen.metadata.get(WRITE_ID) != self._write_id:
                    break
                etag = seen.etag  # a block of ours landed although its answer was lost
                await self._clients.retrier.pause(attempt)

    async def _store(self, block: Block) -> None:
        """Append Block, exactly once."""

        async def send() -> str:
            try:
                answer: dict[str, Any] = await self._blob.append_block(
                    # An async iterable is sent as it is, although the signature does not say so.
                    cast(Any, block.data),
                    length=block.size,
                    appendpos_condition=block.offset,
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

        self._etag = await self._clients.retrier.settle(send, look)
        self._committed_blocks += 1

    async def _find(self, block: Block) -> str | None:
        """Whether ``block`` is stored at its place: the blob's ETag if it is, None if it is not.

        Raises:
            ConcurrentWriteError: something else is.
        """
        seen = await self._clients.lane.head(self._name)
        if seen is None:
            raise PathNotFoundError(DRIVER_NAME, self._path)
        if same_etag(seen.etag, self._etag):
            return None
        end = block.offset + block.size
        if seen.blob_type == BlobType.APPENDBLOB and seen.size == end:
            try:
                async with await self._clients.lane.get(
                    self._name, first=block.offset, last=end - 1, etag=seen.etag
                ) as stream:
                    position = 0
                    async for chunk in stream:
                        if block.data.cut(position, position + len(chunk)) != chunk:
                            break
                        position += len(chunk)
                    else:
                        if position == block.size:
                            return seen.etag
            except AzureError as error:
                if not is_changed(error):
                    raise
        raise ConcurrentWriteError(
            DRIVER_NAME, self._path, f"expected {block.offset} bytes, found {seen.size} of others"
        )
