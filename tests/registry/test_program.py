"""The program, as it is started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

import azdriver
import oci_registry
from registry_client import RegistryClient


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    places = (Path(azdriver.__file__).parents[1], Path(oci_registry.__file__).parents[1])
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "oci_registry", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal(number: signal.Signals) -> None:
    process = await _start("serve", "--url", "memory:", "--port", "0")
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    url = URL(line.removeprefix("serving on ").strip())
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
    process = await _start("serve", "--url", url, "--port", "0")
    output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert errors.startswith(b"error: ")
    assert len(errors.splitlines()) == 1
    assert b"not-base64" not in errors
