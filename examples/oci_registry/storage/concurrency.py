"""Requests side by side, so many and no more; and locks by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

__all__ = ["KeyedLocks", "each"]

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
