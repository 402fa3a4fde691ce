"""One task of the load: which operation is next, and which errors it may end with."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    PartialDeleteError,
    PreconditionFailedError,
    StorageDriverError,
)
from azdriver.testing.soak.load import CANCELLED_SHARE, HANG_SECONDS
from azdriver.testing.soak.operations import OwnOperations
from azdriver.testing.soak.shared import SharedOperations


class Worker(OwnOperations, SharedOperations):
    """One task of the load: one operation after the other, by chance."""

    async def run(self, until: float) -> None:
        names = list(_OPERATIONS)
        weights = [_OPERATIONS[name][1] for name in names]
        while time.monotonic() < until:
            name = self._random.choices(names, weights)[0]
            watchdog = asyncio.timeout(HANG_SECONDS)
            try:
                async with watchdog:
                    await self._step(name, _OPERATIONS[name][0])
            except Exception as error:
                is_hung = isinstance(error, TimeoutError) and watchdog.expired()
                self._report.wrong.append(f"{name} hung" if is_hung else f"{name}: {_shown(error)}")
                self._start_anew()
            self._report.operations[name] += 1

    async def _step(self, name: str, operation: Callable[[Worker], Awaitable[None]]) -> None:
        self._doubts = {}
        seconds = None
        if self._random.random() < CANCELLED_SHARE:
            seconds = 0.1 * self._random.random() ** 2
        deadline = time.monotonic() + (seconds or 0.0)
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                await operation(self)
        except TimeoutError:
            if not scope.expired():
                raise
            late = time.monotonic() - deadline
            self._report.latest_timeout = max(self._report.latest_timeout, late)
            self._report.errors["caller's TimeoutError"] += 1
            # The service may still apply what was sent: never to be used again.
            await self._resolve(keep=False)
        except StorageDriverError as error:
            # Nobody else writes to a worker's own paths. But a driver cannot know that: a copy over
            # a young blob, whose answer was lost, is not sent again (see evidence.py).
            rivals = (ConcurrentWriteError, PreconditionFailedError)
            is_doubt = name == "move" and "the copy's answer was lost" in str(error)
            allowed = rivals if name.startswith("shared") or is_doubt else ()
            if not isinstance(error, (BackendError, PartialDeleteError, *allowed)):
                raise
            self._count(error)
            await self._resolve(keep=True)


_OPERATIONS: Final[dict[str, tuple[Callable[[Worker], Awaitable[None]], int]]] = {
    "put": (Worker.put, 20),
    "get": (Worker.get, 20),
    "compare_and_swap": (Worker.compare_and_swap, 5),
    "stat": (Worker.stat, 8),
    "read": (Worker.read, 8),
    "stream": (Worker.stream, 6),
    "cancelled_stream": (Worker.cancelled_stream, 2),
    "move": (Worker.move, 6),
    "delete": (Worker.delete, 4),
    "delete_tree": (Worker.delete_tree, 2),
    "list": (Worker.list, 3),
    "walk": (Worker.walk, 3),
    "url_for": (Worker.url_for, 2),
    "shared_put": (Worker.shared_put, 6),
    "shared_get": (Worker.shared_get, 6),
    "shared_read": (Worker.shared_read, 3),
    "open_another": (Worker.open_another, 1),
}


def _shown(error: BaseException) -> str:
    """What it says, and where in our own code it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{frame.name}:{frame.lineno}" for frame in frames if "azdriver" in frame.filename]
    text = f"{type(error).__name__}: {error} ({' > '.join(own)})"
    before = error.__context__
    return text if before is None else f"{text}, after {type(before).__name__}: {before}"
