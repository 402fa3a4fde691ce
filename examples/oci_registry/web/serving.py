"""A registry on a socket, from its start to its orderly end."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from oci_registry.web.traffic import TRAFFIC

__all__ = ["serving"]

_log = logging.getLogger(__name__)

KEEPALIVE_SECONDS: Final = 75.0
# For requests that were cut, to store what they have.
CUT_SECONDS: Final = 10.0


@asynccontextmanager
async def serving(
    app: web.Application,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    shutdown_seconds: float,
) -> AsyncGenerator[str, None]:
    """Serve, and yield the URL.

    At the end no connection is accepted any more, and requests that are being answered go on for
    ``shutdown_seconds`` at most. Then they are cut. What an upload had sent until then is stored.
    """
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=CUT_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        address, bound = runner.addresses[0][:2]
        shown = f"[{address}]" if ":" in address else address
        yield f"{'https' if tls else 'http'}://{shown}:{bound}"
        await site.stop()
        # Not by aiohttp alone: it stops to read bodies as soon as it shuts down.
        if cut := await app[TRAFFIC].end(within_seconds=shutdown_seconds):
            _log.warning("cut at the end: %d request%s", cut, "s" * (cut != 1))
    finally:
        await runner.cleanup()
