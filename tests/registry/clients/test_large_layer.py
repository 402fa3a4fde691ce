"""A layer much larger than the memory that the registry may use."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from azdriver.testing.azurite import azurite
from registry_processes import RunningRegistry, oci_registry_process

MIB = 1024 * 1024
LAYER_BYTES = 1024 * MIB
PEAK_BYTES = 150 * MIB


def _content() -> Iterator[bytes]:
    """A layer, a MiB at a time, no two of them alike; made again each time."""
    noise = random.Random(6).randbytes(MIB - 8)
    for number in range(LAYER_BYTES // MIB):
        yield number.to_bytes(8, "big") + noise


@pytest.fixture
async def on_disk(container: str) -> AsyncIterator[RunningRegistry]:
    """A registry on an Azurite that keeps what it has on the disk."""
    async with azurite(in_memory=False) as server:
        environment = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string}
        async with oci_registry_process(
            f"azure:///{container}", environment=environment
        ) as registry:
            yield registry


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says the peak")
async def test_memory_stays_flat_while_a_gibibyte_goes_in_and_out(on_disk: RunningRegistry) -> None:
    hasher = hashlib.sha256()
    for chunk in _content():
        hasher.update(chunk)
    digest = f"sha256:{hasher.hexdigest()}"

    async def body() -> AsyncIterator[bytes]:
        for chunk in _content():
            yield chunk

    async with aiohttp.ClientSession(
        on_disk.url, timeout=aiohttp.ClientTimeout(total=None, sock_read=60)
    ) as session:
        async with session.post("/v2/large/blobs/uploads/") as response:
            assert response.status == 202
            location = response.headers["Location"]
        async with session.patch(location, data=body()) as response:
            assert response.status == 202, await response.text()
            assert response.headers["Range"] == f"0-{LAYER_BYTES - 1}"
            location = response.headers["Location"]
        async with session.put(location, params={"digest": digest}) as response:
            assert response.status == 201, await response.text()
        peak_in_bytes = on_disk.peak_memory_bytes()

        pulled = hashlib.sha256()
        async with session.get(f"/v2/large/blobs/{digest}") as response:
            assert response.status == 200
            assert response.content_length == LAYER_BYTES
            async for chunk in response.content.iter_any():
                pulled.update(chunk)
    assert f"sha256:{pulled.hexdigest()}" == digest
    peak_bytes = on_disk.peak_memory_bytes()
    assert max(peak_in_bytes, peak_bytes) < PEAK_BYTES, (peak_in_bytes, peak_bytes)
    print(f"peak: {peak_in_bytes / MIB:.0f} MiB after the push, {peak_bytes / MIB:.0f} MiB at last")
