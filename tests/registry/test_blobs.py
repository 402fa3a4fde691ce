"""Blobs: read, looked for, deleted."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from yarl import URL

from azdriver import MemoryDriver, StorageDriver
from oci_registry.settings import RegistrySettings
from registry_client import OpenRegistry, RegistryClient, sha256, sha512

BLOB = bytes(range(256)) * 8


@pytest.mark.parametrize("content", [BLOB, b"", b"{}"])
async def test_a_blob_is_read_whole(registry: RegistryClient, content: bytes) -> None:
    path = f"/v2/a/b/blobs/{await registry.push_blob('a/b', content)}"
    head = await registry.ask("HEAD", path, status=200)
    get = await registry.ask("GET", path, status=200)
    assert (head.body, get.body) == (b"", content)
    for answer in (head, get):
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Docker-Content-Digest"] == sha256(content)
        assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_a_blob_that_is_missing_is_404(registry: RegistryClient) -> None:
    path = f"/v2/a/blobs/{sha256(b'missing')}"
    assert (await registry.ask("GET", path, status=404)).code == "BLOB_UNKNOWN"
    assert (await registry.ask("HEAD", path, status=404)).body == b""
    assert (await registry.ask("DELETE", path, status=404)).code == "BLOB_UNKNOWN"


async def test_a_blob_shows_only_where_it_was_pushed(registry: RegistryClient) -> None:
    digest = await registry.push_blob("a", BLOB)
    for name in ("b", "a/b"):
        for method in ("HEAD", "GET", "DELETE"):
            await registry.ask(method, f"/v2/{name}/blobs/{digest}", status=404)
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=200)


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [
        ("500-1499", 500, 1500),
        ("500-", 500, 2048),
        ("-500", 1548, 2048),
        ("2000-5000", 2000, 2048),
        ("0-0", 0, 1),
        ("-5000", 0, 2048),
        ("0-", 0, 2048),
    ],
)
async def test_a_range_is_read(registry: RegistryClient, wanted: str, begin: int, end: int) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    answer = await registry.ask("GET", path, headers={"Range": f"bytes={wanted}"}, status=206)
    assert answer.body == BLOB[begin:end]
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/2048"
    assert answer.headers["Content-Length"] == str(end - begin)


@pytest.mark.parametrize("wanted", ["500-0", "2048-", "5000-10000", "-0", "x-y", "-"])
async def test_a_range_that_is_not_there_is_416(registry: RegistryClient, wanted: str) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    answer = await registry.ask("GET", path, headers={"Range": f"bytes={wanted}"}, status=416)
    assert answer.code == "RANGE_INVALID"
    assert answer.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,5-6"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=0-1", "If-Range": '"other"'},
    ],
)
async def test_what_is_no_single_range_reads_the_whole(
    registry: RegistryClient, headers: dict[str, str]
) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    assert (await registry.ask("GET", path, headers=headers, status=200)).body == BLOB


async def test_who_has_a_blob_is_told_so(registry: RegistryClient) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    etag = (await registry.ask("HEAD", path)).headers["ETag"]
    for method in ("GET", "HEAD"):
        known = await registry.ask(method, path, headers={"If-None-Match": etag}, status=304)
        assert known.body == b""
        other = {"If-None-Match": '"other"'}
        assert (await registry.ask(method, path, headers=other)).status == 200
    headers = {"Range": "bytes=0-1", "If-Range": etag}
    assert (await registry.ask("GET", path, headers=headers, status=206)).body == BLOB[:2]


async def test_a_deleted_blob_is_gone_at_once_and_can_come_again(
    registry: RegistryClient,
) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    await registry.push_blob("b", BLOB)
    await registry.ask("DELETE", path, status=202)
    await registry.ask("HEAD", path, status=404)
    await registry.ask("DELETE", path, status=404)
    await registry.ask("HEAD", path.replace("/a/", "/b/", 1), status=200)
    await registry.push_blob("a", BLOB)
    assert (await registry.ask("GET", path, status=200)).body == BLOB


async def test_sha512_is_kept_apart(registry: RegistryClient) -> None:
    digest = sha512(BLOB)
    start = f"/v2/a/blobs/uploads/?digest={digest}"
    created = await registry.ask("POST", start, BLOB, status=201)
    assert created.headers["Docker-Content-Digest"] == digest
    answer = await registry.ask("GET", created.location, status=200)
    assert (answer.body, answer.headers["Docker-Content-Digest"]) == (BLOB, digest)
    await registry.ask("HEAD", f"/v2/a/blobs/{sha256(BLOB)}", status=404)


async def test_a_blob_is_read_while_it_is_pushed_again(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    content = BLOB * 4000
    digest = await registry.push_blob("a", content)
    hexadecimal = digest.partition(":")[2]
    data = f"/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    url = registry.base / "v2/a/blobs" / digest
    async with registry.session.get(url) as response:
        received = await response.content.readexactly(1000)
        # Another instance finds it old, and moves the same bytes over it.
        async with storage.writer("/other/data") as writer:
            await writer.write(content)
            await writer.commit()
        await storage.move("/other/data", data)
        received += await response.content.read()
    assert sha256(received) == digest


async def test_a_blob_that_goes_away_while_it_is_read_is_cut(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    content = BLOB * 8000
    url = registry.base / "v2/a/blobs" / await registry.push_blob("a", content)

    async def read() -> bytes:
        async with registry.session.get(url) as response:
            received = await response.content.readexactly(1000)
            await storage.delete("/docker/registry/v2/blobs")
            return received + await response.content.read()

    if isinstance(storage, MemoryDriver):  # where a reader keeps its version
        assert await read() == content
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await read()


async def test_many_read_one_blob(registry: RegistryClient) -> None:
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    answers = await asyncio.gather(*(registry.ask("GET", path, status=200) for _ in range(16)))
    assert {answer.body for answer in answers} == {BLOB}


async def test_blobs_are_redirected_to_signed_urls(
    open_registry: OpenRegistry, storage: StorageDriver
) -> None:
    registry = await open_registry(RegistrySettings(redirect_blobs=True))
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    answer = await registry.ask("GET", path)
    if isinstance(storage, MemoryDriver):  # which cannot sign: served as usual
        assert (answer.status, answer.body) == (200, BLOB)
        return
    assert answer.status == 307
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Docker-Content-Digest"] == sha256(BLOB)
    async with registry.session.get(URL(answer.location, encoded=True)) as response:
        assert await response.read() == BLOB
        assert "Docker-Content-Digest" not in response.headers  # it is the service's
    await registry.ask("HEAD", path, status=200)
    await registry.ask("GET", f"/v2/b/blobs/{sha256(BLOB)}", status=404)


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"Range": "bytes=500-1499"}, 206, BLOB[500:1500]),
        ({"Range": "bytes=500-"}, 206, BLOB[500:]),
        ({"Range": "bytes=2000-5000"}, 206, BLOB[2000:]),
        ({"Range": "bytes=-500"}, 206, BLOB[-500:]),
        ({"Range": "bytes=0-1,5-6"}, 200, BLOB),
        ({"Range": "lines=0-1"}, 200, BLOB),
        ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200, BLOB),
        ({"Range": "bytes=500-0"}, 416, None),
        ({"Range": "bytes=5000-"}, 416, None),
    ],
)
async def test_a_redirect_changes_no_range(
    open_registry: OpenRegistry, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    registry = await open_registry(RegistrySettings(redirect_blobs=True))
    path = f"/v2/a/blobs/{await registry.push_blob('a', BLOB)}"
    # A client that follows a redirect sends on the headers that it has.
    async with registry.session.get(registry.base.join(URL(path)), headers=headers) as response:
        assert response.status == status
        if body is not None:
            assert await response.read() == body
