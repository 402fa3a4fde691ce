"""Garbage collection beside pushes: whatever meets, no manifest names what is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from aged_driver import AgedDriver
from azdriver import MemoryDriver, PathNotFoundError, StorageDriver
from oci_registry.errors import RegistryError
from oci_registry.garbage import GarbageCollector
from oci_registry.names import (
    RepositoryName,
    digest_of,
    parse_digest,
    parse_repository,
    parse_tag,
)
from oci_registry.settings import RegistrySettings
from oci_registry.storage import RegistryStorage
from registry_client import CONFIG, IMAGE, INDEX, descriptor

NAMES = [parse_repository(name) for name in ("a", "b")]
BLOBS = [f"blob {number}".encode() for number in range(6)]
SETTINGS = RegistrySettings()
# As many as a collection takes: pushes begin before it, within it and after it.
MAX_WAIT_TURNS = 600


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Pusher:
    """A client that pushes images and indexes as real ones do: it sends what is not there."""

    def __init__(
        self, driver: StorageDriver, random: Random, images: list[tuple[RepositoryName, bytes]]
    ) -> None:
        self.storage = RegistryStorage(driver, SETTINGS)
        self.random = random
        self.images = images
        self.refused = 0

    async def push_blob(self, name: RepositoryName, content: bytes) -> None:
        digest, blobs = digest_of(content), self.storage.blobs
        with suppress(RegistryError):
            await blobs.claim(name, digest)
            return
        if self.random.random() < 0.5:
            other = next(candidate for candidate in NAMES if candidate != name)
            if await blobs.mount(name, digest, other):
                return
        await self.storage.uploads.store(name, digest, _body(content))

    async def push_image(self, name: RepositoryName) -> bytes:
        config, *layers = self.random.sample(BLOBS, 3)
        for blob in (config, *layers):
            await self.push_blob(name, blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer) for layer in layers],
        }
        content = await self.push_manifest(name, manifest)
        self.images.append((name, content))
        return content

    async def push_index(self, name: RepositoryName) -> None:
        image = None
        if self.images and self.random.random() < 0.5:
            name, image = self.random.choice(self.images)
            try:
                await self.storage.manifests.get(name, digest_of(image))
            except RegistryError:
                image = None
        is_reused = image is not None
        if image is None:
            image = await self.push_image(name)
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [descriptor(image, IMAGE)],
        }
        try:
            await self.push_manifest(name, index)
        except RegistryError as error:
            # Nothing says that who reads a manifest is going to name it.
            if not is_reused or error.code != "MANIFEST_BLOB_UNKNOWN":
                raise
            self.refused += 1

    async def push_manifest(self, name: RepositoryName, manifest: dict[str, Any]) -> bytes:
        content = json.dumps(manifest).encode()
        tags = [parse_tag(f"v{self.random.randrange(3)}")] if self.random.random() < 0.3 else []
        digest = digest_of(content)
        await self.storage.manifests.put(name, digest, content, manifest["mediaType"], tags)
        return content

    async def run(self, times: int) -> None:
        for _ in range(times):
            await _wait(self.random)
            name = self.random.choice(NAMES)
            step = self.random.choice([self.push_image, self.push_index])
            try:
                await step(name)
            except RegistryError as error:
                # The push failed, and the client knows it.
                if error.code != "UNAVAILABLE":
                    raise
                self.refused += 1


async def _check(driver: StorageDriver) -> int:
    """Every manifest of every repository can be pulled, with all that it names."""
    storage = RegistryStorage(driver, SETTINGS)
    count = 0
    for name in await storage.catalog.sorted():
        for tag in await storage.tags.all(name):
            await storage.manifests.get(name, parse_tag(tag))
        revisions = f"/docker/registry/v2/repositories/{name}/_manifests/revisions"
        digests = []
        with suppress(PathNotFoundError):
            digests = [path.rpartition("/")[2] for path in await driver.list(f"{revisions}/sha256")]
        for value in digests:
            stored = await storage.manifests.get(name, parse_digest(f"sha256:{value}"))
            document = json.loads(stored.content)
            for item in document.get("manifests", []):
                await storage.manifests.get(name, parse_digest(item["digest"]))
            for item in [*document.get("layers", []), document.get("config")]:
                if item is not None:
                    blob = await storage.blobs.find(name, parse_digest(item["digest"]))
                    chunks = storage.blobs.chunks(blob, 0, blob.size)
                    content = b"".join([chunk async for chunk in chunks])
                    assert str(digest_of(content)) == item["digest"]
            count += 1
    return count


async def _wait(random: Random) -> None:
    for _ in range(random.randrange(MAX_WAIT_TURNS)):
        await asyncio.sleep(0)


async def _forget_manifests(driver: StorageDriver) -> None:
    """Make garbage of all blobs."""
    for name in NAMES:
        with suppress(PathNotFoundError):
            await driver.delete(f"/docker/registry/v2/repositories/{name}/_manifests")


async def _rounds(inner: StorageDriver, random: Random, rounds: int) -> tuple[int, int, int]:
    driver = AgedDriver(inner, random)
    images: list[tuple[RepositoryName, bytes]] = []
    checked = collected = refused = 0
    for _ in range(rounds):
        pushers = [Pusher(driver, random, images) for _ in range(3)]
        collectors = [
            GarbageCollector(driver, SETTINGS, delete_untagged=random.random() < 0.7)
            for _ in range(random.choice([1, 1, 2]))
        ]
        async with asyncio.TaskGroup() as group:
            for pusher in pushers:
                group.create_task(pusher.run(2))
            runs = [group.create_task(collector.collect()) for collector in collectors]
        checked += await _check(driver)
        refused += sum(pusher.refused for pusher in pushers)
        collected += sum(run.result().blobs for run in runs)
        # Blobs that nothing names, or manifests without a tag: both are relied on again.
        if random.random() < 0.5:
            await _forget_manifests(inner)
        await driver.grow_old()
    return checked, collected, refused


@pytest.mark.parametrize("seed", range(10))
async def test_no_manifest_names_what_is_gone(seed: int) -> None:
    async with MemoryDriver() as driver:
        checked, collected, _ = await _rounds(driver, Random(seed), 12)
    assert checked
    assert collected


@pytest.mark.parametrize("storage", ["azurite"], indirect=True)
async def test_no_manifest_names_what_is_gone_in_azurite(storage: StorageDriver) -> None:
    checked, _, _ = await _rounds(storage, Random(1), 3)
    assert checked
