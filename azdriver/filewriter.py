"""The state of a writer, the same for every driver.

A driver's writer subclasses :class:`BaseFileWriter` and says how bytes are accepted, flushed,
made final and thrown away; the order of calls, the lock and the errors of state live here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Final, Self

import anyio

from azdriver.contract import Buffer
from azdriver.errors import StorageDriverError, WriterStateError
from azdriver.paths import StoragePath

__all__ = ["CLOSE_GRACE_SECONDS", "BaseFileWriter", "as_bytes_view"]

# How long leaving the ``async with`` by an exception may take to save what was accepted. The
# caller's own time-out is often what raised: it must win within a second.
CLOSE_GRACE_SECONDS: Final = 0.75


def as_bytes_view(data: Buffer) -> memoryview:
    """``data`` as a contiguous view of single bytes, copied only if it is not contiguous."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"bytes, bytearray or memoryview expected, not {type(data).__name__}")
    view = memoryview(data)
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


class _State(Enum):
    OPEN = ""
    COMMITTED = "already committed"
    CLOSED = "already closed"
    CANCELLED = "already cancelled"


class BaseFileWriter(ABC):
    """The state machine and the lock of a ``FileWriter``."""

    def __init__(self, driver_name: str, path: StoragePath) -> None:
        self._driver_name = driver_name
        self._path = path
        # Orders writes against each other and against commit, cancel and close.
        self._lock = asyncio.Lock()
        self._state = _State.OPEN

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes accepted, those found at opening with ``append=True`` included."""

    @abstractmethod
    async def _accept(self, data: memoryview) -> None:
        """Take all of ``data``, called under the lock; or raise, ``size`` saying how much."""

    @abstractmethod
    async def _flush(self) -> None:
        """Store what was accepted, so that the stream can be resumed."""

    @abstractmethod
    async def _finish(self) -> None:
        """Store what was accepted, and make it final."""

    @abstractmethod
    async def _discard(self) -> None:
        """Throw away what was written."""

    async def _release(self) -> None:  # noqa: B027 - a hook, not every writer holds something
        """Let go of what the writer holds; nothing is sent any more. Must not wait long."""

    async def write(self, data: Buffer, /) -> None:
        # Released at the end: until then a bytearray of the caller's cannot be resized.
        with as_bytes_view(data) as view:
            async with self._lock:
                self._require_open()
                await self._accept(view)

    async def commit(self) -> None:
        async with self._lock:
            self._require_open()
            await self._finish()
            self._state = _State.COMMITTED

    async def cancel(self) -> None:
        async with self._lock:
            self._require_open()
            try:
                await self._discard()
            finally:
                self._state = _State.CANCELLED

    async def close(self) -> None:
        async with self._lock:
            if self._state is _State.COMMITTED:
                self._state = _State.CLOSED
                return
            self._require_open()
            # Closed only when flushed: a close that was cancelled leaves the rest of the work
            # to the end of the ``async with`` block.
            try:
                await self._flush()
            except Exception:
                self._state = _State.CLOSED
                raise
            self._state = _State.CLOSED

    def _require_open(self) -> None:
        if self._state is not _State.OPEN:
            raise WriterStateError(self._driver_name, self._path, self._state.value)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            if self._state is _State.OPEN and exc is None:
                await self.close()
        finally:
            # Still open: the block was left by an exception, or this close was cancelled. That
            # exception must not be replaced by ours, nor wait long for us.
            if self._state is _State.OPEN:
                with suppress(StorageDriverError):
                    with anyio.move_on_after(CLOSE_GRACE_SECONDS, shield=True):
                        await self.close()
                if self._state is _State.OPEN:
                    self._state = _State.CLOSED
            await self._release()
