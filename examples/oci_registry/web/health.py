"""Whether the registry lives, and whether it can serve: for what watches over it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from aiohttp import web

from azdriver import StorageDriver, StorageDriverError

__all__ = ["LIVE", "READINESS", "READY", "Readiness", "is_health", "is_live", "is_ready"]

_log = logging.getLogger(__name__)

LIVE: Final = "/healthz"
READY: Final = "/readyz"
# A probe does not wait for all attempts of the driver.
READY_SECONDS: Final = 5.0
# Anyone may ask, as often as they like: they get the answer that the last one got.
REMEMBERED_SECONDS: Final = 1.0


class Readiness:
    """Whether the storage answers, asked once for all who want to know at a time."""

    def __init__(self, driver: StorageDriver) -> None:
        self._driver = driver
        self._asking = asyncio.Lock()
        self._is_ready = False
        self._until = 0.0

    async def is_ready(self) -> bool:
        """What the storage says, or said a moment ago."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._is_ready = await self._ask()
                self._until = time.monotonic() + REMEMBERED_SECONDS
            return self._is_ready

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._driver.list("/")
        except (StorageDriverError, TimeoutError) as error:
            _log.warning("not ready: %s", error or "the storage does not answer in time")
            return False
        return True


READINESS: Final = web.AppKey("readiness", Readiness)


def is_health(request: web.Request) -> bool:
    """Whether a request is a probe, which needs no credentials and is never refused."""
    return request.path in (LIVE, READY)


async def is_live(request: web.Request) -> web.StreamResponse:
    """That the process answers."""
    return web.json_response({"status": "live"})


async def is_ready(request: web.Request) -> web.StreamResponse:
    """Whether the storage answers."""
    if not await request.app[READINESS].is_ready():
        return web.json_response({"status": "storage does not answer"}, status=503)
    return web.json_response({"status": "ready"})
