"""A blob's content: written again as a block blob, compared, and what goes along with it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings, StandardBlobTier

from azdriver.azureblob.blobs import WRITE_ID, delete_if_unchanged, is_changed
from azdriver.azureblob.client import Clients
from azdriver.azureblob.contents import Upload
from azdriver.azureblob.copying import BlobCopy
from azdriver.azureblob.inventory import blob_type_of, look_at
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.rangedownload import RangeDownload
from azdriver.azureblob.translate import error_code
from azdriver.errors import BackendError, ConcurrentWriteError, PreconditionFailedError
from azdriver.paths import StoragePath

__all__ = [
    "begins_with",
    "copy_blob",
    "is_same_content",
    "require_deletable",
    "require_right",
    "settled_copy",
    "write_block_blob",
]

BLOCK_BYTES: Final = 4 * 1024 * 1024
# What Azure calls a block's name; all of one blob have to be of one length.
_BLOCK_NAME: Final = "migration-{:06d}"
MAX_BLOCKS: Final = 50_000
# How the service says that something is there: of another type, or with a copy on its way to it.
_EXISTS: Final = frozenset({"BlobAlreadyExists", "InvalidBlobType", "PendingCopyOperation"})


async def copy_blob(
    clients: Clients,
    path: StoragePath,
    source: BlobProperties,
    dest: BlobName,
    write_id: str,
    metadata: Mapping[str, str],
) -> None:
    """Copy a blob within the container, all that belongs to it included, onto nothing.

    Raises:
        ConcurrentWriteError: the source was changed, or something is at the destination.
    """
    arguments: dict[str, Any] = {}
    tags = await _tags_of(clients, source)
    if tags:
        arguments["tags"] = tags
    if blob_type_of(source) == "BlockBlob" and source.blob_tier and not source.blob_tier_inferred:
        arguments["standard_blob_tier"] = StandardBlobTier(str(source.blob_tier))
    if source.is_append_blob_sealed:
        arguments["seal_destination_blob"] = True
    copy = BlobCopy(
        clients,
        path,
        BlobName(source.name),
        source.etag,
        metadata,
        dest,
        write_id=write_id,
        only_if_absent=True,
        arguments=arguments,
    )
    try:
        await copy.run()
    except HttpResponseError as error:
        if error.status_code != 409 or error_code(error) not in _EXISTS:
            raise
        raise ConcurrentWriteError(DRIVER_NAME, path, "something came to its new name") from error


async def write_block_blob(
    clients: Clients,
    path: StoragePath,
    source: BlobProperties,
    dest: BlobName,
    write_id: str,
    metadata: Mapping[str, str],
) -> None:
    """Write a blob's content as a block blob onto nothing, and read it back.

    The blob shows all at once. A long one goes block by block; of one that was not finished the
    service keeps the blocks for a week, unseen.

    Raises:
        ConcurrentWriteError: the source was changed, or something is at the destination.
        BackendError: what was read back is something else, and was deleted.
    """
    was = source.content_settings
    settings = ContentSettings(
        content_type=was.content_type,
        content_encoding=was.content_encoding,
        content_language=was.content_language,
        content_disposition=was.content_disposition,
        cache_control=was.cache_control,
    )
    arguments: dict[str, Any] = {"content_settings": settings}
    tags = await _tags_of(clients, source)
    if tags:
        arguments["tags"] = tags
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    blocks = _blocks(clients, path, source)
    async with aclosing(blocks):
        if source.size <= BLOCK_BYTES:
            content = b"".join([block async for block in blocks])
            md5.update(content)
            sha256.update(content)
            settings.content_md5 = bytearray(md5.digest())
            upload = Upload(
                clients,
                path,
                dest,
                content,
                None,
                write_id=write_id,
                metadata=metadata,
                arguments=arguments,
            )
            upload.require("if_absent")
            try:
                await upload.run()
            except PreconditionFailedError as error:
                raise ConcurrentWriteError(
                    DRIVER_NAME, path, "something came to its new name"
                ) from error
        else:
            if source.size > MAX_BLOCKS * BLOCK_BYTES:
                raise BackendError(DRIVER_NAME, path, "migrate", reason="too large to be converted")
            names: list[str] = []
            async for block in blocks:
                md5.update(block)
                sha256.update(block)
                names.append(base64.b64encode(_BLOCK_NAME.format(len(names)).encode()).decode())
                await _stage(clients, dest, names[-1], block)
            settings.content_md5 = bytearray(md5.digest())
            arguments["metadata"] = {**metadata, WRITE_ID: write_id}
            await _commit(clients, path, dest, names, write_id, arguments)
    written = await look_at(clients, dest)
    if written is None or written.metadata.get(WRITE_ID) != write_id:
        raise ConcurrentWriteError(DRIVER_NAME, path, "another write took its new name")
    if await _sha256(clients, path, written) != sha256.digest():
        await clients.blob(dest).delete_blob(
            etag=written.etag, match_condition=MatchConditions.IfNotModified
        )
        raise BackendError(DRIVER_NAME, path, "migrate", reason="read back it was something else")


async def _stage(clients: Clients, dest: BlobName, name: str, block: bytes) -> None:
    blob = clients.blob(dest)

    async def send() -> bool:
        await blob.stage_block(name, block, length=len(block), validate_content=True)
        return True

    async def look() -> bool | None:
        return None  # again: it is the same block

    await clients.retrier.settle(send, look)


async def _commit(
    clients: Clients,
    path: StoragePath,
    dest: BlobName,
    names: list[str],
    write_id: str,
    arguments: Mapping[str, Any],
) -> None:
    blob = clients.blob(dest)

    async def send() -> bool:
        try:
            await blob.commit_block_list(
                [BlobBlock(name) for name in names],
                match_condition=MatchConditions.IfMissing,
                **arguments,
            )
        except HttpResponseError as error:
            refused = error_code(error) in {*_EXISTS, "InvalidBlockList"}
            if not refused and not is_changed(error):
                raise
            if await look():
                return True
            raise ConcurrentWriteError(
                DRIVER_NAME, path, "something came to its new name"
            ) from error
        return True

    async def look() -> bool | None:
        now = await clients.lane.head(dest)
        return True if now is not None and now.metadata.get(WRITE_ID) == write_id else None

    await clients.retrier.settle(send, look)


async def _blocks(
    clients: Clients, path: StoragePath, blob: BlobProperties, size: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The content of the version that was seen, in blocks; or so many bytes of it."""
    size = blob.size if size is None else size
    for first in range(0, size, BLOCK_BYTES):
        end = min(first + BLOCK_BYTES, size)
        download = RangeDownload(
            clients, path, BlobName(blob.name), first=first, end=end, etag=blob.etag
        )
        chunks: list[bytes] = []
        try:
            while chunk := await download.next_chunk():
                chunks.append(chunk)
        finally:
            await download.close()
        yield b"".join(chunks)


