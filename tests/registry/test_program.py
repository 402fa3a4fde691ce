"""The program, as it is started."""

from __future__ import annotations

import asyncio
import base64
import signal
from pathlib import Path
from urllib.parse import quote

import aiohttp
import bcrypt
import pytest

from azdriver import StorageDriver
from azdriver.testing.azurite import AzuriteServer
from registry_client import RegistryClient, sha256
from registry_processes import registry_url, start_registry


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal(number: signal.Signals) -> None:
    process = await start_registry("serve", "--url", "memory:", "--port", "0")
    url = await registry_url(process)
    async with aiohttp.ClientSession() as session:
        registry = RegistryClient(session, url)
        digest = await registry.push_image("a", "v1", b"layer")
        await registry.ask("GET", f"/v2/a/manifests/{digest}", status=200)
        process.send_signal(number)
        output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b""), errors.decode()
    assert b"Traceback" not in errors


async def test_users_of_a_file_come_in(tmp_path: Path) -> None:
    users = tmp_path / "users"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    users.write_text(f"ann:{hashed}\n", "utf-8")
    process = await start_registry(
        "serve", "--url", "memory:", "--port", "0", "--htpasswd", str(users), "--max-requests", "3"
    )
    url = await registry_url(process)
    async with aiohttp.ClientSession() as session:
        registry = RegistryClient(session, url)
        await registry.ask("GET", "/v2/", status=401)
        encoded = base64.b64encode(b"ann:secret").decode()
        await registry.ask("GET", "/v2/", headers={"Authorization": f"Basic {encoded}"}, status=200)
        await registry.ask("GET", "/readyz", status=200)
    process.send_signal(signal.SIGTERM)
    output, errors = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert b"secret" not in errors
    assert hashed.encode() not in errors


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_garbage_is_collected_by_a_command(
    storage: StorageDriver,
    container: str,
    registry: RegistryClient,
    registry_azurite: AzuriteServer,
) -> None:
    await registry.push_blob("a", b"garbage")
    kept = await registry.push_image("a", "v1", b"layer")
    # Azurite's times are whole seconds: what is there is old in the next but one.
    await asyncio.sleep(2.1)
    place = {
        "AZDRIVER_URL": driver_url(registry_azurite.blob_endpoint, container),
        "AZURE_STORAGE_CONNECTION_STRING": registry_azurite.connection_string,
    }
    command = ("garbage-collect", "--grace-hours", str(1 / 3600))
    result = "1 blobs of 7 bytes, 0 uploads; 0 came into use meanwhile\n"
    for options, said in ((("--dry-run",), "would delete"), ((), "deleted")):
        process = await start_registry(*command, *options, environment=place)
        output, errors = await process.communicate()
        assert process.returncode == 0, errors
        assert output.decode() == f"{said}: 0 manifests without a tag, {result}"
        assert b"1 blobs are garbage\n" in errors
    process = await start_registry(*command, "--quiet", environment=place)
    assert b" 0 blobs " in (await process.communicate())[0]
    await registry.ask("GET", f"/v2/a/manifests/{kept}", status=200)
    await registry.ask("HEAD", f"/v2/a/blobs/{sha256(b'garbage')}", status=404)


def driver_url(blob_endpoint: str, container: str) -> str:
    return f"azure://devstoreaccount1/{container}?serviceurl={quote(blob_endpoint, safe='')}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["serve"], "say where"),
        (["garbage-collect"], "say where"),
        (["serve", "--url", "memory:", "--data", "x"], "--data"),
        (["serve", "--url", "memory:", "--htpasswd", "/missing"], "No such file"),
        (["serve", "--url", "memory:", "--max-requests", "0"], "max_concurrent_requests"),
        (["serve", "--url", "memory:", "--grace-hours", "0"], "greater than 0"),
        (["garbage-collect", "--url", "memory:", "--grace-hours", "nan"], "--grace-hours: is to"),
        (["serve", "--url", "memory:", "--request-seconds", "inf"], "--request-seconds: is to"),
        (["serve", "--url", "memory:", "--max-requests", "x"], "--max-requests"),
        (["nothing"], "nothing"),
        (["serve", "--url", "memory:", "--grace-hours", "1"], "--request-seconds"),
        (["serve", "--url", "memory:", "--grace-hours", "1e300"], "at most 1,000,000"),
        (["serve", "--url", "memory:", "--grace-hours", "x"], "a number greater than 0"),
        (["serve", "--url", "memory:", "--request-seconds", "1e300"], "at most 1,000,000"),
        (["serve", "--url", "memory:", "--idle-seconds", "nan"], "a number greater than 0"),
        (["serve", "--url", "memory:", "--port", "65536"], "from 0 to 65535"),
        (["serve", "--url", "memory:", "--port", "-1"], "from 0 to 65535"),
        (["serve", "--url", "memory:", "--tls-certificate", "/missing"], "/missing: No such file"),
        (["serve", "--url", "memory:", "--tls-certificate", __file__], f"{__file__}: no certif"),
        (["serve", "--url", "memory:", "--tls-key", "/missing"], "--tls-certificate"),
    ],
)
async def test_wrong_options_are_named(arguments: list[str], reason: str) -> None:
    process = await start_registry(*arguments, environment={"AZDRIVER_URL": ""})
    output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert errors.startswith(b"error: ")
    assert reason in errors.decode()
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["nonsense", "memory:?unknown=1", "azure://account?accountkey=not-base64=="]
)
async def test_it_says_in_one_line_what_it_cannot_begin_with(url: str) -> None:
    process = await start_registry("serve", "--url", url, "--port", "0")
    output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert errors.startswith(b"error: ")
    assert len(errors.splitlines()) == 1
    assert b"not-base64" not in errors
