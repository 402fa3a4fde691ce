"""A cancellation at exactly one point of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class CancelledAt:
    """Cancels a coroutine the n-th time that it waits."""

    def __init__(self, call: Awaitable[T], place: int) -> None:
        self._call = call
        self._place = place
        self.reached = False

    async def run(self) -> Any:
        return await asyncio.create_task(self._counted(), name="CancelledAt")

    async def _counted(self) -> Any:
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._call.__await__()
        waits = 0
        throw: BaseException | None = None
        while True:
            try:
                step = steps.send(None) if throw is None else steps.throw(throw)
            except StopIteration as stop:
                return stop.value
            throw = None
            if waits == self._place:
                self.reached = True
                asyncio.get_running_loop().call_soon(task.cancel)
            waits += 1
            try:
                yield step
            except BaseException as error:
                throw = error
