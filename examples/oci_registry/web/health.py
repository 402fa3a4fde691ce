"""Whether the registry lives, and whether it can serve: for what watches over it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web

from azdriver import StorageDriverError
from oci_registry.web.context import STORAGE

__all__ = ["LIVE", "READY", "is_health", "is_live", "is_ready"]

_log = logging.getLogger(__name__)

LIVE: Final = "/healthz"
READY: Final = "/readyz"
# A probe does not wait for all attempts of the driver.
READY_SECONDS: Final = 5.0


def is_health(request: web.Request) -> bool:
    """Whether a request is a probe, which needs no credentials and is never refused."""
    return request.path in (LIVE, READY)


async def is_live(request: web.Request) -> web.StreamResponse:
    """That the process answers."""
    return web.json_response({"status": "live"})


async def is_ready(request: web.Request) -> web.StreamResponse:
    """Whether the storage answers."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await request.app[STORAGE].driver.list("/")
    except (StorageDriverError, TimeoutError) as error:
        _log.warning("not ready: %s", error or "the storage does not answer in time")
        return web.json_response({"status": "storage does not answer"}, status=503)
    return web.json_response({"status": "ready"})
