"""The web apps as an HTTP client sees them."""

from __future__ import annotations

import asyncio
import gzip
import io
import random
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp
import pytest
from werkzeug.http import http_date

from azdriver import FileInfo, MemoryDriver, StorageDriver
from azdriver.testing.azurite import AzuriteServer

MIB: Final = 1024 * 1024
PATH: Final = "/files/a/b.bin"
BODY: Final = bytes(range(100))


@pytest.fixture
async def stored(storage: StorageDriver) -> FileInfo:
    await storage.put_content(PATH, BODY)
    return await storage.stat(PATH)


async def get(
    client: aiohttp.ClientSession, headers: Mapping[str, str] | None = None, path: str = PATH
) -> tuple[int, bytes, Mapping[str, str]]:
    async with client.get(path, headers=headers, allow_redirects=False) as response:
        return response.status, await response.read(), response.headers


# Downloads.


async def test_a_file_is_served(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    assert stored.mod_time is not None
    status, body, headers = await get(client)
    assert (status, body) == (200, BODY)
    assert headers["ETag"] == stored.etag
    assert headers["Last-Modified"] == http_date(stored.mod_time)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Length"] == "100"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_head_has_the_same_head(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    async with client.head(PATH, headers={"Range": "bytes=0-1"}) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Content-Length"] == "100"
        assert response.headers["ETag"] == stored.etag
    assert (await get(client))[0] == 200  # on the same connection


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=90-", 90, 100),
        ("bytes=99-500", 99, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-500", 0, 100),
    ],
)
async def test_a_range(
    client: aiohttp.ClientSession, stored: FileInfo, asked: str, begin: int, end: int
) -> None:
    status, body, headers = await get(client, {"Range": asked})
    assert (status, body) == (206, BODY[begin:end])
    assert headers["Content-Range"] == f"bytes {begin}-{end - 1}/100"
    assert headers["ETag"] == stored.etag


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=5-2", "bytes=x", "bytes", "lines=0-1", "bytes=-", "bytes=1e1-"],
)
async def test_what_is_no_single_range_is_ignored(
    client: aiohttp.ClientSession, stored: FileInfo, asked: str
) -> None:
    status, body, _ = await get(client, {"Range": asked})
    assert (status, body) == (200, BODY)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=500-600"])
async def test_a_range_behind_the_end(
    client: aiohttp.ClientSession, stored: FileInfo, asked: str
) -> None:
    status, _, headers = await get(client, {"Range": asked})
    assert (status, headers["Content-Range"]) == (416, "bytes */100")


