"""A server that lies, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from azdriver.azureblob import listing as listing_module
from liar.server import Server, hostile_server


@pytest.fixture(autouse=True)
def short_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a listing without end ends soon."""
    monkeypatch.setattr(listing_module, "MAX_EMPTY_PAGES", 20)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with hostile_server() as server:
        yield server
