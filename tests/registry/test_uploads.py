"""Uploads: at once, in a stream, in chunks; interrupted, resumed, cancelled; mounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from azdriver import PathNotFoundError, StorageDriver
from oci_registry.settings import RegistrySettings
from registry_client import Answer, OpenRegistry, RegistryClient, send_and_cut, sha256, sha512

BLOB = bytes(range(256)) * 40
UPLOADS = "/docker/registry/v2/repositories/a/_uploads"
BLOBS = "/docker/registry/v2/blobs"


async def _stream(content: bytes, chunk: int = 1000) -> AsyncIterator[bytes]:
    """A body that is sent chunked-encoded."""
    for begin in range(0, len(content), chunk):
        yield content[begin : begin + chunk]


def _with(location: str, digest: str) -> str:
    """As clients add the digest to a location, which may have a query."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


async def _read_back(registry: RegistryClient, created: Answer, content: bytes) -> None:
    assert created.headers["Docker-Content-Digest"] in (sha256(content), sha512(content))
    assert (await registry.ask("GET", created.location, status=200)).body == content


async def _assert_nothing_is_left(storage: StorageDriver, place: str) -> None:
    with pytest.raises(PathNotFoundError):
        await storage.list(place)


async def test_an_upload_begins_empty(registry: RegistryClient) -> None:
    for path in ("/v2/a/blobs/uploads/", "/v2/a/blobs/uploads"):
        answer = await registry.ask("POST", path, status=202)
        assert answer.headers["Range"] == "0-0"
        assert answer.location.endswith(answer.headers["Docker-Upload-UUID"])
        status = await registry.ask("GET", answer.location, status=204)
        assert status.headers["Range"] == "0-0"
        assert status.location == answer.location


@pytest.mark.parametrize("content", [BLOB, b""])
@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_a_blob_is_pushed_by_one_post(
    registry: RegistryClient, storage: StorageDriver, content: bytes, digest_of: type
) -> None:
    path = f"/v2/a/blobs/uploads/?digest={digest_of(content)}"
    await _read_back(registry, await registry.ask("POST", path, content, status=201), content)
    await _assert_nothing_is_left(storage, UPLOADS)


@pytest.mark.parametrize("content", [BLOB, b""])
@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_a_blob_is_pushed_by_post_and_put(
    registry: RegistryClient, storage: StorageDriver, content: bytes, digest_of: type
) -> None:
    location = _with(await registry.start("a"), digest_of(content))
    await _read_back(registry, await registry.ask("PUT", location, content, status=201), content)
    await _assert_nothing_is_left(storage, UPLOADS)
    await registry.ask("GET", location, status=404)


@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"])
@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_a_blob_is_pushed_in_chunks(
    registry: RegistryClient, query: str, digest_of: type
) -> None:
    location = await registry.start("a", query)
    for begin, end in ((0, 1000), (1000, 5000), (5000, len(BLOB))):
        answer = await registry.ask(
            "PATCH",
            location,
            BLOB[begin:end],
            headers={"Content-Range": f"{begin}-{end - 1}"},
            status=202,
        )
        assert answer.headers["Range"] == f"0-{end - 1}"
        location = answer.location
        status = await registry.ask("GET", location, status=204)
        assert status.headers["Range"] == f"0-{end - 1}"
    created = await registry.ask("PUT", _with(location, digest_of(BLOB)), status=201)
    await _read_back(registry, created, BLOB)


async def test_the_last_chunk_comes_with_the_put(registry: RegistryClient) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": "0-999"}
    location = (await registry.ask("PATCH", location, BLOB[:1000], headers=headers)).location
    headers = {"Content-Range": f"1000-{len(BLOB) - 1}"}
    path = _with(location, sha256(BLOB))
    await _read_back(
        registry, await registry.ask("PUT", path, BLOB[1000:], headers=headers, status=201), BLOB
    )


