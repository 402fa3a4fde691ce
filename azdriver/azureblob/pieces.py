"""The bytes of a block, in the pieces in which they came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Final, Self

from azdriver.azureblob.session import BODY_SLICE_BYTES

__all__ = ["Pieces", "keep_freed_memory"]

# Sent in slices for the reasons that `session` has.
# What is smaller is joined: to copy it costs less than a call of the socket for each piece.
MIN_KEPT_BYTES: Final = 128 * 1024
# glibc does not regard objects of 32 MiB and more.
MAX_FREED_BYTES: Final = 16 * 1024 * 1024


class Pieces:
    """A request's body that is never joined, and can be sent any number of times.

    A caller's ``bytes`` cannot change: they are kept, not copied. Of anything else there is a
    copy. To keep a part of an object is to keep all of it, so the part has to be at least half:
    a block holds at most twice its own bytes, and nothing of an object that is larger than two
    blocks outlives the call that wrote it.

    Attributes:
        size: how many bytes.
    """

    __slots__ = ("_pieces", "_tail", "size")

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[memoryview | bytearray] = []
        self._tail = bytearray()

    def add(self, part: memoryview) -> None:
        """Take bytes in. Not while they are being sent."""
        if len(part) >= MIN_KEPT_BYTES and _may_be_kept(part):
            if self._tail:
                tail = bytearray()
                self._pieces.append(self._tail)
                self._tail = tail
            self._pieces.append(part)
        else:
            self._tail += part
        self.size += len(part)

    def cut(self, start: int, stop: int) -> bytes:
        """A copy of the bytes from ``start`` to ``stop``."""
        return b"".join(self._slices(start, stop))

    def __aiter__(self) -> AsyncIterator[memoryview]:
        return _Slices(self._slices(0, self.size))

    def _slices(self, start: int, stop: int) -> Iterator[memoryview]:
        for piece in (*self._pieces, self._tail):
            view = memoryview(piece)[max(start, 0) : max(stop, 0)]
            for begin in range(0, len(view), BODY_SLICE_BYTES):
                yield view[begin : begin + BODY_SLICE_BYTES]
            start -= len(piece)
            stop -= len(piece)


class _Slices:
    # Not an async generator, which the event loop closes by a task of its own where it was not
    # read to its end: the service may answer, or the connection break, before all is sent.
    __slots__ = ("_slices",)

    def __init__(self, slices: Iterator[memoryview]) -> None:
        self._slices = slices

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        piece = next(self._slices, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


def _may_be_kept(part: memoryview) -> bool:
    whole = part.obj  # what the first view was made of, however it was sliced and cast
    return type(whole) is bytes and 2 * len(part) >= len(whole)


@cache  # again it would take from the heap, and clear, what the first time was only reserved
def keep_freed_memory(block_bytes: int) -> None:
    """Have the memory of a stored block used again for the next one.

    A stored block frees many objects at once. What is free at the heap's end glibc returns to the
    kernel, which then has to clear it anew for the next block: as much work as all of the copying
    that is saved. It keeps up to twice the largest object that it has ever mapped and freed.
    """
    bytes(min(block_bytes, MAX_FREED_BYTES))
