"""Manifests: put, read, refused, deleted; and their tags."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aged_driver import AgedDriver
from azdriver import FileReader, StorageDriver
from oci_registry.errors import RegistryError
from oci_registry.garbage import GarbageCollector
from oci_registry.manifest import parse_manifest
from oci_registry.settings import MissingReferences, RegistrySettings
from oci_registry.web import make_app
from registry_client import (
    IMAGE,
    INDEX,
    OpenRegistry,
    RegistryClient,
    descriptor,
    sha256,
    sha512,
)

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def _index(*manifests: dict[str, Any], media_type: str = INDEX, **more: object) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests), **more}


@pytest.mark.parametrize("by", ["tag", "sha256", "sha512"])
async def test_a_manifest_is_kept_as_it_was_pushed(registry: RegistryClient, by: str) -> None:
    # Blanks and order are the client's own: the digest is of the bytes.
    content = json.dumps(await registry.image("a/b", b"layer"), indent=3).encode() + b"\n\n"
    digest = sha512(content) if by == "sha512" else sha256(content)
    reference = "v1" if by == "tag" else digest
    headers = {"Content-Type": f"{IMAGE}; charset=utf-8"}
    created = await registry.ask(
        "PUT", f"/v2/a/b/manifests/{reference}", content, headers=headers, status=201
    )
    assert created.headers["Docker-Content-Digest"] == digest
    for path in (created.location, f"/v2/a/b/manifests/{reference}"):
        get = await registry.ask("GET", path, status=200)
        head = await registry.ask("HEAD", path, status=200)
        assert (get.body, head.body) == (content, b"")
        for answer in (get, head):
            assert answer.headers["Content-Type"] == IMAGE
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.headers["Docker-Content-Digest"] == digest
            known = {"If-None-Match": answer.headers["ETag"], "Accept": DOCKER}
            await registry.ask("GET", path, headers=known, status=304)
    other = sha256(content) if by == "sha512" else sha512(content)
    await registry.ask("GET", f"/v2/a/b/manifests/{other}", status=404)


async def test_a_manifest_that_is_missing_is_404(registry: RegistryClient) -> None:
    for reference in ("latest", sha256(b"missing")):
        for method in ("GET", "DELETE"):
            answer = await registry.ask(method, f"/v2/a/manifests/{reference}", status=404)
            assert answer.code == "MANIFEST_UNKNOWN"
        await registry.ask("HEAD", f"/v2/a/manifests/{reference}", status=404)


async def test_a_manifest_shows_only_where_it_was_pushed(registry: RegistryClient) -> None:
    digest = await registry.push_image("a", "v1", b"layer")
    await registry.ask("GET", f"/v2/b/manifests/{digest}", status=404)


async def test_a_digest_that_is_not_the_manifests_is_400(registry: RegistryClient) -> None:
    manifest = await registry.image("a")
    for digest in (sha256(b"other"), sha512(b"other")):
        answer = await registry.push_manifest("a", digest, manifest, status=400)
        assert answer.code == "DIGEST_INVALID"
        await registry.ask("GET", f"/v2/a/manifests/{digest}", status=404)


async def test_a_manifest_may_have_4_mib_and_no_more(registry: RegistryClient) -> None:
    manifest = await registry.image("a", annotations={"a": ""})
    manifest["annotations"]["a"] = "x" * (4 * 1024 * 1024 - len(json.dumps(manifest)))
    digest = (await registry.push_manifest("a", "v1", manifest)).headers["Docker-Content-Digest"]
    answer = await registry.ask("GET", f"/v2/a/manifests/{digest}", status=200)
    assert answer.body == json.dumps(manifest).encode()
    manifest["annotations"]["a"] += "x"
    answer = await registry.push_manifest("a", "v2", manifest, status=413)
    assert answer.code == "SIZE_INVALID"

    async def stream() -> AsyncIterator[bytes]:
        yield json.dumps(manifest).encode()

    headers = {"Content-Type": IMAGE}
    await registry.ask("PUT", "/v2/a/manifests/v2", stream(), headers=headers, status=413)
    assert await registry.tags("a") == ["v1"]


async def test_all_kinds_of_manifests_are_taken(registry: RegistryClient) -> None:
    image = await registry.image("a", b"layer", b"another")
    body = json.dumps(image).encode()
    named = descriptor(body, IMAGE, platform={"os": "linux", "architecture": "arm64"})
    index = _index(named, named)
    docker = image | {"mediaType": DOCKER}
    elsewhere = descriptor(b"elsewhere", FOREIGN, urls=["https://example.com/layer"])
    for number, manifest in enumerate(
        [
            image,
            index,
            _index(descriptor(json.dumps(index).encode(), INDEX)),
            _index(),
            image | {"artifactType": "application/x"},
            image | {"config": image["config"] | {"data": "e30="}},
            image | {"unknown": {"deep": [1, None, "ä"]}},
            image | {"layers": []},
            image | {"layers": [elsewhere, *image["layers"]]},
            image | {"subject": descriptor(b"no such subject", IMAGE)},
            docker,
            _index(descriptor(json.dumps(docker).encode(), DOCKER), media_type=DOCKER_LIST),
        ]
    ):
        await registry.push_manifest("a", f"v{number}", manifest)
        answer = await registry.ask("GET", f"/v2/a/manifests/v{number}", status=200)
        assert answer.json == manifest
        assert answer.headers["Content-Type"] == manifest["mediaType"]


async def test_a_media_type_that_is_not_in_the_bytes_is_kept(registry: RegistryClient) -> None:
    image = await registry.image("a", b"layer")
    del image["mediaType"]
    content = json.dumps(image).encode()
    for media_type, expected in ((DOCKER, DOCKER), (IMAGE, IMAGE), ("", IMAGE)):
        headers = {"Content-Type": media_type} if media_type else None
        await registry.ask("PUT", "/v2/a/manifests/v1", content, headers=headers, status=201)
        answer = await registry.ask("GET", "/v2/a/manifests/v1", status=200)
        assert answer.headers["Content-Type"] == expected
    index = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    await registry.ask("PUT", "/v2/a/manifests/v2", index, status=201)
    answer = await registry.ask("GET", "/v2/a/manifests/v2", status=200)
    assert answer.headers["Content-Type"] == INDEX


def _good() -> dict[str, Any]:
    return {"schemaVersion": 2, "config": descriptor(b"{}"), "layers": [descriptor(b"x")]}


BAD: list[tuple[Any, str]] = [
    ([], IMAGE),
    ("x", IMAGE),
    (_good() | {"schemaVersion": 1}, IMAGE),
    (_good() | {"schemaVersion": "2"}, IMAGE),
    (_good() | {"mediaType": INDEX}, IMAGE),
    (_good() | {"mediaType": 5}, IMAGE),
    (_good() | {"manifests": []}, IMAGE),
    (_good() | {"config": None}, IMAGE),
    (_good() | {"config": descriptor(b"x", size=-1)}, IMAGE),
    (_good() | {"config": descriptor(b"x", size=True)}, IMAGE),
    (_good() | {"config": descriptor(b"x", digest="sha256:../../x")}, IMAGE),
    (_good() | {"config": descriptor(b"x", digest=7)}, IMAGE),
    (_good() | {"config": descriptor(b"x", "")}, IMAGE),
    (_good() | {"layers": {}}, IMAGE),
    (_good() | {"layers": [[]]}, IMAGE),
    (_good() | {"subject": "x"}, IMAGE),
    (_good() | {"artifactType": 5}, IMAGE),
    (_good() | {"annotations": []}, IMAGE),
    # Clients of fixed types could not read the list of referrers that has it.
    (_good() | {"annotations": {"a": "b", "c": 1}}, IMAGE),
    (_good() | {"annotations": {"a": None}}, IMAGE),
    ({"schemaVersion": 2, "manifests": [], "annotations": {"a": {}}}, INDEX),
    (_good(), INDEX),
    (_good(), "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    (_good(), "text/html"),
    ({"schemaVersion": 2, "manifests": []}, IMAGE),
    ({"schemaVersion": 2}, ""),
]


@pytest.mark.parametrize(("document", "media_type"), BAD)
def test_what_is_no_manifest_is_refused(document: Any, media_type: str) -> None:
    assert parse_manifest(json.dumps(_good()).encode(), IMAGE)
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse_manifest(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"schemaVersion": NaN}',
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"a": "\xd8"}',
        # A client of another language could not read these.
        *(json.dumps(_good()).encode(encoding) for encoding in ("utf-16", "utf-8-sig", "utf-32")),
    ],
)
async def test_what_is_not_json_is_400(registry: RegistryClient, content: bytes) -> None:
    headers = {"Content-Type": IMAGE}
    answer = await registry.ask("PUT", "/v2/a/manifests/v1", content, headers=headers, status=400)
    assert answer.code == "MANIFEST_INVALID"


async def test_a_manifest_that_names_what_is_missing_is_refused(registry: RegistryClient) -> None:
    image = await registry.image("a", b"layer")
    missing = sha256(b"missing")
    for manifest in (
        image | {"layers": [*image["layers"], descriptor(b"missing")]},
        image | {"config": descriptor(b"missing")},
        _index(descriptor(b"missing", IMAGE)),
        _index(descriptor(b"missing", "application/vnd.oci.image.layer.v1.tar+gzip")),
        image | {"layers": [descriptor(b"missing", FOREIGN)]},  # without urls
    ):
        answer = await registry.push_manifest("a", "v1", manifest, status=404)
        assert answer.code == "MANIFEST_BLOB_UNKNOWN"
        assert answer.json["errors"][0]["detail"]["digests"] == [missing]
    # What another repository has is missing, too.
    await registry.push_manifest("b", "v1", image, status=404)
    assert (await registry.ask("GET", "/v2/a/manifests/v1")).status == 404


async def test_what_is_missing_may_be_accepted(open_registry: OpenRegistry) -> None:
    sparse = await open_registry(
        RegistrySettings(missing_references=MissingReferences.SPARSE_INDEXES)
    )
    index = _index(descriptor(b"missing", IMAGE))
    await sparse.push_manifest("a", "v1", index)
    image = await sparse.image("a", b"layer")
    image["layers"].append(descriptor(b"missing"))
    await sparse.push_manifest("a", "v2", image, status=404)
    any_at_all = await open_registry(RegistrySettings(missing_references=MissingReferences.ACCEPT))
    await any_at_all.push_manifest("a", "v2", image)
    assert await any_at_all.tags("a") == ["v1", "v2"]


async def test_an_index_may_name_blobs(registry: RegistryClient) -> None:
    # Caches of builds are such.
    await registry.push_blob("a", b"layer")
    await registry.push_manifest("a", "cache", _index(descriptor(b"layer")))


@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_one_push_sets_many_tags(registry: RegistryClient, digest_of: type) -> None:
    manifest = await registry.image("a", b"layer")
    digest: Any = digest_of(json.dumps(manifest).encode())
    tags = [f"v{number}" for number in range(10)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = await registry.push_manifest("a", f"{digest}?{query}", manifest)
    assert answer.headers.getall("OCI-Tag") == tags
    assert await registry.tags("a") == tags
    for tag in tags:
        found = await registry.ask("HEAD", f"/v2/a/manifests/{tag}", status=200)
        assert found.headers["Docker-Content-Digest"] == digest
    query = "&".join(f"tag=t{number}" for number in range(101))
    await registry.push_manifest("a", f"{digest}?{query}", manifest, status=414)


async def test_readers_of_a_tag_that_moves_see_the_old_or_the_new(
    registry: RegistryClient,
) -> None:
    images = [await registry.image("a", b"layer", annotations={"n": str(n)}) for n in range(4)]
    bodies = {json.dumps(image).encode() for image in images}
    await registry.push_manifest("a", "latest", images[0])
    done = asyncio.Event()

    async def read() -> int:
        count = 0
        while not done.is_set():
            answer = await registry.ask("GET", "/v2/a/manifests/latest", status=200)
            assert answer.body in bodies
            assert sha256(answer.body) == answer.headers["Docker-Content-Digest"]
            count += 1
        return count

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(registry.push_manifest("a", "latest", i) for i in images))
    done.set()
    assert all(await asyncio.gather(*readers))


async def test_a_deleted_tag_leaves_the_manifest_and_its_other_tags(
    registry: RegistryClient,
) -> None:
    digest = await registry.push_image("a", "v1", b"layer")
    await registry.push_image("a", "v2", b"layer")
    await registry.ask("DELETE", "/v2/a/manifests/v1", status=202)
    await registry.ask("HEAD", "/v2/a/manifests/v1", status=404)
    await registry.ask("DELETE", "/v2/a/manifests/v1", status=404)
    assert await registry.tags("a") == ["v2"]
    for reference in ("v2", digest):
        await registry.ask("HEAD", f"/v2/a/manifests/{reference}", status=200)
    await registry.push_image("a", "v1", b"layer")
    assert await registry.tags("a") == ["v1", "v2"]


async def test_a_deleted_manifest_takes_its_tags_along(registry: RegistryClient) -> None:
    digest = await registry.push_image("a", "v1", b"layer")
    await registry.push_image("a", "v2", b"layer")
    await registry.push_image("a", "other", b"another layer")
    await registry.push_image("a", "moved", b"layer")
    await registry.push_image("a", "moved", b"another layer")
    await registry.ask("DELETE", f"/v2/a/manifests/{digest}", status=202)
    for reference in ("v1", "v2", digest):
        await registry.ask("HEAD", f"/v2/a/manifests/{reference}", status=404)
    await registry.ask("DELETE", f"/v2/a/manifests/{digest}", status=404)
    assert await registry.tags("a") == ["moved", "other"]
    assert await registry.push_image("a", "v1", b"layer") == digest
    await registry.ask("GET", f"/v2/a/manifests/{digest}", status=200)
    await registry.ask("GET", "/v2/a/manifests/v1", status=200)


async def test_deletes_beside_pushes_leave_no_tag_that_points_to_nothing(
    registry: RegistryClient,
) -> None:
    image = await registry.image("a", b"layer")
    digest = sha256(json.dumps(image).encode())
    for _ in range(5):
        await asyncio.gather(
            registry.push_manifest("a", "v1", image),
            registry.ask("DELETE", f"/v2/a/manifests/{digest}"),
            registry.push_manifest("a", "v2", image),
        )
        for tag in await registry.tags("a"):
            await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)


class Reads(AgedDriver):
    """Counts how many bytes of each path come into memory."""

    def __init__(self, inner: StorageDriver) -> None:
        super().__init__(inner)
        self.bytes: Counter[str] = Counter()

    async def get_content(self, path: str) -> bytes:
        content = await super().get_content(path)
        self.bytes[path] += len(content)
        return content

    @asynccontextmanager
    async def _reader(
        self, path: str, offset: int, length: int | None
    ) -> AsyncIterator[FileReader]:
        async with super()._reader(path, offset, length) as reader:
            yield reader
            self.bytes[path] += reader.offset - offset


async def test_a_layer_is_not_read_as_a_manifest(storage: StorageDriver) -> None:
    reads = Reads(storage)
    settings = RegistrySettings(missing_references=MissingReferences.SPARSE_INDEXES)
    async with (
        TestServer(make_app(reads, settings)) as server,
        aiohttp.ClientSession() as session,
    ):
        registry = RegistryClient(session, server.make_url("/"))
        layer = bytes(settings.max_manifest_bytes + 1)
        digest = await registry.push_blob("a", layer)
        for name in ("a", "b"):
            for method in ("GET", "HEAD", "DELETE"):
                await registry.ask(method, f"/v2/{name}/manifests/{digest}", status=404)
        # An index that says what is not true leads garbage collection to it.
        await registry.push_manifest("a", "v1", _index(descriptor(layer, IMAGE)))
        await GarbageCollector(reads, settings).collect()
    assert sum(reads.bytes.values()) < 10_000


async def test_a_manifest_is_served_when_the_limit_is_lower_than_it_was(
    open_registry: OpenRegistry, storage: StorageDriver
) -> None:
    large = await open_registry(RegistrySettings(max_manifest_bytes=8 * 1024 * 1024))
    manifest = await large.image("a", b"layer", annotations={"a": "x" * 5 * 1024 * 1024})
    await large.push_manifest("a", "v1", manifest)
    small = await open_registry(RegistrySettings())
    assert (await small.ask("GET", "/v2/a/manifests/v1", status=200)).json == manifest
    settings = RegistrySettings(grace_period=timedelta(microseconds=1))
    await GarbageCollector(storage, settings).collect()
    await small.ask("HEAD", f"/v2/a/blobs/{sha256(b'layer')}", status=200)
