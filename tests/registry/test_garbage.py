"""Garbage collection: what goes, what stays."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aged_driver import AgedDriver, paths
from azdriver import StorageDriver
from oci_registry.errors import RegistryError
from oci_registry.garbage import Collected, GarbageCollector
from oci_registry.names import digest_of, parse_digest, parse_repository
from oci_registry.settings import MissingReferences, RegistrySettings
from oci_registry.storage import RegistryStorage
from oci_registry.storage.condemned import Condemned
from oci_registry.web import make_app
from registry_client import IMAGE, INDEX, RegistryClient, descriptor, sha256, sha512

ROOT = "/docker/registry/v2"
LAYERS = [b"layer 1", b"layer 2", b"layer 3"]


@pytest.fixture
def aged(storage: StorageDriver) -> AgedDriver:
    return AgedDriver(storage)


@pytest.fixture
async def registry(aged: AgedDriver) -> AsyncIterator[RegistryClient]:
    settings = RegistrySettings(missing_references=MissingReferences.ACCEPT)
    async with TestServer(make_app(aged, settings)) as server, aiohttp.ClientSession() as session:
        yield RegistryClient(session, server.make_url("/"))


async def _collect(driver: StorageDriver, **options: Any) -> Collected:
    collected = await GarbageCollector(driver, RegistrySettings(), **options).collect()
    assert not [path async for path in paths(driver) if "condemned" in path]
    return collected


async def _is_stored(driver: StorageDriver, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return f"{ROOT}/blobs/{algorithm}/{value[:2]}/{value}/data" in [
        path async for path in paths(driver)
    ]


async def _push_index(
    registry: RegistryClient, reference: str, *manifests: bytes, **more: object
) -> bytes:
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            descriptor(manifest, json.loads(manifest)["mediaType"]) for manifest in manifests
        ],
        **more,
    }
    content = json.dumps(index).encode()
    await registry.push_manifest("a", reference or sha256(content), index)
    return content


async def _push_untagged(registry: RegistryClient, *layers: bytes, **more: Any) -> bytes:
    manifest = await registry.image("a", *layers, **more)
    content = json.dumps(manifest).encode()
    await registry.push_manifest("a", sha256(content), manifest)
    return content


async def test_there_may_be_nothing(aged: AgedDriver) -> None:
    assert await _collect(aged, delete_untagged=True) == Collected()


async def test_what_nothing_names_goes_when_it_is_old(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    digest = await registry.push_blob("a", LAYERS[0])
    await registry.push_blob("a/b", LAYERS[0])
    kept = await registry.push_image("a", "v1", LAYERS[1])
    assert await _collect(aged) == Collected()
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=200)
    await aged.grow_old()
    assert await _collect(aged) == Collected(blobs=1, blob_bytes=len(LAYERS[0]))
    assert not [path async for path in paths(aged) if digest[7:] in path]
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=404)
    await registry.ask("GET", f"/v2/a/manifests/{kept}", status=200)
    await registry.ask("HEAD", f"/v2/a/blobs/{sha256(LAYERS[1])}", status=200)
    assert await _collect(aged) == Collected()
    # It can come again.
    await registry.push_blob("a", LAYERS[0])
    assert await _is_stored(aged, digest)


async def test_a_dry_run_deletes_nothing(registry: RegistryClient, aged: AgedDriver) -> None:
    digest = await registry.push_image("a", "v1", LAYERS[0])
    await _push_untagged(registry, LAYERS[1])
    await registry.start("a")
    await registry.ask("DELETE", f"/v2/a/manifests/{digest}", status=202)
    await aged.grow_old()
    before = [path async for path in paths(aged)]
    lines: list[str] = []
    foreseen = await _collect(aged, dry_run=True, delete_untagged=True, report=lines.append)
    assert [path async for path in paths(aged)] == before
    assert "1 manifests have no tag" in lines
    # Two manifests, their config and their layers.
    assert (foreseen.manifests, foreseen.blobs, foreseen.uploads) == (1, 5, 1)
    assert await _collect(aged, delete_untagged=True) == foreseen
    assert [path async for path in paths(aged)] == []


async def test_all_that_a_manifest_reaches_stays(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    images = [await _push_untagged(registry, layer) for layer in LAYERS[:2]]
    inner = await _push_index(registry, "", *images)
    await _push_index(registry, "outer", inner)
    # A child that has no revision any more is still named, and so is its layer.
    await registry.ask("DELETE", f"/v2/a/manifests/{sha256(images[1])}", status=202)
    untagged = await _push_untagged(registry, LAYERS[2], config=b"another")
    await aged.grow_old()
    before = [path async for path in paths(aged)]
    assert await _collect(aged) == Collected()
    assert [path async for path in paths(aged)] == before
    collected = await _collect(aged, delete_untagged=True)
    assert (collected.manifests, collected.blobs) == (1, 3)
    await registry.ask("GET", f"/v2/a/manifests/{sha256(untagged)}", status=404)
    for content in (*images, inner, *LAYERS[:2]):
        assert await _is_stored(aged, sha256(content))


async def test_without_tags_go_only_those_that_nothing_leads_to(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    image = await _push_untagged(registry, LAYERS[0])
    await registry.push_manifest("a", "v1", json.loads(image))
    subject = descriptor(image, json.loads(image)["mediaType"])
    signature = await _push_untagged(registry, LAYERS[1], subject=subject)
    of_signature = descriptor(signature, json.loads(signature)["mediaType"])
    await _push_untagged(registry, LAYERS[2], subject=of_signature)
    await aged.grow_old()
    assert await _collect(aged, delete_untagged=True) == Collected()
    await registry.ask("DELETE", "/v2/a/manifests/v1", status=202)
    new = await _push_untagged(registry, b"new", config=b"new")
    collected = await _collect(aged, delete_untagged=True)
    assert (collected.manifests, collected.blobs) == (3, 7)
    assert await registry.referrers("a", sha256(image)) == []
    await registry.ask("GET", f"/v2/a/manifests/{sha256(new)}", status=200)


async def test_what_is_no_manifest_of_today_keeps_all_that_looks_like_a_digest(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    digest = await registry.push_blob("a", LAYERS[0])
    old = json.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": digest}]}).encode()
    value = hashlib.sha256(old).hexdigest()
    await aged.put_content(f"{ROOT}/blobs/sha256/{value[:2]}/{value}/data", old)
    link = f"{ROOT}/repositories/a/_manifests/revisions/sha256/{value}/link"
    await aged.put_content(link, f"sha256:{value}".encode())
    await aged.grow_old()
    assert await _collect(aged) == Collected()


async def test_what_the_go_registry_links_by_sha512_stays(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    layer, alias = LAYERS[0], sha512(LAYERS[0])
    await registry.push_blob("a", layer)
    link = f"{ROOT}/repositories/a/_layers/sha512/{alias[7:]}/link"
    await aged.put_content(link, sha256(layer).encode())
    manifest = await registry.image("a")
    manifest["layers"] = [descriptor(layer) | {"digest": alias}]
    await registry.push_manifest("a", "v1", manifest)
    await aged.grow_old()
    assert await _collect(aged) == Collected()
    await registry.ask("DELETE", f"/v2/a/manifests/{sha256(json.dumps(manifest).encode())}")
    await aged.put_content(link, sha256(layer).encode())  # young
    await _collect(aged)
    assert (await registry.ask("GET", f"/v2/a/blobs/{alias}", status=200)).body == layer


async def test_uploads_go_when_nothing_came_for_long(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    locations = [await registry.start("a") for _ in range(3)]
    for location in locations[1:]:
        await registry.ask("PATCH", location, b"first", status=202)
    await aged.grow_old()
    await registry.ask("PATCH", locations[2], b"second", status=202)
    await registry.start("a")
    assert await _collect(aged) == Collected(uploads=2)
    assert [
        (await registry.ask("GET", location)).status for location in locations
    ] == [404, 404, 204]  # fmt: skip


@pytest.mark.parametrize("storage", ["memory", "azurite", "azurite-block"], indirect=True)
async def test_an_upload_that_someone_goes_on_with_stays(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    location = await registry.start("a")
    started = f"{ROOT}/repositories/a/_uploads/{location.rpartition('/')[2]}/startedat"
    begun = await aged.get_content(started)
    for content in (b"first", b"second"):
        await aged.grow_old()
        # In block mode nothing shows of it until the end.
        await registry.ask("PATCH", location, content, status=202)
        assert await _collect(aged) == Collected()
        assert await aged.get_content(started) == begun
    digest = sha256(b"firstsecond")
    await registry.ask("PUT", f"{location}?digest={digest}", status=201)
    assert await _is_stored(aged, digest)


async def test_who_asks_for_an_old_blob_keeps_it(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    digests = [await registry.push_blob("a", layer) for layer in LAYERS]
    await aged.grow_old()
    await registry.ask("HEAD", f"/v2/a/blobs/{digests[0]}", status=200)
    mount = f"/v2/b/blobs/uploads/?mount={digests[1]}&from=a"
    await registry.ask("POST", mount, status=201)
    assert (await _collect(aged)).blobs == 1
    assert [await _is_stored(aged, digest) for digest in digests] == [True, True, False]


async def test_what_a_killed_collector_leaves_is_cleared(
    registry: RegistryClient, aged: AgedDriver
) -> None:
    digest = await registry.push_blob("a", LAYERS[0])
    directory = f"{ROOT}/blobs/sha256/{digest[7:9]}/{digest[7:]}"
    await aged.put_content(f"{directory}/condemned", b"sweeping")
    await aged.grow_old()
    # A push takes it away by itself, and does not wait.
    await registry.push_blob("a", LAYERS[0])
    assert not [path async for path in paths(aged) if "condemned" in path]
    await aged.put_content(f"{directory}/condemned", b"condemned")
    await aged.grow_old()
    assert (await _collect(aged)).blobs == 1
    assert not [path async for path in paths(aged)]


async def test_a_sweep_that_lives_is_waited_for_whatever_the_clock_says(
    storage: StorageDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FastClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(hours=1)

    monkeypatch.setattr("oci_registry.storage.condemned.datetime", FastClock, raising=False)
    mark = "/a/condemned"
    await storage.put_content(mark, b"sweeping")
    reprieve = asyncio.create_task(Condemned(storage).reprieve(mark))
    await asyncio.wait({reprieve}, timeout=0.3)
    assert not reprieve.done()
    assert await storage.get_content(mark) == b"sweeping"
    await storage.delete(mark)
    await reprieve
    assert not [path async for path in paths(storage)]


@pytest.mark.parametrize("what", ["blob", "manifest"])
async def test_who_asks_for_what_is_being_swept_waits_for_the_end(
    registry: RegistryClient, aged: AgedDriver, what: str
) -> None:
    """Its link may be young: by another push, which has not asked for a reprieve yet."""
    layer = await registry.push_blob("a", LAYERS[0])
    image = sha256(await _push_untagged(registry, LAYERS[1]))
    digest = layer if what == "blob" else image
    mark = f"{ROOT}/blobs/sha256/{digest[7:9]}/{digest[7:]}/condemned"
    await aged.put_content(mark, b"sweeping")
    storage = RegistryStorage(aged, RegistrySettings())
    name, found = parse_repository("a"), parse_digest(digest)
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{"digest": digest, "size": 1, "mediaType": IMAGE}],
        }
    ).encode()
    asked = asyncio.create_task(
        storage.blobs.claim(name, found)
        if what == "blob"
        else storage.manifests.put(name, digest_of(index), index, INDEX, [])
    )
    await asyncio.wait({asked}, timeout=0.3)
    assert not asked.done()
    await aged.delete(f"{ROOT}/blobs/sha256/{digest[7:9]}/{digest[7:]}")
    with pytest.raises(RegistryError) as caught:
        await asked
    assert caught.value.code.endswith("BLOB_UNKNOWN")


async def test_the_grace_period_is_a_setting(registry: RegistryClient, aged: AgedDriver) -> None:
    await registry.push_blob("a", LAYERS[0])
    await aged.grow_old()
    settings = RegistrySettings(grace_period=timedelta(days=4))
    assert await GarbageCollector(aged, settings).collect() == Collected()
