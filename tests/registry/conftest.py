"""A registry on a socket of its own for each test, in memory and on Azurite."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from anyio.from_thread import start_blocking_portal

from azdriver import AzureBlobDriver, MemoryDriver, StorageDriver
from azdriver.testing.azurite import AzuriteServer, azurite
from oci_registry.settings import RegistrySettings
from oci_registry.web import make_app
from registry_client import OpenRegistry, RegistryClient


@pytest.fixture(scope="package")
def registry_azurite() -> Iterator[AzuriteServer]:
    # One for all of these modules: they store little.
    own = "AZDRIVER_AZURITE" not in os.environ
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(
            azurite(extent_memory_limit_mb=1024 if own else None)
        ) as server:
            yield server


@pytest.fixture(params=["memory", "azurite"])
async def storage(request: pytest.FixtureRequest, container: str) -> AsyncIterator[StorageDriver]:
    """An empty driver; ``azurite-block`` is one whose streams show when they are committed."""
    if request.param == "memory":
        async with MemoryDriver() as driver:
            yield driver
    else:
        server: AzuriteServer = request.getfixturevalue("registry_azurite")
        async with AzureBlobDriver.from_connection_string(
            server.connection_string,
            container,
            # Small, so that a test's blob takes many requests.
            write_mode="block" if request.param == "azurite-block" else "append",
            append_block_bytes=1024 * 1024,
            read_range_bytes=256 * 1024,
        ) as azure:
            yield azure


@pytest.fixture
async def open_registry(storage: StorageDriver) -> AsyncIterator[OpenRegistry]:
    """Open a registry with settings; each is another instance on the same driver."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def open_registry(settings: RegistrySettings) -> RegistryClient:
            server = TestServer(make_app(storage, settings))
            await stack.enter_async_context(server)
            return RegistryClient(session, server.make_url("/"))

        yield open_registry


@pytest.fixture
async def registry(open_registry: OpenRegistry) -> RegistryClient:
    """A registry with the settings that it has by itself."""
    return await open_registry(RegistrySettings())
