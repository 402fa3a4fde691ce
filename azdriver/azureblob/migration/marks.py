"""The write id of a migrated blob, by which a later run knows what an earlier one has written.

It is made of the source's name and version, so that any process makes the same one. Whoever
writes the blob anew takes it away; who only appends to it leaves it, but the size tells. It says
as well whether the source was a stream of azdriver's own, which its own write id said before.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Self

from azure.storage.blob import BlobProperties

from azdriver.azureblob.blobs import WRITE_ID
from azdriver.azureblob.legacy import MIGRATED, MIGRATED_STREAM, is_own_stream

__all__ = ["Mark"]


class Mark(NamedTuple):
    """Which version of which blob another was made from; names and ETags as hashes."""

    name: str
    etag: str
    size: int
    is_stream: bool

    @classmethod
    def of(cls, source: BlobProperties) -> Self:
        """What a copy of this blob, as it is now, is marked with."""
        etag = _hash(source.etag.strip('"'))
        return cls(_hash(source.name), etag, source.size, is_own_stream(source.metadata))

    @classmethod
    def on(cls, blob: BlobProperties) -> Self | None:
        """What a blob is marked with; None if no migration wrote it."""
        kind, _, rest = _write_id(blob).partition("-")
        parts = rest.split("-")
        is_kind = kind in (MIGRATED, MIGRATED_STREAM)
        if not is_kind or len(parts) != 3 or not parts[2].isdecimal():
            return None
        return cls(parts[0], parts[1], int(parts[2]), kind == MIGRATED_STREAM)

    @property
    def write_id(self) -> str:
        kind = MIGRATED_STREAM if self.is_stream else MIGRATED
        return f"{kind}-{self.name}-{self.etag}-{self.size}"


def _write_id(blob: BlobProperties) -> str:
    return str((blob.metadata or {}).get(WRITE_ID, ""))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
