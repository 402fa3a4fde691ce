"""A layer much larger than the memory that the registry may use.

1 GiB by skopeo, and 256 MiB by a plain client, which needs no package: a GiB takes a minute or so.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from azdriver.testing.azurite import azurite
from registry_processes import RunningRegistry, oci_registry_process
from skopeo import OciLayout, Skopeo

MIB = 1024 * 1024
PEAK_BYTES = 150 * MIB
PLAIN_BYTES = 256 * MIB
SKOPEO_BYTES = 1024 * MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says the peak")


def _content(size_bytes: int) -> Iterator[bytes]:
    """A layer, a MiB at a time, no two of them alike; made again each time."""
    noise = random.Random(6).randbytes(MIB - 8)
    for number in range(size_bytes // MIB):
        yield number.to_bytes(8, "big") + noise


@pytest.fixture
def directory() -> Iterator[Path]:
    """For what is too large to be kept after the test, as ``tmp_path`` is."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
async def on_disk(container: str) -> AsyncIterator[RunningRegistry]:
    """A registry on an Azurite that keeps what it has on the disk."""
    async with azurite(in_memory=False) as server:
        environment = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string}
        async with oci_registry_process(
            f"azure:///{container}", environment=environment
        ) as registry:
            yield registry


async def test_memory_stays_flat_for_a_chunked_body(on_disk: RunningRegistry) -> None:
    hasher = hashlib.sha256()
    for chunk in _content(PLAIN_BYTES):
        hasher.update(chunk)
    digest = f"sha256:{hasher.hexdigest()}"

    async def body() -> AsyncIterator[bytes]:
        for chunk in _content(PLAIN_BYTES):
            yield chunk

    async with aiohttp.ClientSession(
        on_disk.url, timeout=aiohttp.ClientTimeout(total=None, sock_read=60)
    ) as session:
        async with session.post("/v2/large/blobs/uploads/") as response:
            assert response.status == 202
            location = response.headers["Location"]
        async with session.patch(location, data=body()) as response:
            assert response.status == 202, await response.text()
            assert response.headers["Range"] == f"0-{PLAIN_BYTES - 1}"
            location = response.headers["Location"]
        async with session.put(location, params={"digest": digest}) as response:
            assert response.status == 201, await response.text()

        pulled = hashlib.sha256()
        async with session.get(f"/v2/large/blobs/{digest}") as response:
            assert response.status == 200
            assert response.content_length == PLAIN_BYTES
            async for chunk in response.content.iter_any():
                pulled.update(chunk)
    assert f"sha256:{pulled.hexdigest()}" == digest
    assert on_disk.peak_memory_bytes() < PEAK_BYTES


@pytest.mark.timeout(900)
async def test_memory_stays_flat_while_skopeo_pushes_and_pulls_a_gibibyte(
    on_disk: RunningRegistry, skopeo: Skopeo, directory: Path
) -> None:
    layout = OciLayout(directory / "layout")
    digest = await asyncio.to_thread(layout.add_large_image, "v1", _content(SKOPEO_BYTES))
    image = f"docker://{on_disk.host}/large:v1"

    assert await skopeo.copy(layout["v1"], image) == digest
    assert on_disk.peak_memory_bytes() < PEAK_BYTES

    # It checks what it pulls by the digest.
    assert await skopeo.copy(image, f"oci:{directory / 'pulled'}:v1") == digest
    sizes = {
        file.name: file.stat().st_size
        for file in (directory / "pulled" / "blobs" / "sha256").iterdir()
    }
    assert max(sizes.values()) > SKOPEO_BYTES
    assert sizes == {
        file.name: file.stat().st_size
        for file in (directory / "layout" / "blobs" / "sha256").iterdir()
    }
    assert on_disk.peak_memory_bytes() < PEAK_BYTES