async def test_a_stream_needs_neither_range_nor_type(registry: RegistryClient) -> None:
    # As docker sends it: chunked-encoded.
    location = await registry.start("a")
    answer = await registry.ask("PATCH", location, _stream(BLOB), status=202)
    assert answer.headers["Range"] == f"0-{len(BLOB) - 1}"
    created = await registry.ask("PUT", _with(answer.location, sha256(BLOB)), status=201)
    await _read_back(registry, created, BLOB)


async def test_a_stream_with_a_length_needs_no_range(registry: RegistryClient) -> None:
    # As skopeo sends it.
    location = await registry.start("a")
    headers = {"Content-Type": "application/octet-stream"}
    answer = await registry.ask("PATCH", location, BLOB, headers=headers, status=202)
    assert answer.headers["Range"] == f"0-{len(BLOB) - 1}"
    created = await registry.ask("PUT", _with(answer.location, sha256(BLOB)), status=201)
    await _read_back(registry, created, BLOB)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("begin", [0, 500, 2000])
async def test_a_chunk_out_of_order_is_416_and_the_upload_goes_on(
    registry: RegistryClient, method: str, begin: int
) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": "0-999"}
    location = (await registry.ask("PATCH", location, BLOB[:1000], headers=headers)).location
    headers = {"Content-Range": f"{begin}-{begin + 99}"}
    path = location if method == "PATCH" else _with(location, sha256(BLOB))
    answer = await registry.ask(method, path, BLOB[:100], headers=headers, status=416)
    assert answer.code == "RANGE_INVALID"
    assert answer.headers["Range"] == "0-999"
    assert answer.location == location
    # The status is asked by the URL that was used last.
    status = await registry.ask("GET", path, status=204)
    assert status.headers["Range"] == "0-999"
    path = _with(status.location, sha256(BLOB))
    await _read_back(registry, await registry.ask("PUT", path, BLOB[1000:], status=201), BLOB)


async def test_a_first_chunk_out_of_order_is_416(registry: RegistryClient) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": "5-9"}
    answer = await registry.ask("PATCH", location, b"abcde", headers=headers, status=416)
    assert answer.headers["Range"] == "0-0"
    created = await registry.ask("PUT", _with(location, sha256(BLOB)), BLOB, status=201)
    await _read_back(registry, created, BLOB)


@pytest.mark.parametrize(
    ("content_range", "code"),
    [
        ("x", "BLOB_UPLOAD_INVALID"),
        ("9-0", "BLOB_UPLOAD_INVALID"),
        ("-5", "BLOB_UPLOAD_INVALID"),
        ("0-99", "SIZE_INVALID"),
    ],
)
async def test_a_range_that_is_malformed_or_not_of_the_body_is_400(
    registry: RegistryClient, content_range: str, code: str
) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": content_range}
    answer = await registry.ask("PATCH", location, b"0123456789", headers=headers, status=400)
    assert answer.code == code
    status = await registry.ask("GET", location, status=204)
    assert status.headers["Range"] == "0-0"


@pytest.mark.parametrize("content_range", ["0-5", "0-99"])
async def test_a_stream_is_as_long_as_its_range(
    registry: RegistryClient, content_range: str
) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": content_range}
    answer = await registry.ask("PATCH", location, _stream(b"0123456789"), headers=headers)
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")


async def test_an_answer_before_the_body_was_read_reaches_the_client(
    registry: RegistryClient,
) -> None:
    body = bytes(8 * 1024 * 1024)
    location = await registry.start("a")
    headers = {"Content-Range": f"5-{len(body) + 4}"}
    for _ in range(3):
        await registry.ask("PATCH", location, body, headers=headers, status=416)
        await registry.ask("PUT", f"/v2/a/blobs/uploads/x?digest={sha256(body)}", body, status=404)
        await registry.ask("PUT", "/v2/a/manifests/x", body, status=413)


