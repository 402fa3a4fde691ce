"""The registry as a process of its own, in memory and on Azurite, and real clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azdriver.testing.azurite import AzuriteServer
from registry_processes import RunningRegistry, oci_registry_process
from skopeo import SKOPEO, OciLayout, Skopeo


@pytest.fixture
def skopeo(tmp_path: Path) -> Skopeo:
    if SKOPEO is None:
        pytest.skip("skopeo is not here: Debian's package skopeo has it")
    return Skopeo(tmp_path / "skopeo")


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    """An empty directory of images."""
    return OciLayout(tmp_path / "layout")


@pytest.fixture
def storage_environment(registry_azurite: AzuriteServer) -> dict[str, str]:
    """Where a registry finds Azurite and its key."""
    return {"AZURE_STORAGE_CONNECTION_STRING": registry_azurite.connection_string}


@pytest.fixture(params=["memory", "azurite"])
async def running(request: pytest.FixtureRequest, container: str) -> AsyncIterator[RunningRegistry]:
    """A registry on an empty driver."""
    if request.param == "memory":
        url, environment = "memory:", {}
    else:
        url, environment = f"azure:///{container}", request.getfixturevalue("storage_environment")
    async with oci_registry_process(url, environment=environment) as registry:
        yield registry
