"""One Azurite for the whole run, and a container of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from anyio.from_thread import start_blocking_portal

from azdriver import AzureBlobDriver
from azdriver.testing.azurite import AzuriteServer, azurite
from azdriver.testing.recording import RecordedRequest, RecordingTransport


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzuriteServer]:
    # In a thread with an event loop of its own: each test has another one.
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(azurite(extent_memory_limit_mb=4096)) as server:
            yield server


@pytest.fixture
def container() -> str:
    """The name of a container that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
def requests() -> list[RecordedRequest]:
    """What ``driver`` has sent, in order; clear it before the call that is counted."""
    return []


@pytest.fixture
async def driver(
    azurite_server: AzuriteServer, container: str, requests: list[RecordedRequest]
) -> AsyncIterator[AzureBlobDriver]:
    """A driver on an empty container of Azurite, its requests recorded."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        wrap_transport=lambda inner: RecordingTransport(inner, requests),
    ) as driver:
        requests.clear()
        yield driver
