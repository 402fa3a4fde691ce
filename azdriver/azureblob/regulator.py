"""The limit on requests in flight, which gives way to a service that is overloaded.

The container registry's regulator has a fixed limit. This one is halved when the service refuses
(503, 429), and grows again by one for each round of answers while it is what holds the tasks
back: additive increase, multiplicative decrease, as TCP does with its window. A burst is then
sent at the rate that the account takes, instead of being refused until the retries are used up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Regulator"]

LEAST: Final = 1.0
DECREASE: Final = 0.5


class Regulator:
    """Slots for requests in flight, first come, first served; shared by all tasks of a driver.

    A slot is held for one attempt, from before its sending until its answer: by nobody who waits
    before a retry, and until the headers alone where the body is streamed. A reader that its
    consumer has paused would hold a slot for as long as it likes, and one that fetches ahead
    would wait for itself; what bounds the bodies is the pool of connections.

        if not regulator.try_enter():
            await regulator.wait()
        window = regulator.window
        try: ...
        finally:
            regulator.leave(window, refused)

    Attributes:
        limit: how many may be in flight now; the fraction is what it has grown by since.
        in_flight: how many are.
        window: counts the decreases. What was sent before one says nothing about the limit
            after it, so that a round of refusals halves it once.
    """

    def __init__(
        self,
        most: int,
        *,
        adaptive: bool = True,
        patience_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            most: the limit at first, and whenever nothing is refused.
            adaptive: False for a limit that stays.
            patience_seconds: how long to wait for a slot while the service answers nobody.
            clock: seconds, of any beginning.
        """
        self._most = float(most)
        self._adaptive = adaptive
        self._patience = patience_seconds
        self._clock = clock
        self._answered_at = clock()
        self._peak = 0  # in flight at most, since the last decrease
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.limit = self._most
        self.in_flight = 0
        self.window = 0

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiters)

    def try_enter(self) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._waiters or self.in_flight + 1 > self.limit:
            return False
        self._take()
        return True

    async def wait(self) -> None:
        """Take a slot when it is this task's turn.

        However long the queue is, it moves while the service answers; the caller bounds the wait
        by a time-out of its own. Cancelled, it leaves no slot taken.

        Raises:
            TimeoutError: the service has answered nobody for the time of our patience.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        began = self._clock()
        try:
            while not waiter.done():
                left = max(began, self._answered_at) + self._patience - self._clock()
                if left <= 0:
                    raise TimeoutError
                await asyncio.wait([waiter], timeout=left)
        except BaseException:
            if waiter.done():  # it was given a slot, and does not get to use it
                self._give_back()
            else:
                self._waiters.remove(waiter)
            raise

    def leave(self, window: int, refused: bool | None) -> None:
        """Give a slot back.

        Args:
            window: the attribute as it was when the request was sent.
            refused: whether the answer was that the service is overloaded; None for no answer.
        """
        if refused is not None:
            self._answered_at = self._clock()
            if self._adaptive:
                self._adapt(window, refused)
        self._give_back()

    def _adapt(self, window: int, refused: bool) -> None:
        if refused:
            if window == self.window:
                # Not of the limit alone: it may be far above what was sent.
                self.limit = max(LEAST, min(self.limit, self._peak) * DECREASE)
                self.window += 1
                self._peak = 0
        elif self.limit < self._most and (self._waiters or self.in_flight + 1 > self.limit):
            # Unused room says nothing about how much of it the service would take.
            self.limit = min(self._most, self.limit + 1 / self.limit)

    def _take(self) -> None:
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)

    def _give_back(self) -> None:
        self.in_flight -= 1
        while self._waiters and self.in_flight + 1 <= self.limit:
            self._waiters.popleft().set_result(None)
            self._take()
