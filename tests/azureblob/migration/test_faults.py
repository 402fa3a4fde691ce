"""Migrations whose requests meet faults, other migrations, and runs that were killed."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from azdriver.azureblob import AzureBlobOptions
from azdriver.azureblob.migration import MigrationSettings, migrate, plan_migration
from azdriver.testing.faults import (
    Fault,
    Faults,
    Send,
    answer,
    answer_after,
    arrive_late,
    cut_answer,
    lose_answer,
    reset,
)
from azdriver.testing.recording import operation_of

from .conftest import Migrate, Raw

BLOCK = "BlockBlob"
LARGE = bytes(range(256)) * 17_000  # two blocks
RIGHT = {
    "move": ("BlockBlob", b"move"),
    "both": ("BlockBlob", b"both"),
    "here": ("BlockBlob", b"here"),
    "large": ("BlockBlob", LARGE),
}


async def plant(raw: Raw) -> None:
    await raw.put("/move", b"move")
    await raw.append("/both", b"both")
    await raw.append("here", b"here")
    await raw.append("large", LARGE)


OPERATIONS = [
    "Copy Blob",
    "Delete Blob",
    "Put Blob",
    "Put Block",
    "Put Block List",
    "Get Blob",
    "Get Blob Properties",
    "List Blobs",
]
WRITES = OPERATIONS[:5]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [lose_answer, cut_answer, reset])
@pytest.mark.parametrize("after", [0, 2])
async def test_a_fault_loses_nothing(
    raw: Raw, migrated: Migrate, operation: str, fault: Any, after: int
) -> None:
    await plant(raw)
    struck = fault(on=operation, after=after)
    report = await migrated(struck, convert="all", parallel=2)
    assert report.is_complete, report
    assert await raw.contents() == RIGHT


@pytest.mark.parametrize("operation", WRITES)
async def test_an_answer_of_500_after_the_effect_loses_nothing(
    raw: Raw, migrated: Migrate, operation: str
) -> None:
    await plant(raw)
    await migrated(answer_after(500, "OperationTimedOut", on=operation, times=3), convert="all")
    report = await migrated(convert="all")
    assert report.is_complete, report
    assert await raw.contents() == RIGHT


@pytest.mark.parametrize("operation", WRITES)
async def test_a_request_that_arrives_late_loses_nothing(
    raw: Raw, migrated: Migrate, operation: str
) -> None:
    await plant(raw)
    await migrated(*arrive_late(on=operation), convert="all", parallel=1)
    report = await migrated(convert="all")
    assert report.is_complete, report
    assert await raw.contents() == RIGHT


async def test_every_answer_lost_for_ever_loses_nothing(raw: Raw, migrated: Migrate) -> None:
    await plant(raw)
    for operation in WRITES:
        await migrated(lose_answer(on=operation, times=None), convert="all")
    report = await migrated(convert="all")
    assert report.is_complete, report
    assert await raw.contents() == RIGHT


async def test_two_migrations_at_once_lose_nothing(raw: Raw, options: AzureBlobOptions) -> None:
    expected = {}
    for number in range(30):
        await raw.append(f"/m{number}", b"%d" % number)
        await raw.append(f"c{number}", b"%d" % number)
        expected[f"m{number}"] = expected[f"c{number}"] = ("BlockBlob", b"%d" % number)
    reports = await asyncio.gather(*(migrate(options) for _ in range(3)))
    assert all(report.conflicts == 0 for report in reports), reports
    assert (await migrate(options)).is_complete
    assert await raw.contents() == expected


async def test_a_newer_copy_of_another_migration_is_not_taken_for_an_outdated_one(
    raw: Raw, options: AzureBlobOptions
) -> None:
    """It would be deleted in the moment in which that one deletes the source."""
    stream = {"azdriver_write_id": "a stream of today's"}
    await raw.append("/a", b"1", metadata=stream)
    deleted: list[str] = []

    async def another_is_quicker(request: Any, send: Send) -> Any:
        answer = await send()
        # As the other one sees it: the source is newer by now, and the copy outdated.
        await raw.sdk.delete_blob("a")
        await raw.append("/a", b"12", metadata=stream)
        deleted.clear()
        crash = Faults(Fault("crash", _crash, on="Delete Blob"))
        with pytest.raises(BaseExceptionGroup):
            await migrate(options, wrap_transport=crash.wrap)
        return answer

    async def watch(request: Any, send: Send) -> Any:
        deleted.append(urlsplit(request.url).path)
        return await send()

    faults = Faults(
        Fault("rival", another_is_quicker, on="Copy Blob"),
        Fault("watch", watch, on="Delete Blob", times=None),
    )
    assert (await migrate(options, wrap_transport=faults.wrap)).is_complete
    assert [path.rpartition(options.container)[2] for path in deleted] == ["//a"]
    assert await raw.contents() == {"a": ("AppendBlob", b"12")}


async def _crash(request: Any, send: Send) -> Any:
    raise Crash


class Crash(BaseException):
    """What no code of ours catches."""


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("applied", [True, False])
async def test_a_run_that_ended_at_any_write_is_finished_by_the_next(
    raw: Raw, options: AzureBlobOptions, operation: str, applied: bool
) -> None:
    await plant(raw)

    async def crash(request: Any, send: Send) -> Any:
        if applied:
            await send()
        raise Crash

    settings = MigrationSettings(convert="all", parallel=1)
    faults = Faults(Fault("crash", crash, on=operation))
    with pytest.raises(BaseExceptionGroup) as caught:
        await migrate(options, settings, wrap_transport=faults.wrap)
    assert caught.group_contains(Crash)
    contents = (await raw.contents()).values()
    assert {content for _, content in contents} == {content for _, content in RIGHT.values()}
    report = await migrate(options, settings)
    assert report.is_complete, report
    assert await raw.contents() == RIGHT


async def test_a_stale_copy_of_a_run_that_was_killed_is_replaced(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.append("/a", b"1" * 101, metadata={"azdriver_write_id": "a stream of today's"})

    faults = Faults(Fault("crash", _crash, on="Delete Blob"))
    with pytest.raises(BaseExceptionGroup):
        await migrate(options, wrap_transport=faults.wrap)
    await raw.sdk.get_blob_client("/a").append_block(b"2")
    assert len((await raw.contents())["a"][1]) == 101
    assert (await migrate(options)).is_complete
    assert await raw.contents() == {"a": ("AppendBlob", b"1" * 101 + b"2")}


async def test_a_copy_that_others_went_on_with_is_not_replaced(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.append("/a", b"1", metadata={"azdriver_write_id": "a stream of today's"})

    faults = Faults(Fault("crash", _crash, on="Delete Blob"))
    with pytest.raises(BaseExceptionGroup):
        await migrate(options, wrap_transport=faults.wrap)
    # Not by appending: Azurite appends to a copy and to its source at once.
    mark = (await raw.properties("a")).metadata
    await raw.append("a", b"1new", metadata=mark)
    await raw.append("/a", b"1old", metadata=mark)
    report = await migrate(options)
    assert report.conflicts == 1
    assert {name: content for name, (_, content) in (await raw.contents()).items()} == {
        "/a": b"1old",
        "a": b"1new",
    }


async def test_a_blob_that_was_written_anew_after_its_move_does_not_replace_the_one_that_moved(
    raw: Raw, options: AzureBlobOptions
) -> None:
    for name in ("/a", "/b"):
        await raw.append(name, b"old")
    assert (await migrate(options)).moved == 2
    await raw.put("/a", b"new")
    await raw.append("/b", b"old, and longer")
    plan = await plan_migration(options)
    assert (plan.conflicts, plan.unfinished) == (2, 0)
    report = await migrate(options)
    # Of b nothing would be lost; of the service's times, in seconds, these are one.
    assert (report.moved, report.conflicts) in ((1, 1), (0, 2))
    contents = await raw.contents()
    assert contents["a"] == (BLOCK, b"old")
    assert contents["/a"] == (BLOCK, b"new")


async def test_a_blob_that_another_migration_has_moved_meanwhile_is_gone(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.put("/a", b"content", tags={"tag": "1"})

    async def another(request: Any, send: Send) -> Any:
        assert (await migrate(options)).moved == 1
        return await send()

    for operation in ("Copy Blob", "Get Blob Tags"):
        faults = Faults(Fault("rival", another, on=operation))
        report = await migrate(options, wrap_transport=faults.wrap)
        assert (report.gone, report.failed, report.is_complete) == (1, 0, True)
        assert await raw.contents() == {"a": (BLOCK, b"content")}
        await raw.put("/a", b"content", tags={"tag": "1"})
        await raw.sdk.delete_blob("a")


@pytest.mark.parametrize("status", ["pending", "failed"])
async def test_copies_that_take_time_and_can_fail(raw: Raw, migrated: Migrate, status: str) -> None:
    """As the service's do; Azurite's are finished at once."""
    await raw.put("/a", b"content")

    async def started(request: Any, send: Send) -> Any:
        response = await send()
        response.headers["x-ms-copy-status"] = "pending"
        return response

    async def look(request: Any, send: Send) -> Any:
        response = await send()
        if "x-ms-copy-status" in response.headers:
            response.headers["x-ms-copy-status"] = status
        return response

    looks = Fault(status, look, on="Get Blob Properties", times=4)
    report = await migrated(Fault("started", started, on="Copy Blob"), looks)
    if status == "failed":
        assert report.failed == 1
        assert "the source is kept" in report.incidents[0].reason
        assert (await raw.contents())["/a"] == ("BlockBlob", b"content")
        # What it left is known by its mark, and made anew.
        looks.struck = 0
        report = await migrated(looks)
    assert report.is_complete
    assert await raw.contents() == {"a": ("BlockBlob", b"content")}


async def test_a_copy_left_pending_by_a_killed_run_is_waited_for(
    raw: Raw, options: AzureBlobOptions
) -> None:
    await raw.put("/a", b"content")

    faults = Faults(Fault("crash", _crash, on="Delete Blob"))
    with pytest.raises(BaseExceptionGroup):
        await migrate(options, wrap_transport=faults.wrap)
    sent: list[str] = []

    async def pending(request: Any, send: Send) -> Any:
        response = await send()
        if "x-ms-copy-status" in response.headers:
            response.headers["x-ms-copy-status"] = "pending"
        return response

    async def watch(request: Any, send: Send) -> Any:
        sent.append(operation_of(request))
        return await send()

    faults = Faults(
        Fault("pending", pending, on="Get Blob Properties", times=5),
        Fault("watch", watch, times=None),
    )
    report = await migrate(options, wrap_transport=faults.wrap)
    assert report.is_complete
    assert "Copy Blob" not in sent
    assert await raw.contents() == {"a": ("BlockBlob", b"content")}


async def test_a_service_that_wants_the_same_type_is_no_hindrance(
    raw: Raw, migrated: Migrate
) -> None:
    await raw.append("/a", b"content")
    report = await migrated(answer(409, "InvalidBlobType", on="Put Blob"))
    assert report.is_complete or (await migrated()).is_complete
    assert await raw.contents() == {"a": ("BlockBlob", b"content")}


async def test_a_foreign_blob_among_the_backups_is_left(raw: Raw, migrated: Migrate) -> None:
    await raw.put("~azdriver-migration/else", b"mine")
    report = await migrated()
    assert (report.skipped, report.incidents[0].reason) == (1, "it is no backup of a migration")
    assert await raw.contents() == {"~azdriver-migration/else": ("BlockBlob", b"mine")}