@pytest.mark.parametrize("way", ["post", "put", "patch", "last chunk"])
async def test_a_wrong_digest_is_400_and_nothing_is_stored(
    registry: RegistryClient, storage: StorageDriver, way: str
) -> None:
    wrong = sha256(b"other")
    if way == "post":
        path = f"/v2/a/blobs/uploads/?digest={wrong}"
        answer = await registry.ask("POST", path, BLOB, status=400)
    else:
        location = await registry.start("a")
        if way != "put":
            await registry.ask("PATCH", location, BLOB[:5000], status=202)
        rest = {"put": BLOB, "patch": b"", "last chunk": BLOB[5000:]}[way]
        answer = await registry.ask("PUT", _with(location, wrong), rest, status=400)
        await registry.ask("GET", location, status=404)
    assert answer.code == "DIGEST_INVALID"
    await registry.ask("HEAD", f"/v2/a/blobs/{wrong}", status=404)
    await _assert_nothing_is_left(storage, BLOBS)
    await _assert_nothing_is_left(storage, UPLOADS)


async def test_an_unknown_algorithm_is_400_and_the_upload_goes_on(
    registry: RegistryClient,
) -> None:
    location = await registry.start("a")
    answer = await registry.ask("PUT", _with(location, "md5:" + "0" * 32), BLOB, status=400)
    assert answer.code == "DIGEST_INVALID"
    await registry.ask("PUT", _with(location, sha256(BLOB)), BLOB, status=201)


async def test_an_upload_that_is_cancelled_is_gone(
    registry: RegistryClient, storage: StorageDriver
) -> None:
    location = await registry.start("a")
    await registry.ask("PATCH", location, BLOB, status=202)
    await registry.ask("DELETE", location, status=204)
    await _assert_nothing_is_left(storage, UPLOADS)
    for method, path in (
        ("GET", location),
        ("DELETE", location),
        ("PATCH", location),
        ("PUT", _with(location, sha256(BLOB))),
    ):
        assert (await registry.ask(method, path, b"x")).status == 404


async def test_an_upload_belongs_to_its_repository(registry: RegistryClient) -> None:
    location = (await registry.start("a")).replace("/v2/a/", "/v2/b/")
    await registry.ask("GET", location, status=404)


async def test_a_patch_that_is_cut_leaves_a_prefix_to_go_on_from(
    registry: RegistryClient,
) -> None:
    location = await registry.start("a")
    await registry.ask("PATCH", location, BLOB[:1000], status=202)
    await send_and_cut(registry, "PATCH", location, BLOB[1000:6000])
    status = await registry.ask("GET", location, status=204)
    size = int(status.headers["Range"].removeprefix("0-")) + 1
    assert 1000 <= size <= 6000
    headers = {"Content-Range": f"{size}-{len(BLOB) - 1}"}
    await registry.ask("PATCH", location, BLOB[size:], headers=headers, status=202)
    created = await registry.ask("PUT", _with(location, sha256(BLOB)), status=201)
    await _read_back(registry, created, BLOB)


@pytest.mark.parametrize("way", ["put", "post"])
async def test_a_put_or_post_that_is_cut_leaves_no_blob(
    registry: RegistryClient, storage: StorageDriver, way: str
) -> None:
    digest = sha256(BLOB[:6000])
    if way == "put":
        location = await registry.start("a")
        await send_and_cut(registry, "PUT", _with(location, digest), BLOB[:6000])
        await registry.ask("GET", location, status=204)
    else:
        path = f"/v2/a/blobs/uploads/?digest={digest}"
        await send_and_cut(registry, "POST", path, BLOB[:6000])
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=404)
    await _assert_nothing_is_left(storage, BLOBS)


async def test_a_client_that_sends_nothing_more_does_not_hold_its_upload(
    open_registry: OpenRegistry,
) -> None:
    registry = await open_registry(RegistrySettings(body_idle_seconds=0.2))
    location = await registry.start("a")
    assert registry.base.host is not None
    reader, writer = await asyncio.open_connection(registry.base.host, registry.base.port)
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n"
    writer.write(head.encode() + BLOB[:1000])
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
    status = await registry.ask("GET", location, status=204)
    assert status.headers["Range"] == "0-999"


