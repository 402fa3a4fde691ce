"""Which append blobs are contents that an old driver wrote, and which are streams.

Until 2016 the registry's driver wrote contents through its writer, so that they are append blobs.
Drivers of today write contents as block blobs, and streams (in append mode) as append blobs still.
Nothing on a blob says which it is; its path, its size and azdriver's own mark do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from azdriver.azureblob.blobs import WRITE_ID

__all__ = ["MAX_CONTENT_BYTES", "REGISTRY", "is_legacy_content", "is_upload"]

REGISTRY: Final = "docker/registry/v2/"
"""Where the tree of a container registry begins, below the root directory."""

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024
"""The largest manifest that a registry takes, which is the largest of its contents."""


def is_upload(path: str) -> bool:
    """Whether it is the stream of an upload to a registry, which may be appended to at any time."""
    return f"/{REGISTRY}" in path and "/_uploads/" in path and path.endswith("/data")


def is_legacy_content(
    path: str,
    blob_type: str,
    size: int,
    metadata: Mapping[str, str] | None,
    *,
    max_bytes: int = MAX_CONTENT_BYTES,
) -> bool:
    """Whether a blob is most probably a content that an old driver wrote as an append blob.

    Args:
        path: of the blob.
        blob_type: as the service names it.
        size: bytes.
        metadata: of the blob; azdriver's own streams are known by it.
        max_bytes: what is larger is a stream.
    """
    if blob_type != "AppendBlob" or size > max_bytes or is_upload(path):
        return False
    return WRITE_ID not in (metadata or {})