async def test_if_range(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    assert stored.etag is not None
    asked = {"Range": "bytes=10-19"}
    assert (await get(client, {**asked, "If-Range": stored.etag}))[:2] == (206, BODY[10:20])
    for other in ('"other"', f"W/{stored.etag}", http_date(stored.mod_time)):
        assert (await get(client, {**asked, "If-Range": other}))[:2] == (200, BODY)
    await client.put(PATH, data=BODY[::-1])
    assert (await get(client, {**asked, "If-Range": stored.etag}))[:2] == (200, BODY[::-1])


async def test_not_modified(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    assert stored.etag is not None
    assert stored.mod_time is not None
    for known in (stored.etag, f'"x", W/{stored.etag}', "*"):
        status, body, headers = await get(client, {"If-None-Match": known})
        assert (status, body, headers["ETag"]) == (304, b"", stored.etag)
    now, before = stored.mod_time, stored.mod_time - timedelta(seconds=2)
    assert (await get(client, {"If-Modified-Since": http_date(now)}))[0] == 304
    assert (await get(client, {"If-Modified-Since": http_date(before)}))[0] == 200
    # An ETag is more exact, and goes first.
    both = {"If-None-Match": '"other"', "If-Modified-Since": http_date(now)}
    assert (await get(client, both))[0] == 200


async def test_conditions_of_a_read_that_fail(
    client: aiohttp.ClientSession, stored: FileInfo
) -> None:
    assert stored.mod_time is not None
    assert (await get(client, {"If-Match": '"other"'}))[0] == 412
    before = http_date(stored.mod_time - timedelta(seconds=2))
    assert (await get(client, {"If-Unmodified-Since": before}))[0] == 412
    assert (await get(client, {"If-Match": "*", "If-Unmodified-Since": before}))[0] == 200


async def test_an_empty_file(client: aiohttp.ClientSession) -> None:
    async with client.put(PATH, data=b"") as response:
        assert response.status == 201
    assert (await get(client))[:2] == (200, b"")
    assert (await get(client, {"Range": "bytes=0-"}))[0] == 416


# Uploads.


async def pieces(size: int, seed: int = 1) -> AsyncIterator[bytes]:
    rng = random.Random(seed)
    for begin in range(0, size, 100_000):
        yield rng.randbytes(min(100_000, size - begin))


async def whole(size: int, seed: int = 1) -> bytes:
    return b"".join([piece async for piece in pieces(size, seed)])


@pytest.mark.parametrize("size", [0, 100, 5 * MIB], ids=["empty", "small", "large"])
@pytest.mark.parametrize("length", ["declared", "chunked"])
async def test_an_upload_comes_back(
    client: aiohttp.ClientSession, storage: StorageDriver, size: int, length: str
) -> None:
    for seed, status in ((1, 201), (2, 204)):
        body = await whole(size, seed)
        data = io.BytesIO(body) if length == "declared" else pieces(size, seed)
        async with client.put(PATH, data=data) as response:
            assert response.status == status
            etag = response.headers.get("ETag")
        found, read, headers = await get(client)
        assert (found, read == body) == (200, True)
        assert etag in (None, headers["ETag"])
    assert await storage.list("/") == ["/files"]  # nothing temporary is left


async def test_a_range_of_a_large_file(client: aiohttp.ClientSession) -> None:
    body = await whole(5 * MIB)
    await client.put(PATH, data=io.BytesIO(body))
    status, read, _ = await get(client, {"Range": "bytes=1000000-4999999"})
    assert (status, read == body[1_000_000:5_000_000]) == (206, True)


async def test_kinds_replace_each_other(client: aiohttp.ClientSession) -> None:
    for body in (b"small", await whole(5 * MIB), b"small again"):
        async with client.put(PATH, data=io.BytesIO(body)) as response:
            assert response.status in (201, 204)
        assert (await get(client))[1] == body


async def test_conditional_uploads(client: aiohttp.ClientSession) -> None:
    async def put(body: bytes, **headers: str) -> tuple[int, str | None]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with client.put(PATH, data=body, headers=fields) as response:
            return response.status, response.headers.get("ETag")

    assert (await put(b"0", If_Match="*"))[0] == 412
    assert (await put(b"0", If_Match='"x"'))[0] == 412
    status, first = await put(b"1", If_None_Match="*")
    assert (status, first is not None) == (201, True)
    assert (await put(b"2", If_None_Match="*"))[0] == 412
    assert first is not None
    status, second = await put(b"3", If_Match=f'"x", {first}')
    assert (status, second not in (None, first)) == (204, True)
    assert (await put(b"4", If_Match=first))[0] == 412
    assert (await put(b"4", If_Match=f"W/{second}"))[0] == 412
    assert (await put(b"4", If_None_Match=str(second)))[0] == 412
    assert (await put(b"4", If_Unmodified_Since="Mon, 01 Jan 2001 00:00:00 GMT"))[0] == 412
    assert (await get(client))[1] == b"3"
    assert (await put(b"5", If_Match="*"))[0] == 204


async def test_of_conditional_uploads_at_once_one_wins(client: aiohttp.ClientSession) -> None:
    async with client.put(PATH, data=b"0") as response:
        etag = response.headers["ETag"]

    async def put(number: int) -> int:
        body = str(number).encode()
        async with client.put(PATH, data=body, headers={"If-Match": etag}) as response:
            return response.status

    assert sorted(await asyncio.gather(*map(put, range(8)))) == [204] + [412] * 7


async def test_uploads_that_are_too_large(
    client: aiohttp.ClientSession, storage: StorageDriver
) -> None:
    async def refused(data: io.BytesIO | AsyncIterator[bytes], **headers: str) -> str:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with client.put(PATH, data=data, headers=fields) as response:
            assert response.status == 413
            return str((await response.json())["error"])

    over = 8 * MIB + 1
    assert "8388608 bytes" in await refused(io.BytesIO(bytes(over)), Expect="100-continue")
    assert "8388608 bytes" in await refused(pieces(over))
    # A condition holds for what is written in one step, and that is in memory.
    assert "4194304 bytes" in await refused(io.BytesIO(bytes(5 * MIB)), If_None_Match="*")
    assert "4194304 bytes" in await refused(pieces(5 * MIB), If_None_Match="*")
    assert await storage.list("/") == []


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("Content-Encoding", "gzip", 415), ("Content-Range", "bytes 0-1/2", 400)],
)
async def test_uploads_of_parts_and_codings_are_refused(
    client: aiohttp.ClientSession, header: str, value: str, status: int
) -> None:
    body = gzip.compress(b"xx")
    async with client.put(PATH, data=body, headers={header: value}) as response:
        assert response.status == status
    assert (await get(client))[0] == 404


