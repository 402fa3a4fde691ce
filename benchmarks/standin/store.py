"""What the stand-in stores: blobs in memory, or only their lengths."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from xml.sax.saxutils import escape

__all__ = ["APPEND", "BLOCK", "Blob", "Container", "Pieces", "now_text"]

BLOCK: Final = "BlockBlob"
APPEND: Final = "AppendBlob"

Pieces = list[memoryview]

# Content that nobody keeps is this pattern, over and over: byte n is the same in every answer.
_PERIOD: Final = 1024 * 1024
_SPAN: Final = 4 * 1024 * 1024
_PATTERN: Final = memoryview(
    bytes(((n * 131) ^ (n >> 8)) & 0xFF for n in range(_PERIOD)) * (_SPAN // _PERIOD + 1)
)

_etags = itertools.count(0x8D0_0000_0000_0000)
_LAST_NAME: Final = chr(0x10FFFF)


class _Now:
    second = 0
    text = ""


def now_text() -> str:
    """The time as HTTP has it, made once a second."""
    second = int(time.time())
    if second != _Now.second:
        _Now.second = second
        _Now.text = format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
    return _Now.text


class Blob:
    """One version of a blob; ``pieces`` is None where only the length is known."""

    __slots__ = (
        "block_count",
        "content_type",
        "created",
        "etag",
        "kind",
        "metadata",
        "modified",
        "pieces",
        "size",
        "xml",
    )

    def __init__(
        self,
        kind: str,
        pieces: Pieces | None,
        size: int,
        metadata: dict[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> None:
        self.kind = kind
        self.pieces = pieces
        self.size = size
        self.metadata = metadata or {}
        self.content_type = content_type
        self.block_count = 0
        self.created = now_text()
        self.touch()

    def touch(self) -> None:
        """Make it another version."""
        self.etag = f'"0x{next(_etags):X}"'
        self.modified = now_text()
        self.xml = b""

    def append(self, data: memoryview | None, size: int) -> None:
        if data is None:
            self.pieces = None
        elif self.pieces is not None:
            self.pieces.append(data)
        self.size += size
        self.block_count += 1
        self.touch()

    def read(self, offset: int, limit: int) -> memoryview:
        """Some bytes from ``offset``, at most ``limit``; none is copied."""
        if self.pieces is None:
            start = offset % _PERIOD
            return _PATTERN[start : start + min(limit, _SPAN)]
        for piece in self.pieces:
            if offset < len(piece):
                return piece[offset : offset + limit]
            offset -= len(piece)
        raise IndexError(offset)

    def listed(self, name: str, include_metadata: bool) -> bytes:
        """Its entry in a listing, as long as the service's own."""
        if self.xml and not (include_metadata and self.metadata):
            return self.xml
        metadata = ""
        if include_metadata and self.metadata:
            items = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in self.metadata.items())
            metadata = f"<Metadata>{items}</Metadata>"
        tier = (
            "<AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
            if self.kind == BLOCK
            else ""
        )
        entry = (
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Creation-Time>{self.created}</Creation-Time>"
            f"<Last-Modified>{self.modified}</Last-Modified>"
            f"<Etag>{self.etag.strip(chr(34))}</Etag>"
            f"<Content-Length>{self.size}</Content-Length>"
            f"<Content-Type>{escape(self.content_type)}</Content-Type>"
            "<Content-Encoding /><Content-Language /><Content-CRC64 />"
            "<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>"
            "<Cache-Control /><Content-Disposition />"
            f"<BlobType>{self.kind}</BlobType>{tier}"
            "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
            f"<ServerEncrypted>true</ServerEncrypted></Properties>{metadata}<OrMetadata /></Blob>"
        ).encode()
        if not metadata:
            self.xml = entry
        return entry


class Container:
    """Blobs by name, the names in order, and the blocks that are staged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.blobs: dict[str, Blob] = {}
        self.names: list[str] = []
        self.staged: dict[str, dict[str, tuple[memoryview | None, int]]] = {}
        self.committed: dict[str, dict[str, tuple[memoryview | None, int]]] = {}
        self._version = 0
        self._pages: dict[tuple[str, str, str, int, bool], tuple[int, bytes]] = {}

    def put(self, name: str, blob: Blob) -> None:
        if name not in self.blobs:
            self.names.insert(bisect_left(self.names, name), name)
        self.blobs[name] = blob
        self._version += 1

    def changed(self) -> None:
        self._version += 1

    def delete(self, name: str) -> bool:
        if self.blobs.pop(name, None) is None:
            return False
        del self.names[bisect_left(self.names, name)]
        self.staged.pop(name, None)
        self.committed.pop(name, None)
        self._version += 1
        return True

    def fill(self, prefix: str, directories: int, count: int, size: int) -> None:
        """Add ``count`` blobs of unknown content, evenly in so many directories."""
        for n in range(count):
            directory = n * directories // count
            name = f"{prefix}directory-{directory:03}/blob-{n:08}"
            blob = Blob(BLOCK, None, size)
            blob.listed(name, False)
            if name not in self.blobs:
                self.names.append(name)
            self.blobs[name] = blob
        self.names.sort()
        self._version += 1

    def page(
        self, prefix: str, delimiter: str, marker: str, limit: int, include_metadata: bool
    ) -> bytes:
        """One page of List Blobs as XML; kept until something changes."""
        key = (prefix, delimiter, marker, limit, include_metadata)
        version, body = self._pages.get(key, (-1, b""))
        if version != self._version:
            if len(self._pages) > 256:
                self._pages.clear()
            body = self._render(prefix, delimiter, marker, limit, include_metadata)
            self._pages[key] = (self._version, body)
        return body

    def _render(
        self, prefix: str, delimiter: str, marker: str, limit: int, include_metadata: bool
    ) -> bytes:
        names, blobs = self.names, self.blobs
        at = bisect_left(names, max(marker, prefix))
        end = len(names)
        if prefix:
            end = bisect_right(names, prefix + _LAST_NAME)
        entries: list[bytes] = []
        next_marker = ""
        while at < end:
            if len(entries) == limit:
                next_marker = names[at]
                break
            name = names[at]
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                directory = name[: cut + len(delimiter)]
                entries.append(
                    f"<BlobPrefix><Name>{escape(directory)}</Name></BlobPrefix>".encode()
                )
                at = bisect_right(names, directory + _LAST_NAME, at)
            else:
                entries.append(blobs[name].listed(name, include_metadata))
                at += 1
        # The service sorts a page's directories among its blobs, by name; so is this.
        asked = "".join(
            f"<{tag}>{escape(value)}</{tag}>"
            for tag, value in (("Prefix", prefix), ("Marker", marker), ("Delimiter", delimiter))
            if value
        )
        return b"".join(
            (
                b'<?xml version="1.0" encoding="utf-8"?>'
                b'<EnumerationResults ServiceEndpoint="http://127.0.0.1/" ',
                f'ContainerName="{escape(self.name)}">{asked}'.encode(),
                f"<MaxResults>{limit}</MaxResults><Blobs>".encode(),
                *entries,
                f"</Blobs><NextMarker>{escape(next_marker)}</NextMarker>".encode(),
                b"</EnumerationResults>",
            )
        )