@pytest.mark.parametrize("storage", ["memory", "azurite", "azurite-block"], indirect=True)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "PUT"])
@pytest.mark.parametrize("stalled", ["PATCH", "PUT"])
async def test_a_newer_request_ends_one_that_is_stalled(
    registry: RegistryClient, stalled: str, method: str
) -> None:
    location = await registry.start("a")
    assert registry.base.host is not None
    reader, writer = await asyncio.open_connection(registry.base.host, registry.base.port)
    path = location if stalled == "PATCH" else _with(location, sha256(BLOB))
    head = f"{stalled} {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Content-Length: {len(BLOB)}\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(BLOB[:1000])
    await asyncio.sleep(0.05)  # so that it is read
    # It would be waited for a minute.
    async with asyncio.timeout(20):
        if method == "GET":
            status = await registry.ask("GET", location, status=204)
            assert status.headers["Range"] == "0-999"
        elif method == "DELETE":
            await registry.ask("DELETE", location, status=204)
        else:
            headers = {"Content-Range": f"1000-{len(BLOB) - 1}"}
            path = location if method == "PATCH" else _with(location, sha256(BLOB))
            await registry.ask(method, path, BLOB[1000:], headers=headers)
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 416 ")
    assert b"Range: 0-999\r\n" in answer
    writer.close()
    await writer.wait_closed()
    if method == "PATCH":
        await registry.ask("PUT", _with(location, sha256(BLOB)), status=201)
    if method in ("PATCH", "PUT"):
        created = await registry.ask("GET", f"/v2/a/blobs/{sha256(BLOB)}", status=200)
        assert created.body == BLOB


async def test_many_requests_for_one_upload_end_each_other(registry: RegistryClient) -> None:
    location = await registry.start("a")
    headers = {"Content-Range": f"0-{len(BLOB) - 1}"}
    answers = await asyncio.gather(
        *(registry.ask("PATCH", location, _stream(BLOB, 100), headers=headers) for _ in range(5))
    )
    for answer in answers:
        assert answer.status in (202, 416)
    size = int((await registry.ask("GET", location, status=204)).headers["Range"][2:]) + 1
    size = 0 if size == 1 else size
    created = await registry.ask("PUT", _with(location, sha256(BLOB)), BLOB[size:], status=201)
    await _read_back(registry, created, BLOB)


@pytest.mark.parametrize("is_known", [True, False])
async def test_the_body_is_asked_for_only_if_it_is_wanted(
    registry: RegistryClient, is_known: bool
) -> None:
    location = await registry.start("a") if is_known else "/v2/a/blobs/uploads/x"
    path = _with(location, sha256(BLOB))
    assert registry.base.host is not None
    reader, writer = await asyncio.open_connection(registry.base.host, registry.base.port)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Content-Length: {len(BLOB)}\r\n\r\n".encode())
    if is_known:
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert await reader.readline() == b"\r\n"
        writer.write(BLOB)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
    else:
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_eight_push_one_blob_at_once(registry: RegistryClient) -> None:
    digest = sha256(BLOB)

    async def push(number: int) -> Answer:
        name = f"a{number % 4}"
        if number % 2:
            return await registry.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", BLOB)
        location = await registry.start(name)
        await registry.ask("PATCH", location, BLOB, status=202)
        return await registry.ask("PUT", _with(location, digest))

    for answer in await asyncio.gather(*map(push, range(8))):
        assert answer.status == 201
        await _read_back(registry, answer, BLOB)


