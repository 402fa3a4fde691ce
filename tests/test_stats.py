"""The counters of a driver: the same operations for each, and the wire for the one that has it."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from azdriver import (
    AzureBlobDriver,
    DriverStats,
    InvalidPathError,
    MemoryDriver,
    PathNotFoundError,
)
from azdriver.base import BaseDriver
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Faults, answer, lose_answer, refuse


async def exercise(driver: BaseDriver) -> None:
    await driver.put_content("/a", b"content")
    await driver.get_content("/a")
    await driver.get_content("/a")
    with pytest.raises(PathNotFoundError):
        await driver.get_content("/missing")
    async with driver.writer("/stream") as writer:
        await writer.write(b"more")
        await writer.commit()
    async with driver.reader("/stream") as reader:
        await reader.read()
    with pytest.raises(RuntimeError):
        async with driver.reader("/stream"):
            raise RuntimeError("of the caller's own")
    walk = driver.walk("/")
    async for _ in walk:
        break  # which is no failure
    await walk.aclose()
    with pytest.raises(InvalidPathError):
        await driver.stat("no path")  # never begun


OPERATIONS = {"put_content": 1, "get_content": 3, "writer": 1, "reader": 2, "walk": 1}
FAILURES = {"get_content": 1, "reader": 1}


async def test_memory_counts_operations() -> None:
    async with MemoryDriver() as driver:
        assert driver.stats() == DriverStats()
        await exercise(driver)
    assert driver.stats() == DriverStats(operations=OPERATIONS, failures=FAILURES)


async def test_azure_counts_operations_and_requests(driver: AzureBlobDriver) -> None:
    await exercise(driver)
    stats = driver.stats()
    assert (stats.operations, stats.failures) == (OPERATIONS, FAILURES)
    assert stats.requests == {
        "Create Container": 1,
        "Get Blob Properties": 1,
        "Put Blob": 1,
        "Get Blob": 5,
        "Create Append Blob": 1,
        "Append Block": 1,
        "List Blobs": 1,
    }
    assert stats.sent_bytes == len(b"content") + len(b"more")


def test_a_driver_that_is_not_open_has_counters() -> None:
    driver = AzureBlobDriver.from_connection_string("UseDevelopmentStorage=true", "container")
    assert driver.stats() == DriverStats()


async def test_a_snapshot_stays_as_it_is() -> None:
    async with MemoryDriver() as driver:
        before = driver.stats()
        await driver.list("/")
        assert before == DriverStats()
    assert pickle.loads(pickle.dumps(driver.stats())) == driver.stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.retries = 1  # type: ignore[misc]


@pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])
async def test_bytes_are_those_of_the_bodies(
    azurite_server: AzuriteServer, container: str, lean_lane: bool
) -> None:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, lean_lane=lean_lane
    ) as driver:
        content = bytes(range(256)) * 40_000
        before = driver.stats()
        await driver.put_content("/a", content)
        assert await driver.get_content("/a") == content
        async with driver.reader("/a") as reader:
            assert await reader.read() == content
        after = driver.stats()
        assert after.sent_bytes - before.sent_bytes == len(content)
        assert after.received_bytes - before.received_bytes == 2 * len(content)
        assert (await driver.list("/")) == ["/a"]
        assert driver.stats().received_bytes > after.received_bytes


@pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])
async def test_retries_and_refusals_are_counted(
    azurite_server: AzuriteServer, container: str, lean_lane: bool
) -> None:
    faults = Faults(
        answer(503, "ServerBusy", on="Get Blob", times=2),
        answer(500, "InternalError", on="Get Blob Properties"),
        refuse(on="List Blobs"),
        lose_answer(on="Put Blob"),
    )
    options: dict[str, Any] = {"lean_lane": lean_lane, "wrap_transport": faults.wrap}
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, **options
    ) as driver:
        await driver.put_content("/a", b"content")
        await driver.get_content("/a")
        await driver.list("/")
        stats = driver.stats()
        assert stats.throttled == 2
        assert stats.requests["Get Blob"] == 3
        assert stats.requests["List Blobs"] == 2
        # The put whose answer was lost was found to have been applied: it is not sent again.
        assert stats.requests["Put Blob"] == 1
        assert stats.retries == 4
        assert stats.request_limit == 2  # one was in flight when it was refused; then one more
        assert stats.requests_in_flight == 0
