"""Words that several findings share."""

from __future__ import annotations

__all__ = ["some"]


def some(count: int, thing: str) -> str:
    """``1 blob``, ``2 blobs``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
