"""Hashes of uploads that go on, kept in memory so that nothing is read again."""

from __future__ import annotations

from collections import OrderedDict

from oci_registry.names import new_hasher

__all__ = ["HashedStream", "HashedStreams"]


class HashedStream:
    """A hash of the first ``size`` bytes of an upload.

    Attributes:
        algorithm: of the digest.
        size: in bytes.
        is_exact: not while a stream is written whose end is not stored yet.
    """

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.size = 0
        self.is_exact = True
        self._hasher = new_hasher(algorithm)

    def update(self, chunk: bytes) -> None:
        """Go on with what follows."""
        self._hasher.update(chunk)
        self.size += len(chunk)

    def hexdigest(self) -> str:
        """The digest of what was hashed until now."""
        return self._hasher.hexdigest()


class HashedStreams:
    """Those of the uploads that were used last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: OrderedDict[str, HashedStream] = OrderedDict()

    def keep(self, identifier: str, hashed: HashedStream) -> None:
        """Keep one until it is taken, or there are too many."""
        self._streams[identifier] = hashed
        while len(self._streams) > self._limit:
            self._streams.popitem(last=False)

    def take(self, identifier: str) -> HashedStream | None:
        """Take one out, if it is there."""
        return self._streams.pop(identifier, None)