async def _sha256(
    clients: Clients, path: StoragePath, blob: BlobProperties, size: int | None = None
) -> bytes:
    digest = hashlib.sha256()
    blocks = _blocks(clients, path, blob, size)
    async with aclosing(blocks):
        async for block in blocks:
            digest.update(block)
    return digest.digest()


async def is_same_content(
    clients: Clients, path: StoragePath, one: BlobProperties, other: BlobProperties
) -> bool:
    """Whether two blobs, each as it was seen, have the same bytes; asks no more than it must."""
    if one.size != other.size:
        return False
    md5s = one.content_settings.content_md5, other.content_settings.content_md5
    if md5s[0] and md5s[1] and md5s[0] != md5s[1]:
        return False
    # Not by the MD5s alone: a client may have set them to anything.
    return await _sha256(clients, path, one) == await _sha256(clients, path, other)


async def begins_with(
    clients: Clients, path: StoragePath, blob: BlobProperties, start: BlobProperties
) -> bool:
    """Whether a blob, as it was seen, has another's bytes at its beginning, or just these."""
    if blob.size <= start.size:
        return await is_same_content(clients, path, blob, start)
    return await _sha256(clients, path, blob, start.size) == await _sha256(clients, path, start)


async def _tags_of(clients: Clients, blob: BlobProperties) -> dict[str, str]:
    """The index tags of a blob, if it has any that this credential may know of."""
    if not blob.tag_count:
        return {}
    return dict(await clients.blob(BlobName(blob.name)).get_blob_tags())


async def settled_copy(clients: Clients, copy: BlobProperties) -> BlobProperties | None:
    """The blob that a copy of ours was made to, once that has ended; None if it is to be made anew.

    Raises:
        BackendError: it does not end.
    """
    deadline = time.monotonic() + clients.options.copy_timeout_seconds
    now: BlobProperties | None = copy
    while now is not None and now.copy.status == "pending":
        if time.monotonic() >= deadline:
            raise BackendError(DRIVER_NAME, copy.name, "migrate", reason="its copy has no end")
        await asyncio.sleep(clients.options.copy_poll_seconds)
        now = await look_at(clients, BlobName(copy.name))
    if now is not None and now.copy.status in ("failed", "aborted"):
        # What such a copy leaves has the metadata and no byte.
        mark = Mark.on(now)
        if mark is not None and now.size in (0, mark.size):
            await delete_if_unchanged(clients, BlobName(now.name), now.etag)
            return None
    return now


def require_deletable(blob: BlobProperties) -> None:
    """To know before anything is copied.

    Raises:
        BackendError: the service would not delete it.
    """
    if blob.lease.state == "leased":
        raise BackendError(
            DRIVER_NAME, blob.name, "migrate", error_code="LeaseIdMissing", reason="it is leased"
        )
    if blob.has_legal_hold:
        raise BackendError(DRIVER_NAME, blob.name, "migrate", reason="it has a legal hold")


def require_right(copy: BlobProperties, source: BlobProperties) -> None:
    """
    Raises:
        BackendError: the copy is not of the size, or the MD5, of its source.
    """
    md5s = source.content_settings.content_md5, copy.content_settings.content_md5
    if copy.size != source.size or (md5s[0] and md5s[1] and md5s[0] != md5s[1]):
        raise BackendError(
            DRIVER_NAME, source.name, "migrate", reason="its copy is something else; both are kept"
        )