@pytest.mark.parametrize("storage", ["memory", "azurite", "azurite-block"], indirect=True)
async def test_another_instance_goes_on_with_an_upload(
    open_registry: OpenRegistry, storage: StorageDriver
) -> None:
    first = await open_registry(RegistrySettings())
    second = await open_registry(RegistrySettings())
    location = await first.start("a")
    await first.ask("PATCH", location, BLOB[:1000], status=202)
    answer = await second.ask("PATCH", location, BLOB[1000:2000], status=202)
    assert answer.headers["Range"] == "0-1999"
    answer = await first.ask("PATCH", location, BLOB[2000:3000], status=202)
    assert answer.headers["Range"] == "0-2999"
    status = await second.ask("GET", location, status=204)
    assert status.headers["Range"] == "0-2999"
    created = await second.ask("PUT", _with(location, sha256(BLOB)), BLOB[3000:], status=201)
    await _read_back(first, created, BLOB)
    await _assert_nothing_is_left(storage, UPLOADS)


@pytest.mark.parametrize("storage", ["memory", "azurite", "azurite-block"], indirect=True)
async def test_two_instances_that_write_one_upload_at_once_never_mix(
    open_registry: OpenRegistry,
) -> None:
    registries = [await open_registry(RegistrySettings()) for _ in range(2)]
    location = await registries[0].start("a")
    await registries[0].ask("PATCH", location, BLOB[:1000], status=202)
    expected = BLOB[:1000] + BLOB * 20
    headers = {"Content-Range": f"1000-{len(expected) - 1}"}
    answers = await asyncio.gather(
        *(
            each.ask("PATCH", location, _stream(expected[1000:], 4096), headers=headers)
            for each in registries
        )
    )
    assert {answer.status for answer in answers} <= {202, 416}
    status = await registries[1].ask("GET", location, status=204)
    size = int(status.headers["Range"].removeprefix("0-")) + 1
    created = await registries[1].ask(
        "PUT", _with(location, sha256(expected)), expected[size:], status=201
    )
    await _read_back(registries[0], created, expected)


async def test_hashes_that_were_forgotten_are_made_again(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(max_hashers=1))
    locations = [await registry.start("a") for _ in range(3)]
    for begin in range(0, len(BLOB), 4000):
        for location in locations:
            await registry.ask("PATCH", location, BLOB[begin : begin + 4000], status=202)
    for location in locations:
        await registry.ask("PUT", _with(location, sha256(BLOB)), status=201)


async def test_a_blob_that_is_known_is_mounted(registry: RegistryClient) -> None:
    digest = await registry.push_blob("b/c", BLOB)
    path = f"/v2/a/blobs/uploads/?mount={digest}&from=b/c"
    await _read_back(registry, await registry.ask("POST", path, status=201), BLOB)
    await registry.ask("DELETE", f"/v2/b/c/blobs/{digest}", status=202)
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=200)


async def test_a_blob_that_the_source_lacks_is_uploaded(registry: RegistryClient) -> None:
    digest = await registry.push_blob("c", BLOB)
    path = f"/v2/a/blobs/uploads/?mount={digest}&from=b"
    answer = await registry.ask("POST", path, status=202)
    await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=404)
    created = await registry.ask("PUT", _with(answer.location, digest), BLOB, status=201)
    await _read_back(registry, created, BLOB)


async def test_a_blob_is_mounted_from_wherever_it_is(registry: RegistryClient) -> None:
    for name in ("b", "b/c", "c-d", "z"):
        await registry.push_image(name, "latest", name.encode())
    digest = await registry.push_blob("c-d", BLOB)
    path = f"/v2/a/blobs/uploads/?mount={digest}"
    await _read_back(registry, await registry.ask("POST", path, status=201), BLOB)
    for name in ("a", "c-d"):
        await registry.ask("DELETE", f"/v2/{name}/blobs/{digest}", status=202)
    # The bytes are there until they are collected; no repository shows them.
    await registry.ask("POST", path, status=202)
    await registry.ask("POST", path.replace(digest, sha256(b"missing")), status=202)
