"""The web apps on real sockets, over memory and over Azurite."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol

import aiohttp
import pytest
import uvicorn
from aiohttp import web

import web_aiohttp.app
import web_starlette.app
from azdriver import AzureBlobDriver, MemoryDriver, StorageDriver
from azdriver.testing.azurite import AzuriteServer

Framework = Literal["aiohttp", "starlette"]

KIB = 1024


class Serve(Protocol):
    """Runs an app over a driver that is open already; yields the server's host and port."""

    def __call__(
        self, driver: StorageDriver, **options: Any
    ) -> AbstractAsyncContextManager[tuple[str, int]]: ...


@asynccontextmanager
async def _open_already(driver: StorageDriver) -> AsyncIterator[StorageDriver]:
    yield driver  # the test has opened it, and looks into it


@pytest.fixture(params=["aiohttp", "starlette"])
def serve(request: pytest.FixtureRequest) -> Serve:
    framework: Framework = request.param

    @asynccontextmanager
    async def serve(driver: StorageDriver, **options: Any) -> AsyncIterator[tuple[str, int]]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # What the kernel buffers is not what the server holds: keep it small.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
            listener.setblocking(False)
            running = _run_aiohttp if framework == "aiohttp" else _run_starlette
            async with running(_open_already(driver), listener, options):
                host, port = listener.getsockname()[:2]
                yield host, port

    return serve


@asynccontextmanager
async def _run_aiohttp(
    storage: AbstractAsyncContextManager[StorageDriver],
    listener: socket.socket,
    options: dict[str, Any],
) -> AsyncIterator[None]:
    runner = web.AppRunner(web_aiohttp.app.create_app(storage, **options), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _run_starlette(
    storage: AbstractAsyncContextManager[StorageDriver],
    listener: socket.socket,
    options: dict[str, Any],
) -> AsyncIterator[None]:
    app = web_starlette.app.create_app(storage, **options)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not task.done(), "it did not start"
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def azure(azurite_server: AzuriteServer, container: str) -> AsyncIterator[StorageDriver]:
    """A driver as the apps open it, with two connections in all, and small blocks."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        write_mode="block",
        block_bytes=256 * KIB,
        blocks_in_flight=2,
        read_range_bytes=256 * KIB,
        read_ranges_in_flight=2,
        connections=2,
    ) as driver:
        yield driver


@pytest.fixture
async def memory() -> AsyncIterator[StorageDriver]:
    async with MemoryDriver() as driver:
        yield driver


@pytest.fixture(params=["memory", "azure"])
def storage(request: pytest.FixtureRequest) -> StorageDriver:
    """An empty driver of each kind."""
    driver: StorageDriver = request.getfixturevalue(request.param)
    return driver


@pytest.fixture
async def client(serve: Serve, storage: StorageDriver) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the app over ``storage``, whose uploads are at most 8 MiB."""
    async with serve(storage, max_upload_bytes=8 * KIB * KIB) as (host, port):
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            yield client
