"""How many requests there are, how long they may take, and when the last one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.web.context import SETTINGS
from oci_registry.web.health import is_health

__all__ = ["TRAFFIC", "Traffic", "close_when_ending", "limit_bodies", "limit_traffic"]

RETRY_AFTER_SECONDS: Final = 1


class Traffic:
    """The requests that are being answered.

    Attributes:
        bodies: what who sends a body enters, before it is read.
    """

    def __init__(self, *, max_bodies: int) -> None:
        self.bodies = asyncio.Semaphore(max_bodies)
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_ending = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._tasks)

    @property
    def is_ending(self) -> bool:
        """Whether the registry is to stop."""
        return self._is_ending

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count a request for as long as it lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._is_idle.clear()
        try:
            yield
        finally:
            self._tasks.remove(task)
            if not self._tasks:
                self._is_idle.set()

    async def end(self, *, within_seconds: float) -> int:
        """Let the requests end, and cut what does not in that time; how many those were.

        From now on each answer is the last one of its connection.
        """
        self._is_ending = True
        try:
            async with asyncio.timeout(within_seconds):
                await self._is_idle.wait()
        except TimeoutError:
            pass
        cut = list(self._tasks)
        for task in cut:
            task.cancel()
        return len(cut)


TRAFFIC: Final = web.AppKey("traffic", Traffic)


@web.middleware
async def limit_traffic(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is too much, and end what takes too long.

    Raises:
        RegistryError: ``TOOMANYREQUESTS``, or 408 after ``request_seconds``.
    """
    if is_health(request):
        return await handler(request)
    traffic, settings = request.app[TRAFFIC], request.app[SETTINGS]
    if traffic.count >= settings.max_concurrent_requests:
        raise _too_many("requests")
    with traffic.entered():
        limit = asyncio.timeout(settings.request_seconds)
        try:
            async with limit:
                return await handler(request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise RegistryError(
                ErrorCode.UNAVAILABLE, "the request took too long", status=408
            ) from None


@web.middleware
async def limit_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let so many bodies in at once: the storage's driver holds a part of each in memory.

    One more waits a while, with nothing of it read. Clients do not send a layer twice.

    Raises:
        RegistryError: ``TOOMANYREQUESTS``.
    """
    if not request.body_exists:
        return await handler(request)
    bodies = request.app[TRAFFIC].bodies
    try:
        async with asyncio.timeout(request.app[SETTINGS].upload_wait_seconds):
            await bodies.acquire()
    except TimeoutError:
        raise _too_many("uploads") from None
    try:
        return await handler(request)
    finally:
        bodies.release()


def _too_many(what: str) -> RegistryError:
    return RegistryError(
        ErrorCode.TOOMANYREQUESTS,
        f"too many {what} at once",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def close_when_ending(request: web.Request, response: web.StreamResponse) -> None:
    """Ask the client to come back on another connection, which goes to another instance."""
    if request.app[TRAFFIC].is_ending:
        response.force_close()
        # aiohttp has written its own headers by now.
        response.headers["Connection"] = "close"
