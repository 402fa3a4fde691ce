"""Deleting trees: complete, in few requests, and honest about what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from azdriver import AzureBlobDriver, BackendError, PartialDeleteError, PathNotFoundError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer, lose_answer, reset
from azdriver.testing.recording import operation_of


def opened(server: AzuriteServer, container: str, *faults: Fault) -> AzureBlobDriver:
    return AzureBlobDriver.from_connection_string(
        server.connection_string,
        container,
        wrap_transport=Faults(*faults).wrap,
        retry=RetrySettings(retries=2, first_delay_seconds=0.01),
    )


Plant = Callable[[str, list[str]], None]


async def test_a_tree_of_5200_goes_by_pages_and_batches(
    azurite_server: AzuriteServer, container: str, plant: Plant
) -> None:
    names = [*(f"tree/{number}" for number in range(5200)), "tree", "tree-like/x"]
    await asyncio.to_thread(plant, container, names)
    answered: Counter[str] = Counter()

    # Those that were answered: an emulator that is busy for longer than it keeps connections
    # resets some of them, with the request that it has not read yet; that one is sent again.
    async def count(request: Any, send: Send) -> Any:
        answer = await send()
        answered[operation_of(request)] += 1
        return answer

    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        # The emulator deletes a batch of 256 in seconds, on a busy machine in many.
        read_timeout_seconds=200,
        retry=RetrySettings(attempt_seconds=200, total_seconds=200),
        wrap_transport=Faults(Fault("count", count, times=None)).wrap,
    ) as driver:
        answered.clear()
        await driver.delete("/tree")
        assert answered == {
            "Delete Blob": 1,
            "List Blobs": 2,
            "Blob Batch": 21,
        }
        assert [info.path async for info in driver.walk("/")] == ["/tree-like", "/tree-like/x"]


@pytest.mark.parametrize(
    "fault",
    [
        lose_answer(on="Blob Batch"),
        reset(on="Blob Batch"),
        answer(503, "ServerBusy", on="Blob Batch"),
        answer(500, "InternalError", on="Blob Batch"),
        answer(202, headers={"Content-Type": "text/plain"}, body=b"?", on="Blob Batch"),
        answer(501, "NotImplemented", on="Blob Batch", times=None),
        lose_answer(on="Delete Blob"),
    ],
    ids=lambda fault: f"{fault.on}: {fault.name}",
)
async def test_an_answer_that_says_nothing_is_looked_after(
    azurite_server: AzuriteServer, container: str, plant: Plant, fault: Fault
) -> None:
    await asyncio.to_thread(
        plant, container, ["tree", *(f"tree/{number}" for number in range(300))]
    )
    async with opened(azurite_server, container, fault) as driver:
        await driver.delete("/tree")
        assert fault.struck >= 1
        assert await driver.list("/") == []


async def test_a_batch_that_was_lost_takes_nothing_that_came_after_it(
    azurite_server: AzuriteServer, container: str, plant: Plant, driver: AzureBlobDriver
) -> None:
    """delete | batch applied, answer lost | rival: create 7, ok. It was deleted as well."""
    await asyncio.to_thread(plant, container, [f"tree/{number}" for number in range(10)])

    async def lose(request: Any, send: Send) -> Any:
        try:
            return await lose_answer().play(request, send)
        finally:
            await driver.put_content("/tree/7", b"a rival's", if_absent=True)

    async with opened(azurite_server, container, Fault("lost", lose, on="Blob Batch")) as deleting:
        with pytest.raises(PartialDeleteError) as caught:
            await deleting.delete("/tree")
        assert caught.value.left == (("/tree/7", "ConditionNotMet"),)
        assert await driver.get_content("/tree/7") == b"a rival's"
        await deleting.delete("/tree")
    assert await driver.list("/") == []


async def test_what_is_overwritten_after_it_was_listed_goes_as_well(
    azurite_server: AzuriteServer, container: str, plant: Plant, driver: AzureBlobDriver
) -> None:
    await asyncio.to_thread(plant, container, [f"tree/{number}" for number in range(10)])

    async def overwrite(request: Any, send: Send) -> Any:
        await driver.put_content("/tree/7", b"a rival's")
        return await send()

    rival = Fault("rival", overwrite, on="Blob Batch")
    async with opened(azurite_server, container, rival) as deleting:
        await deleting.delete("/tree")
    assert await driver.list("/") == []


async def test_what_is_left_is_named_and_deleting_again_finishes(
    azurite_server: AzuriteServer, container: str, plant: Plant, driver: AzureBlobDriver
) -> None:
    await asyncio.to_thread(plant, container, [f"tree/{number}" for number in range(10)])
    lease = await driver._clients.container.get_blob_client("tree/7").acquire_lease()
    with pytest.raises(PartialDeleteError, match="left 1 blobs below /tree") as caught:
        await driver.delete("/tree")
    assert caught.value.left == (("/tree/7", "LeaseIdMissing"),)
    assert await driver.list("/tree") == ["/tree/7"]
    await lease.release()
    await driver.delete("/tree")
    assert await driver.list("/") == []


async def test_snapshots_go_with_their_blob(driver: AzureBlobDriver, plant: Plant) -> None:
    blob = driver._clients.container.get_blob_client("blob")
    await driver.put_content("/blob", b"content")
    await blob.create_snapshot()
    await driver.delete("/blob")
    assert not await blob.exists()


async def test_a_missing_container_is_not_a_missing_path(driver: AzureBlobDriver) -> None:
    await driver._clients.container.delete_container()
    for call in (driver.delete("/x"), driver.get_content("/x"), driver.list("/x")):
        with pytest.raises(BackendError) as caught:
            await call
        assert not isinstance(caught.value, PathNotFoundError)
        assert caught.value.error_code == "ContainerNotFound"
