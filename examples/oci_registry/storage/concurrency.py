"""Requests side by side, so many and no more; and locks by name, which may be given up early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakValueDictionary

__all__ = ["KeyedLocks", "Turn", "TurnOverError", "Turns", "each"]

T = TypeVar("T")
R = TypeVar("R")


async def each(
    function: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int
) -> Sequence[R]:
    """The results of ``function`` for each item, in their order; the first error ends it all."""
    waiting = list(items)
    results: dict[int, R] = {}
    places = iter(range(len(waiting)))

    async def work() -> None:
        for place in places:
            results[place] = await function(waiting[place])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(waiting))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[place] for place in range(len(waiting))]


class KeyedLocks:
    """A lock for each key that someone holds or waits for."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def holding(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of a key, within this process."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            yield


class TurnOverError(Exception):
    """Someone who came later wants the turn."""


class Turn:
    """What one of those who take turns may do until the next one comes."""

    def __init__(self) -> None:
        self._is_over = False
        self._waiting: asyncio.Timeout | None = None

    async def next(self, items: AsyncIterator[T]) -> T | None:
        """The next item, which may be waited for until the turn is over; None at the end.

        Raises:
            TurnOverError: nothing is lost of what came before.
        """
        if self._is_over:
            raise TurnOverError
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                self._waiting = waiting
                return await anext(items, None)
        except TimeoutError:
            if not waiting.expired():
                raise
            raise TurnOverError from None
        finally:
            self._waiting = None

    def end(self) -> None:
        """Let who has the turn wait for nothing any more."""
        if not self._is_over:
            self._is_over = True
            if self._waiting is not None:
                self._waiting.reschedule(asyncio.get_running_loop().time())


@dataclass(slots=True, weakref_slot=True)
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    turns: list[Turn] = field(default_factory=list)


class Turns:
    """A lock for each key, whose holder is told when someone else comes."""

    def __init__(self) -> None:
        self._lines: WeakValueDictionary[Hashable, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def taking(self, key: Hashable) -> AsyncIterator[Turn]:
        """Hold the lock of a key, within this process; the turns of all before are over."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        for before in line.turns:
            before.end()
        turn = Turn()
        line.turns.append(turn)
        try:
            async with line.lock:
                yield turn
        finally:
            line.turns.remove(turn)
