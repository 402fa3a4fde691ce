"""The requests of each operation in its normal case: nobody adds a round trip unnoticed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from azdriver import AzureBlobDriver, PathNotFoundError
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.recording import RecordedRequest, RecordingTransport

MIB = 1024 * 1024


async def _get(driver: AzureBlobDriver) -> None:
    await driver.get_content("/blob")


async def _get_empty(driver: AzureBlobDriver) -> None:
    assert await driver.get_content("/empty") == b""


async def _put(driver: AzureBlobDriver) -> None:
    await driver.put_content("/blob", b"new")


async def _put_over_legacy(driver: AzureBlobDriver) -> None:
    await driver.put_content("/stream", b"new")


async def _read(driver: AzureBlobDriver) -> None:
    async with driver.reader("/blob", 2) as reader:
        await reader.read()


async def _read_two_ranges(driver: AzureBlobDriver) -> None:
    async with driver.reader("/two-ranges") as reader:
        await reader.read()


async def _read_past_the_end(driver: AzureBlobDriver) -> None:
    async with driver.reader("/blob", 1000) as reader:
        assert await reader.read() == b""


async def _write(driver: AzureBlobDriver) -> None:
    async with driver.writer("/new") as writer:
        for _ in range(9 * 16):
            await writer.write(bytes(MIB // 16))
        await writer.commit()


async def _resume(driver: AzureBlobDriver) -> None:
    async with driver.writer("/stream", append=True) as writer:
        await writer.write(b"more")


async def _stat_missing(driver: AzureBlobDriver) -> None:
    with pytest.raises(PathNotFoundError):
        await driver.stat("/missing")


async def _walk(driver: AzureBlobDriver) -> None:
    assert [info.path async for info in driver.walk("/")]


BUDGETS: dict[str, tuple[Callable[[AzureBlobDriver], Awaitable[object]], dict[str, int]]] = {
    "get_content": (_get, {"Get Blob": 1}),
    "get_content of an empty blob": (_get_empty, {"Get Blob": 1}),
    "put_content": (_put, {"Get Blob Properties": 1, "Put Blob": 1}),
    "put_content over a legacy blob": (
        _put_over_legacy,
        {"Get Blob Properties": 1, "Delete Blob": 1, "Put Blob": 1},
    ),
    "reader": (_read, {"Get Blob": 1}),
    "reader of two ranges": (_read_two_ranges, {"Get Blob": 2}),
    "reader past the end": (_read_past_the_end, {"Get Blob": 1}),
    "writer of 9 MiB": (_write, {"Create Append Blob": 1, "Append Block": 3}),
    "writer that resumes": (_resume, {"Get Blob Properties": 1, "Append Block": 1}),
    "stat of a file": (lambda d: d.stat("/blob"), {"Get Blob Properties": 1}),
    "stat of a directory": (
        lambda d: d.stat("/dir"),
        {"Get Blob Properties": 1, "List Blobs": 1},
    ),
    "stat of nothing": (_stat_missing, {"Get Blob Properties": 1, "List Blobs": 1}),
    "stat of the root": (lambda d: d.stat("/"), {"List Blobs": 1}),
    "list": (lambda d: d.list("/"), {"List Blobs": 1}),
    "walk": (_walk, {"List Blobs": 1}),
    "move": (
        lambda d: d.move("/blob", "/moved"),
        {"Get Blob Properties": 1, "Copy Blob": 1, "Delete Blob": 1},
    ),
    "move onto itself": (lambda d: d.move("/blob", "/blob"), {"Get Blob Properties": 1}),
    "delete of a blob": (lambda d: d.delete("/blob"), {"Delete Blob": 1, "List Blobs": 1}),
    "delete of a tree of 600": (
        lambda d: d.delete("/tree"),
        {"Delete Blob": 1, "List Blobs": 1, "Blob Batch": 3},
    ),
    "url_for": (lambda d: d.url_for("/blob", expiry=timedelta(hours=1)), {}),
}


@pytest.fixture
async def filled(driver: AzureBlobDriver, requests: list[RecordedRequest]) -> AzureBlobDriver:
    await driver.put_content("/blob", b"content")
    await driver.put_content("/empty", b"")
    await driver.put_content("/dir/blob", b"content")
    await driver.put_content("/two-ranges", bytes(5 * MIB))
    async with driver.writer("/stream") as writer:
        await writer.write(b"begin")
    requests.clear()
    return driver


@pytest.mark.parametrize("case", BUDGETS)
async def test_request_budget(
    filled: AzureBlobDriver, requests: list[RecordedRequest], case: str
) -> None:
    call, budget = BUDGETS[case]
    if "600" in case:
        await fill(filled, [f"/tree/{number}" for number in range(600)])
        requests.clear()
    before = filled.stats()
    await call(filled)
    after = filled.stats()
    assert dict(Counter(request.operation for request in requests)) == budget
    # The driver's own counters say the same.
    assert dict(Counter(after.requests) - Counter(before.requests)) == budget
    sent = sum(request.sent_bytes for request in requests)
    assert after.sent_bytes - before.sent_bytes == sent
    assert (after.retries, after.throttled, after.requests_in_flight) == (0, 0, 0)


async def fill(driver: AzureBlobDriver, paths: list[str]) -> None:
    remaining = iter(paths)

    async def put() -> None:
        for path in remaining:
            await driver.put_content(path, b"")

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(put())


@pytest.fixture(scope="module")
def large_container(plant: Callable[[str, list[str]], None]) -> str:
    """Three directories that hold 12,000 blobs."""
    name = f"large-{uuid4().hex}"
    plant(name, [f"{'abc'[n % 3]}/{n:05}/x" for n in range(12_000)])
    return name


@pytest.fixture
async def large(
    azurite_server: AzuriteServer, large_container: str, requests: list[RecordedRequest]
) -> AsyncIterator[AzureBlobDriver]:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        large_container,
        wrap_transport=lambda inner: RecordingTransport(inner, requests),
    ) as driver:
        requests.clear()
        yield driver


async def test_listing_three_directories_of_12000_blobs_is_one_request(
    large: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    assert await large.list("/") == ["/a", "/b", "/c"]
    assert len(requests) == 1


async def test_the_root_is_one_request_however_much_is_below(
    large: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    assert (await large.stat("/")).is_dir
    assert len(requests) == 1


async def test_walking_12000_blobs_is_three_requests(
    large: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    files = [info.path async for info in large.walk("/") if not info.is_dir]
    assert len(files) == 12_000
    assert files == sorted(files)
    assert len(requests) == 3


async def test_a_large_directory_that_is_skipped_is_not_listed(
    large: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    """/a holds 4,000 names, of which one page has come when it is skipped; /b ends later."""
    walk = large.walk("/")
    seen = []
    async for info in walk:
        seen.append(info.path)
        if info.path in ("/a", "/b"):
            walk.skip()
    assert seen[:3] == ["/a", "/b", "/c"]
    assert sum(path.startswith("/c/") for path in seen) == 8_000  # directories and files
    # One page (all of /a, some of /b), one level of the root, one page of /c.
    assert len(requests) == 3


async def test_walking_goes_on_behind_a_path(large: AzureBlobDriver) -> None:
    every = [info.path async for info in large.walk("/")]
    rest = [info.path async for info in large.walk("/", start_after="/b/06001/x")]
    assert rest == every[every.index("/b/06001/x") + 1 :]
