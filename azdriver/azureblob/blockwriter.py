"""Streams as block blobs: blocks staged in parallel, nothing visible until they are committed.

What an uncommitted stream consists of is read from the service's list of uncommitted blocks, so
another process can go on with it. The name of each block says what it is::

    GGGGGGGG RRRRRRRR B NNNNNN    block number N of the stream, staged by session G-R
    GGGGGGGG RRRRRRRR S NNNNNN    session G-R begins at block number N
    GGGGGGGG RRRRRRRR X NNNNNN    session G-R cancelled the stream

Each writer is a session of its own, G one above the last and R random. A session that begins
fences those before it: what they stage from then on does not belong to the stream, and they learn
so when they close or commit, before they report success. Declarations hold one byte, since there
is no empty block, and are never committed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient

from azdriver.azureblob.blobs import (
    MAX_LOOKS,
    WRITE_ID,
    delete_if_unchanged,
    is_changed,
    new_write_id,
)
from azdriver.azureblob.blockstream import Block, BlockStreamWriter
from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME, MAX_STAGED_BLOCK_BYTES
from azdriver.azureblob.pieces import Pieces, keep_freed_memory
from azdriver.azureblob.translate import error_code, is_missing, translated
from azdriver.errors import ConcurrentWriteError, NotAppendableError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["BlockBlobWriter", "open_block_writer"]

# https://learn.microsoft.com/rest/api/storageservices/put-block-list
MAX_BLOCKS: Final = 50_000
# A block is at least this part of the stream before it: so the last of the 50,000 blocks comes
# beyond 100 TiB, while streams up to 8 GiB are of blocks of the size that was set.
GROWTH: Final = 2000

_NAME = re.compile(r"(?P<session>[0-9a-f]{16})(?P<kind>[BSX])(?P<n>\d{6})")
_CANCELLED: Final = -1
_TAKEN_OVER: Final = frozenset({"InvalidBlockList", "BlobAlreadyExists"})

_Blocks: TypeAlias = list[tuple[str, int]]
"""The names and sizes of blocks, in order."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """What is found of a stream.

    Attributes:
        blocks: its blocks, without a gap; None if there is no stream.
        last: the last session that is known; ``""`` if there was none.
        etag: of the blob that is visible; None if there is none.
    """

    blocks: _Blocks | None = None
    last: str = ""
    etag: str | None = None


async def open_block_writer(
    clients: Clients, path: StoragePath, name: BlobName, *, append: bool
) -> BlockBlobWriter:
    """Begin a session, or go on with what earlier ones staged or committed.

    Raises:
        PathNotFoundError: ``append``, and nothing was staged or committed.
        NotAppendableError: ``append``, and it was not written as a stream.
    """
    for attempt in range(MAX_LOOKS):
        staged = await _find(clients, path, name, append=append)
        writer = BlockBlobWriter(clients, path, name, staged)
        await writer.declare("S")
        # What an earlier session staged between our look and our declaration was reported as
        # stored, so it has to be gone on from. What it stages from now on will not be.
        if not append or await writer.begins_where_others_ended():
            return writer
        await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "another client keeps writing it")


async def _find(clients: Clients, path: StoragePath, name: BlobName, *, append: bool) -> _Staged:
    lists = asyncio.create_task(_block_lists(clients.blob(name), committed=append))
    try:
        seen = await clients.lane.head(name)
        committed, uncommitted = await lists
    finally:
        lists.cancel()
        await asyncio.gather(lists, return_exceptions=True)  # if the other one failed
    etag = None if seen is None else seen.etag
    if not append:
        return _Staged([], _stream_of(uncommitted, []).last, etag)
    base: _Blocks = []
    if seen is not None and sum(size for _, size in committed) == seen.size:
        base = committed
    stream = _stream_of(uncommitted, base)
    if stream.blocks is not None:
        return _Staged(stream.blocks, stream.last, etag)
    if seen is None:
        raise PathNotFoundError(DRIVER_NAME, path)
    if seen.size and not base:
        raise NotAppendableError(DRIVER_NAME, path, seen.blob_type)
    return _Staged(base, stream.last, etag)


async def _block_lists(blob: BlobClient, *, committed: bool) -> tuple[_Blocks, _Blocks]:
    """The committed blocks, if they are asked for: there may be 50,000; and the uncommitted.

    None where there is no block blob.
    """
    try:
        lists = await blob.get_block_list("all" if committed else "uncommitted")
    except HttpResponseError as error:
        if is_missing(error) or error_code(error) == "InvalidBlobType":
            return [], []
        raise
    one, other = ([(str(block.id), block.size) for block in part] for part in lists)
    return one, other


def _stream_of(uncommitted: _Blocks, base: _Blocks, *, without: str = "") -> _Staged:
    """The uncommitted stream, but for what the session ``without`` staged of it.

    Each session keeps what was before the block at which it begins, of the sessions before it
    or of the committed blob, and goes on with its own blocks as far as they have no gap.
    """
    begins: dict[str, int] = {}
    # Of a session whose stream was committed a block may arrive late, without its declaration.
    sessions = {name[:16] for name, _ in (*uncommitted, *base) if _NAME.fullmatch(name)}
    blocks: dict[tuple[str, int], tuple[str, int]] = {}
    for name, size in uncommitted:
        match = _NAME.fullmatch(name)
        if match is None or match["session"] == without:
            continue
        if match["kind"] == "B":
            blocks[match["session"], int(match["n"])] = (name, size)
        else:
            begins[match["session"]] = int(match["n"]) if match["kind"] == "S" else _CANCELLED
    stream: _Blocks | None = None
    for session, begin in sorted(begins.items()):
        kept = base if stream is None else stream
        if begin == _CANCELLED or len(kept) < begin:
            stream = None
            continue
        stream = kept[:begin]
        while (session, len(stream)) in blocks:
            stream.append(blocks[session, len(stream)])
    return _Staged(stream, max(sessions, default=""))


class BlockBlobWriter(BlockStreamWriter):
    """The ``FileWriter`` of the contract on staged blocks.

    Only ``commit`` makes the stream visible, all of it at once, over whatever is there. ``close``
    keeps what was staged for a week, as the service does; ``cancel`` declares it void.
    """

    def __init__(
        self, clients: Clients, path: StoragePath, name: BlobName, staged: _Staged
    ) -> None:
        blocks = staged.blocks or []
        super().__init__(clients, path, name, stored=sum(size for _, size in blocks))
        keep_freed_memory(clients.options.block_bytes)
        number = int(staged.last[:8] or "0", 16) + 1
        self._session = f"{number:08x}{uuid4().hex[:8]}"
        self._begin = [block_name for block_name, _ in blocks]
        self._names = list(self._begin)
        self._over = staged.etag

    def _block_bytes(self) -> int:
        grown = (self._stored + self._sent) // GROWTH
        return min(max(self._clients.options.block_bytes, grown), MAX_STAGED_BLOCK_BYTES)

    def _limit(self) -> int:
        return self._stored + self._sent + (MAX_BLOCKS - len(self._names)) * self._block_bytes()

    def _blocks_at_once(self) -> int:
        # The bytes that are on their way stay the same when the blocks grow, while they can.
        options = self._clients.options
        return max(1, options.blocks_in_flight * options.block_bytes // self._block_bytes())

    async def declare(self, kind: Literal["S", "X"]) -> None:
        """Stage the session's declaration; what is of another type has to go first."""
        for attempt in range(MAX_LOOKS):
            try:
                await self._stage(self._block_name(kind, len(self._begin)), b"-", 1)
            except HttpResponseError as error:
                if error.status_code != 409 or error_code(error) != "InvalidBlobType":
                    raise
            else:
                if attempt:
                    seen = await self._clients.lane.head(self._name)
                    self._over = None if seen is None else seen.etag
                return
            seen = await self._clients.lane.head(self._name)
            if seen is not None and not await delete_if_unchanged(
                self._clients, self._name, seen.etag
            ):
                await self._clients.retrier.pause(attempt)
        raise ConcurrentWriteError(
            DRIVER_NAME, self._path, "another client keeps changing the blob's type"
        )

    async def begins_where_others_ended(self) -> bool:
        """Whether the stream, but for this session, is still what this session goes on from."""
        committed, uncommitted = await _block_lists(self._blob, committed=True)
        stream = _stream_of(uncommitted, committed, without=self._session).blocks
        found = committed if stream is None else stream
        return [name for name, _ in found] == self._begin

    async def _flush(self) -> None:
        await super()._flush()
        with translated(self._path, "writer"):
            await self._require_last_session()

    async def _require_last_session(self) -> None:
        """Before success is reported: has another session fenced this one, or swept it away?"""
        _, uncommitted = await _block_lists(self._blob, committed=False)
        names = {name for name, _ in uncommitted if _NAME.fullmatch(name)}
        declaration = self._block_name("S", len(self._begin))
        if declaration not in names or any(name[:16] > self._session for name in names):
            raise ConcurrentWriteError(DRIVER_NAME, self._path, "another client took it over")

    def _block_name(self, kind: Literal["B", "S", "X"], n: int) -> str:
        return f"{self._session}{kind}{n:06d}"

    async def _store(self, block: Block) -> None:
        await self._stage(block.name, block.data, block.size)

    def _prepare(self, block: Block) -> None:
        block.name = self._block_name("B", len(self._names))
        self._names.append(block.name)

    async def _stage(self, block_name: str, body: bytes | Pieces, size: int) -> None:
        """Put Block; staging the same block again does no harm."""

        async def send() -> bool:
            # An async iterable is sent as it is, although the signature does not say so.
            await self._blob.stage_block(block_name, cast(Any, body), length=size)
            return True

        async def look() -> bool | None:
            return None

        await self._clients.retrier.settle(send, look)

    async def _finish(self) -> None:
        await super()._finish()
        with translated(self._path, "writer"):
            await self._commit_blocks()

    async def _commit_blocks(self) -> None:
        """Put Block List, over the version that was there at the beginning, or over nothing."""
        write_id = new_write_id()
        conditions: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if self._over is not None:
            conditions = {
                "etag": self._over,
                "match_condition": MatchConditions.IfNotModified,
            }

        async def send() -> bool:
            try:
                await self._blob.commit_block_list(
                    [BlobBlock(name) for name in self._names],
                    metadata={WRITE_ID: write_id},
                    **conditions,
                )
            except HttpResponseError as error:
                # Another client wrote there, or took the staged blocks away; or it was our own
                # commit, whose answer was lost.
                if error_code(error) not in _TAKEN_OVER and not is_changed(error):
                    raise
                if await look():
                    return True
                raise ConcurrentWriteError(
                    DRIVER_NAME, self._path, "another client committed or replaced it"
                ) from error
            return True

        async def look() -> bool | None:
            now = await self._clients.lane.head(self._name)
            return True if now is not None and now.metadata.get(WRITE_ID) == write_id else None

        await self._clients.retrier.settle(send, look)

    async def _discard(self) -> None:
        await self._ended()
        with translated(self._path, "writer"):
            await self.declare("X")
