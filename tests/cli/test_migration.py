"""``azdriver doctor`` and ``azdriver migrate`` on what an old driver left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from subprocess import CompletedProcess

import pytest

from azdriver import AzureBlobDriver
from azdriver.testing.azurite import AzuriteServer

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
async def legacy(azurite_server: AzuriteServer, container: str) -> AsyncIterator[AzureBlobDriver]:
    """A driver of the old layout, which has stored three contents."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, legacy_root_prefix=True
    ) as driver:
        for path in ("/a/one", "/a/two", "/b"):
            await driver.put_content(path, path.encode())
        yield driver


async def test_doctor(legacy: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("doctor")
    assert ran.returncode == 1
    assert "\nerror: " in ran.stdout
    assert "[layout-legacy-root]" in ran.stdout
    assert ran.stdout.endswith("\nset:\n  legacyrootprefix: true\n")
    assert ran.stderr.startswith("azdriver: looking at test-")
    found = json.loads(cli("doctor", "--json", "--whole", "-q").stdout)
    assert found["is_healthy"] is False
    assert found["counts"]["blobs"] == 3


async def test_migrate(legacy: AzureBlobDriver, driver: AzureBlobDriver, cli: Cli) -> None:
    ran = cli("migrate")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("azdriver: without a terminal, give --yes to migrate")
    assert "to move:       3 blobs, 14 B\n" in cli("migrate", "--dry-run").stdout
    assert json.loads(cli("migrate", "-n", "--json").stdout)["moves"] == 3
    ran = cli("migrate", "--yes")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("moved:      3 blobs\n")
    assert await driver.get_content("/a/two") == b"/a/two"
    assert list(await legacy.list("/")) == []
    assert json.loads(cli("migrate", "-y", "--json").stdout)["moved"] == 0
    assert cli("doctor").returncode == 0


async def test_what_cannot_be_migrated_is_told(
    legacy: AzureBlobDriver, driver: AzureBlobDriver, cli: Cli
) -> None:
    await driver.put_content("/b", b"another content")
    ran = cli("migrate", "--yes")
    assert ran.returncode == 1
    assert "moved:      2 blobs\n" in ran.stdout
    assert ran.stderr.startswith("azdriver: conflict: '/b' -> 'b': ")
    assert ran.stderr.count("\n") == 1
    assert await driver.get_content("/b") == b"another content"


@pytest.mark.parametrize("command", [["doctor"], ["migrate", "--yes"]])
def test_another_driver_is_refused(cli: Cli, command: list[str]) -> None:
    ran = cli(*command, "--url", "memory:")
    assert ran.returncode == 2
    assert ran.stderr == "azdriver: this is for Azure Blob Storage alone: the driver azure\n"


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (["--from-root", "a//b"], "parameter from_root_directory: is not a path"),
        (["--jobs", "0"], "Invalid value for '-j' / '--jobs'"),
        (["--convert", "some"], "Invalid value for '--convert'"),
        (["--max-convert-size", "big"], "Invalid value for '--max-convert-size': 'big'"),
    ],
)
def test_a_wrong_option(cli: Cli, option: list[str], error: str) -> None:
    ran = cli("migrate", "--dry-run", *option)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert error in ran.stderr
    assert ran.stderr.count("\n") == 1
