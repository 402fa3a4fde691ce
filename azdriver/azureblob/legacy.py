"""Which append blobs are contents that an old driver wrote, and which are streams.

Until 2016 the registry's driver wrote contents through its writer, so that they are append blobs.
Drivers of today write contents as block blobs, and streams (in append mode) as append blobs still.
Nothing on a blob says which it is; its path, its size and azdriver's own mark do.

A registry's layers and manifests lie under their digests, and nothing tells the ones, which are
streams, from the others, which are contents. None is ever overwritten by another content, which is
when a content that is an append blob is missing for a moment: so all of them count as streams.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from azdriver.azureblob.blobs import WRITE_ID

__all__ = [
    "MAX_CONTENT_BYTES",
    "MIGRATED",
    "MIGRATED_STREAM",
    "REGISTRY",
    "is_by_digest",
    "is_legacy_content",
    "is_own_stream",
    "is_upload",
]

REGISTRY: Final = "docker/registry/v2/"
"""Where the tree of a container registry begins, below the root directory."""

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024
"""The largest manifest that a registry takes, which is the largest of its contents."""

MIGRATED: Final = "migrated"
"""How the write id of a blob begins that was moved or converted, up to the first hyphen."""

MIGRATED_STREAM: Final = "migrated_stream"
"""The same, of what was a stream of azdriver's own before."""


def is_own_stream(metadata: Mapping[str, str] | None) -> bool:
    """Whether an append blob is a stream that azdriver wrote, moved since or not."""
    write_id = (metadata or {}).get(WRITE_ID)
    return write_id is not None and write_id.partition("-")[0] != MIGRATED


def is_upload(path: str) -> bool:
    """Whether it is the stream of an upload to a registry, which may be appended to at any time."""
    return f"/{REGISTRY}" in path and "/_uploads/" in path and path.endswith("/data")


_BY_DIGEST: Final = re.compile(
    rf"/{re.escape(REGISTRY)}blobs/[a-z0-9+._-]+/([0-9a-f]{{2}})/\1[0-9a-f]*/data\Z"
)


def is_by_digest(path: str) -> bool:
    """Whether it is a layer or a manifest of a registry: the same bytes for ever."""
    return _BY_DIGEST.search(path) is not None


def is_legacy_content(
    path: str,
    blob_type: str,
    size: int,
    metadata: Mapping[str, str] | None,
    *,
    max_bytes: int = MAX_CONTENT_BYTES,
) -> bool:
    """Whether a blob is most probably a content that an old driver wrote as an append blob.

    Not if nothing overwrites it: see above.

    Args:
        path: of the blob.
        blob_type: as the service names it.
        size: bytes.
        metadata: of the blob; azdriver's own streams are known by it.
        max_bytes: what is larger is a stream.
    """
    if blob_type != "AppendBlob" or size > max_bytes or is_upload(path) or is_by_digest(path):
        return False
    return not is_own_stream(metadata)
