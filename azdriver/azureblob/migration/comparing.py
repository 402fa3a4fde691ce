"""Contents read as they were seen, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients
from azdriver.azureblob.inventory import blob_type_of
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.rangedownload import RangeDownload
from azdriver.errors import BackendError
from azdriver.paths import StoragePath

__all__ = [
    "BLOCK_BYTES",
    "begins_with",
    "blocks_of",
    "differ_for_certain",
    "is_same_content",
    "require_right",
    "sha256_of",
]

BLOCK_BYTES: Final = 4 * 1024 * 1024


async def blocks_of(
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


async def sha256_of(
    clients: Clients, path: StoragePath, blob: BlobProperties, size: int | None = None
) -> bytes:
    digest = hashlib.sha256()
    blocks = blocks_of(clients, path, blob, size)
    async with aclosing(blocks):
        async for block in blocks:
            digest.update(block)
    return digest.digest()


def differ_for_certain(one: BlobProperties, other: BlobProperties) -> bool:
    """Whether the sizes, or the MD5s, say that two blobs have different contents."""
    md5s = _md5_of(one), _md5_of(other)
    return one.size != other.size or bool(md5s[0] and md5s[1] and md5s[0] != md5s[1])


def _md5_of(blob: BlobProperties) -> bytes | None:
    # That of an append blob is of what it was made with: appending leaves it as it is.
    if blob_type_of(blob) != "BlockBlob" or blob.content_settings.content_md5 is None:
        return None
    return bytes(blob.content_settings.content_md5)


async def is_same_content(
    clients: Clients, path: StoragePath, one: BlobProperties, other: BlobProperties
) -> bool:
    """Whether two blobs, each as it was seen, have the same bytes; asks no more than it must."""
    if differ_for_certain(one, other):
        return False
    # Not by the MD5s alone: a client may have set them to anything.
    return await sha256_of(clients, path, one) == await sha256_of(clients, path, other)


async def begins_with(
    clients: Clients, path: StoragePath, blob: BlobProperties, start: BlobProperties
) -> bool:
    """Whether a blob, as it was seen, has another's bytes at its beginning, or just these."""
    if blob.size <= start.size:
        return await is_same_content(clients, path, blob, start)
    return await sha256_of(clients, path, blob, start.size) == await sha256_of(clients, path, start)


def require_right(copy: BlobProperties, source: BlobProperties) -> None:
    """
    Raises:
        BackendError: the copy is not of the size, or the MD5, of its source.
    """
    if differ_for_certain(copy, source):
        raise BackendError(
            DRIVER_NAME, source.name, "migrate", reason="its copy is something else; both are kept"
        )
