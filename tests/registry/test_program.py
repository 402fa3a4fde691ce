"""The program, as it is started."""

from __future__ import annotations

import signal

import aiohttp
import pytest

from registry_client import RegistryClient
from registry_process import registry_url, start_registry


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