# Directories, and deleting.


async def test_a_directory(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    for directory, entry in (("/files/", "/files/a"), ("/files/a/", PATH)):
        async with client.get(directory) as response:
            assert await response.json() == {"entries": [entry]}
    assert (await get(client, path="/files/a"))[0] == 404
    assert (await get(client, path="/files/missing/"))[0] == 404
    async with client.put("/files/a", data=b"x") as response:
        assert response.status == 409
    async with client.delete("/files/a") as response:
        assert response.status == 409
    assert (await get(client))[0] == 200


async def test_the_topmost_directory_is_always_there(client: aiohttp.ClientSession) -> None:
    async with client.get("/files/") as response:
        assert (response.status, await response.json()) == (200, {"entries": []})


async def test_a_deleted_file_is_gone(client: aiohttp.ClientSession, stored: FileInfo) -> None:
    async with client.delete(PATH, headers={"If-Match": "*"}) as response:
        assert response.status == 501
    for status in (204, 404):
        async with client.delete(PATH) as response:
            assert response.status == status
    assert (await get(client))[0] == 404


# Signed URLs.


async def test_redirects_where_the_driver_can_sign(
    serve: Any, azure: StorageDriver, azurite_server: AzuriteServer
) -> None:
    info = await azure.put_content(PATH, BODY)
    assert info.etag is not None
    async with serve(azure, redirect=True) as (host, port):
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            status, body, headers = await get(client)
            assert (status, body, headers["Cache-Control"]) == (307, b"", "no-store")
            assert headers["Location"].startswith(azurite_server.blob_endpoint)
            assert (await get(client, {"If-None-Match": info.etag}))[0] == 304
            assert (await get(client, path="/files/missing"))[0] == 404
            async with client.head(PATH, allow_redirects=False) as response:
                assert response.status == 307
            async with client.get(PATH) as response:
                assert (response.status, await response.read()) == (200, BODY)


async def test_ranges_are_never_redirected(serve: Any, azure: StorageDriver) -> None:
    """The service reads some otherwise than HTTP says; see ``test_what_is_no_single_range…``."""
    info = await azure.put_content(PATH, BODY)
    assert info.etag is not None
    async with serve(azure, redirect=True) as (host, port):
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            for asked, expected in {
                "bytes=10-19": (206, BODY[10:20]),
                "bytes=-5": (206, BODY[-5:]),
                "bytes=0-1,4-5": (200, BODY),
            }.items():
                status, body, headers = await get(client, {"Range": asked})
                assert (status, body) == expected
                assert (headers["ETag"], "Location" in headers) == (info.etag, False)
            assert (await get(client, {"Range": "bytes=100-"}))[0] == 416
            asked_by_head = {"Range": "bytes=10-19"}
            async with client.head(PATH, headers=asked_by_head, allow_redirects=False) as response:
                assert (response.status, response.headers["Content-Length"]) == (200, "100")


async def test_without_signing_the_bytes_are_served(serve: Any) -> None:
    async with MemoryDriver() as driver:
        await driver.put_content(PATH, BODY)
        async with serve(driver, redirect=True) as (host, port):
            async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
                assert (await get(client))[:2] == (200, BODY)
