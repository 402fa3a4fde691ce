"""What is in storage: where the Go registry looks for it, and young enough to be kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from azdriver import StorageDriver
from oci_registry.settings import RegistrySettings
from registry_client import IMAGE, OpenRegistry, RegistryClient, descriptor, sha256, sha512

ROOT = "/docker/registry/v2"
LAYER = sha256(b"layer").removeprefix("sha256:")
CONFIG = sha256(b"{}").removeprefix("sha256:")


def _data(hexadecimal: str) -> str:
    return f"{ROOT}/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


async def _files(storage: StorageDriver) -> set[str]:
    return {info.path async for info in storage.walk("/") if not info.is_dir}


async def test_the_paths_are_those_of_the_go_registry(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    digest = await registry.push_image("a/b", "v1", b"layer")
    hexadecimal = digest.removeprefix("sha256:")
    repository = f"{ROOT}/repositories/a/b"
    links = {
        f"{repository}/_layers/sha256/{LAYER}/link": LAYER,
        f"{repository}/_layers/sha256/{CONFIG}/link": CONFIG,
        f"{repository}/_manifests/revisions/sha256/{hexadecimal}/link": hexadecimal,
        f"{repository}/_manifests/tags/v1/current/link": hexadecimal,
        f"{repository}/_manifests/tags/v1/index/sha256/{hexadecimal}/link": hexadecimal,
    }
    data = {_data(LAYER), _data(CONFIG), _data(hexadecimal)}
    assert await _files(storage) == links.keys() | data
    for path, target in links.items():
        assert await storage.get_content(path) == f"sha256:{target}".encode()
    location = await registry.start("a/b")
    await registry.ask("PATCH", location, b"x", status=202)
    upload = f"{repository}/_uploads/{location.rpartition('/')[2]}"
    assert await _files(storage) - links.keys() - data == {f"{upload}/startedat", f"{upload}/data"}
    # Its pushes by SHA-512 are links to the SHA-256.
    alias = sha512(b"layer")
    path = f"{repository}/_layers/sha512/{alias.removeprefix('sha512:')}/link"
    await storage.put_content(path, f"sha256:{LAYER}".encode())
    for name, source in (("a/b", ""), ("c", f"?mount={alias}&from=a/b")):
        if source:
            await registry.ask("POST", f"/v2/{name}/blobs/uploads/{source}", status=201)
        answer = await registry.ask("GET", f"/v2/{name}/blobs/{alias}", status=200)
        assert (answer.body, answer.headers["Docker-Content-Digest"]) == (b"layer", alias)


async def test_each_referrer_is_a_content_of_its_own(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    subject = descriptor(b"subject", IMAGE)
    digest = await registry.push_image("a", "v1", b"layer", subject=subject)
    directory = f"{ROOT}/repositories/a/_manifests/referrers"
    link = f"{subject['digest'].replace(':', '/')}/{digest.replace(':', '/')}/link"
    found = {path for path in await _files(storage) if path.startswith(directory)}
    assert found == {f"{directory}/{link}"}
    await registry.ask("DELETE", f"/v2/a/manifests/{digest}", status=202)
    assert not any(path.startswith(directory) for path in await _files(storage))


async def test_what_a_client_may_rely_on_is_made_young_again(
    open_registry: OpenRegistry, storage: StorageDriver
) -> None:
    old = await open_registry(RegistrySettings(grace_period=timedelta(microseconds=2)))
    young = await open_registry(RegistrySettings())
    digest = await young.push_blob("a", b"layer")
    link = f"{ROOT}/repositories/a/_layers/sha256/{LAYER}/link"
    first_link, first_data = await storage.stat(link), await storage.stat(_data(LAYER))
    await asyncio.sleep(0.01)
    await young.ask("HEAD", f"/v2/a/blobs/{digest}", status=200)
    await young.push_blob("b", b"layer")
    assert await storage.stat(link) == first_link
    assert await storage.stat(_data(LAYER)) == first_data
    for use in (
        old.ask("HEAD", f"/v2/a/blobs/{digest}", status=200),
        old.ask("POST", f"/v2/c/blobs/uploads/?mount={digest}&from=a", status=201),
        old.push_image("a", "v1", b"layer"),
    ):
        before = await storage.stat(link)
        await use
        assert (await storage.stat(link)).etag != before.etag
    assert (await storage.stat(_data(LAYER))).etag != first_data.etag


async def test_a_link_without_its_bytes_is_no_blob(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    digest = await registry.push_blob("a", b"layer")
    await storage.delete(_data(LAYER))
    for method in ("HEAD", "GET"):
        await registry.ask(method, f"/v2/a/blobs/{digest}", status=404)
    await registry.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a", status=202)
    await registry.push_blob("a", b"layer")
    await registry.ask("GET", f"/v2/a/blobs/{digest}", status=200)


async def test_a_manifest_without_its_bytes_can_be_deleted(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    digest = await registry.push_image("a", "v1", b"layer")
    await storage.delete(_data(digest.removeprefix("sha256:")))
    await registry.ask("GET", "/v2/a/manifests/v1", status=404)
    await registry.ask("DELETE", f"/v2/a/manifests/{digest}", status=202)
    assert await registry.tags("a") == []


async def test_what_is_no_link_is_not_followed(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    digest = await registry.push_blob("a", b"layer")
    for content in (b"", b"../../x", b"\xff", b"sha256:ab"):
        link = f"{ROOT}/repositories/a/_layers/sha256/{LAYER}/link"
        await storage.put_content(link, content)
        await registry.ask("GET", f"/v2/a/blobs/{digest}", status=404)
