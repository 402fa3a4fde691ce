"""A blob gets a copy: as it is, or as a block blob; with all that belongs to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Mapping
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
from azdriver.azureblob.migration.comparing import BLOCK_BYTES, blocks_of, sha256_of
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.migration.tags import tags_of
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import error_code
from azdriver.errors import BackendError, ConcurrentWriteError, PreconditionFailedError
from azdriver.paths import StoragePath

__all__ = ["copy_blob", "require_deletable", "settled_copy", "write_block_blob"]

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
    tags = await tags_of(clients, path, source)
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
    tags = await tags_of(clients, path, source)
    if tags:
        arguments["tags"] = tags
    md5 = hashlib.md5(usedforsecurity=False)
    sha256 = hashlib.sha256()
    blocks = blocks_of(clients, path, source)
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
    if await sha256_of(clients, path, written) != sha256.digest():
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
