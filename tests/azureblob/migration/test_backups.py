"""Blobs that are converted under their own names: what is gone on with, and what is kept."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from azdriver.azureblob import AzureBlobOptions
from azdriver.azureblob.migration import MigrationSettings, migrate, plan_migration
from azdriver.testing.faults import Fault, Faults, Send, answer, lose_answer
from azdriver.testing.recording import operation_of

from .conftest import Migrate, Raw

BLOCK, APPEND = "BlockBlob", "AppendBlob"
KEPT = "another content was written while it was converted; the earlier one is kept"


class Crash(BaseException):
    """What no code of ours catches."""


async def crash_at(options: AzureBlobOptions, operation: str) -> None:
    """Run a migration that ends before its first request of a kind."""

    async def crash(request: Any, send: Send) -> Any:
        raise Crash

    faults = Faults(Fault("crash", crash, on=operation))
    with pytest.raises(BaseExceptionGroup) as caught:
        await migrate(options, wrap_transport=faults.wrap)
    assert caught.group_contains(Crash)


async def backups(raw: Raw) -> list[bytes]:
    return [
        content for name, (_, content) in (await raw.contents()).items() if name.startswith("~")
    ]


async def start_of_a_second() -> None:
    """So that what is created next is created within one: all that Azurite tells of it."""
    await asyncio.sleep(1.02 - time.time() % 1)


async def test_a_blob_does_not_move_onto_one_that_is_being_converted(
    raw: Raw, options: AzureBlobOptions
) -> None:
    """Its name is free for a moment, and its content in the backup."""
    await raw.put("/a", b"of the old layout")
    await raw.append("a", b"being converted")

    async def rival(request: Any, send: Send) -> Any:
        answer = await send()
        await crash_at(options, "Copy Blob")
        return answer

    # After a look whether there is a container, and the listing of the backups.
    faults = Faults(Fault("rival", rival, on="List Blobs", after=2))
    report = await migrate(options, MigrationSettings(convert="none"), wrap_transport=faults.wrap)
    assert (report.moved, report.changed) == (0, 1)
    assert sorted(content for _, content in (await raw.contents()).values()) == [
        b"being converted",
        b"of the old layout",
    ]
    report = await migrate(options)
    assert (report.finished, report.conflicts) == (1, 1)
    assert await raw.contents() == {
        "/a": (BLOCK, b"of the old layout"),
        "a": (BLOCK, b"being converted"),
    }


async def test_an_earlier_content_never_comes_back_once_another_was_found(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    await raw.put("a", b"new")
    report = await migrated()
    assert (report.conflicts, report.is_complete) == (1, False)
    assert report.incidents[0].reason.startswith(KEPT)
    await raw.sdk.delete_blob("a")

    report = await migrated()
    assert (report.conflicts, report.finished) == (1, 0)
    assert list((await raw.contents()).values()) == [(BLOCK, b"old")]
    plan = await plan_migration(options)
    assert (plan.conflicts, plan.unfinished, plan.drops) == (1, 0, 0)
    assert plan.incidents == report.incidents

    # And it is in nobody's way.
    await raw.put("/a", b"of the old layout")
    assert (await migrated()).moved == 1

    plan = await plan_migration(options, MigrationSettings(drop_superseded=True))
    assert (plan.conflicts, plan.drops) == (0, 1)
    report = await migrated(drop_superseded=True)
    assert (report.dropped, report.is_complete) == (1, True)
    assert await raw.contents() == {"a": (BLOCK, b"of the old layout")}


async def test_what_the_run_itself_has_found_in_conflict_is_not_dropped(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    await raw.put("a", b"new")
    report = await migrated(drop_superseded=True)
    assert (report.conflicts, report.dropped) == (1, 0)
    assert await backups(raw) == [b"old"]


async def test_a_lost_answer_to_the_mark_is_no_hindrance(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    await raw.put("a", b"new")
    fault = lose_answer(on="Set Blob Metadata")
    assert (await migrated(fault, drop_superseded=True)).conflicts == 1
    assert fault.struck == 1
    assert await backups(raw) == [b"old"]
    assert (await migrated(drop_superseded=True)).dropped == 1


async def test_a_conflict_that_was_found_after_the_listing_is_not_dropped(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    await raw.put("a", b"new")

    async def another_finds_it(request: Any, send: Send) -> Any:
        answer = await send()
        assert (await migrate(options)).conflicts == 1
        return answer

    listed = Fault("rival", another_finds_it, on="List Blobs", after=1)
    report = await migrated(listed, drop_superseded=True)
    assert (report.conflicts, report.dropped) == (1, 0)
    assert await backups(raw) == [b"old"]


async def test_an_append_blob_whose_earlier_content_is_kept_waits_for_it_to_be_dropped(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    await raw.append("a", b"new")
    for _ in range(2):
        report = await migrated()
        assert (report.converted, report.conflicts, len(report.incidents)) == (0, 1, 1)
    plan = await plan_migration(options)
    assert (plan.conversions, plan.conflicts) == (0, 1)
    report = await migrated(drop_superseded=True)
    assert (report.dropped, report.converted, report.is_complete) == (1, 1, True)
    assert await raw.contents() == {"a": (BLOCK, b"new")}


@pytest.mark.parametrize("status", [403, 409, 500, 503])
async def test_a_source_that_the_service_could_not_look_at_is_not_taken_for_gone(
    raw: Raw, migrated: Migrate, status: int
) -> None:
    """Only with 404 does CannotVerifyCopySource say that it is."""
    await raw.append("a", b"content")
    fault = answer(status, "CannotVerifyCopySource", on="Copy Blob", times=None)
    report = await migrated(fault)
    assert (report.gone, report.failed, report.is_complete) == (0, 1, False)
    assert (report.stopped is not None) == (status == 403)
    assert await backups(raw) == [b"content"]
    assert (await migrated()).finished == 1
    assert await raw.contents() == {"a": (BLOCK, b"content")}


async def test_tags_that_were_changed_meanwhile_go_along(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    """A change of tags changes no ETag."""
    for name in ("a", "b", "/c"):
        await raw.append(name, b"content", tags={"tag": "1"} if name != "b" else None)
    for name in ("a", "b", "/c"):
        await crash_at(options, "Delete Blob")
        await raw.sdk.get_blob_client(name).set_blob_tags({"tag": "2"})
    assert (await migrated()).is_complete
    for name in ("a", "b", "c"):
        assert await raw.sdk.get_blob_client(name).get_blob_tags() == {"tag": "2"}, name


async def test_what_marks_a_backup_is_never_on_a_blob(raw: Raw, migrated: Migrate) -> None:
    """A backup that someone copied back under the blob's name, say."""
    marks = {
        "azdriver_migrated_name": "else",
        "azdriver_migrated_created": "then",
        "azdriver_migrated_superseded": "true",
    }
    await raw.append("a", b"content", metadata={"mine": "1", **marks})
    assert (await migrated()).is_complete
    metadata = (await raw.properties("a")).metadata
    assert metadata["mine"] == "1"
    assert not marks.keys() & metadata.keys()


async def test_a_copy_that_comes_late_does_not_bring_back_what_was_superseded(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions
) -> None:
    await raw.append("a", b"old")

    async def late(request: Any, send: Send) -> Any:
        await raw.put("a", b"new")
        assert (await migrate(options)).conflicts == 1
        await raw.sdk.delete_blob("a")
        return await send()

    report = await migrated(Fault("late", late, on="Copy Blob"))
    assert report.conflicts == 1
    assert list(await raw.contents()) == [report.incidents[0].dest]


@pytest.mark.parametrize(
    ("written", "is_kept"),
    [
        (b"new", True),
        (b"a longer one", True),
        (b"", True),
        (b"old", False),
        (b"old, and what was appended", False),
    ],
)
async def test_a_blob_of_the_same_second_is_known_by_its_content(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions, written: bytes, is_kept: bool
) -> None:
    """The time of creation, in seconds, would take it for the blob that was there before."""
    await start_of_a_second()
    await raw.append("a", b"old")
    created = (await raw.properties("a")).creation_time
    await crash_at(options, "Copy Blob")
    await raw.append("a", written)
    assert (await raw.properties("a")).creation_time == created, "a slow machine: run it again"
    report = await migrated(convert="none")
    assert report.conflicts == is_kept
    assert await backups(raw) == [b"old"] * is_kept
    assert (await raw.contents())["a"] == (APPEND, written)


async def test_a_blob_that_was_overwritten_before_it_was_deleted_is_taken_as_it_is(
    raw: Raw, migrated: Migrate
) -> None:
    """Whoever overwrote it has seen what was there: nothing is kept of that."""
    await raw.append("a", b"old")
    created = {"x-ms-creation-time": "Sun, 03 Apr 2016 05:06:07 GMT"}

    async def rival(request: Any, send: Send) -> Any:
        answer = await send()
        await raw.append("a", b"new")
        return answer

    async def look(request: Any, send: Send) -> Any:
        response = await send()
        if urlsplit(request.url).path.endswith("/a"):
            response.headers.update(created)  # the service keeps it, Azurite does not
        return response

    report = await migrated(
        Fault("rival", rival, on="Put Blob"),
        Fault("look", look, on="Get Blob Properties", times=None),
    )
    assert report.is_complete, report
    assert await raw.contents() == {"a": (BLOCK, b"new")}


@pytest.mark.parametrize("metadata", [None, {"azdriver_migrated_name": "a"}])
async def test_a_foreign_blob_at_the_name_of_a_backup_is_left(
    raw: Raw, migrated: Migrate, options: AzureBlobOptions, metadata: dict[str, str] | None
) -> None:
    await raw.append("a", b"old")
    await crash_at(options, "Delete Blob")
    (backup,) = [name for name in await raw.contents() if name.startswith("~")]
    await raw.put(backup, b"foreign", metadata=metadata)
    await raw.put("/b", b"moves")

    report = await migrated()
    assert (report.skipped, report.failed, report.moved) == (1, 1, 1)
    assert f"{backup!r} is in the way" in report.incidents[1].reason
    plan = await plan_migration(options)
    assert (plan.skipped, plan.unfinished) == (1, 0)
    expected = {"a": (APPEND, b"old"), backup: (BLOCK, b"foreign"), "b": (BLOCK, b"moves")}
    assert await raw.contents() == expected
    await raw.put("/a", b"another")
    await raw.sdk.delete_blob("a")
    report = await migrated()
    assert (report.failed, report.moved) == (1, 0)
    assert (await raw.contents())["/a"] == (BLOCK, b"another")


async def test_a_backup_that_was_listed_is_dropped_by_its_etag_in_quotes(
    raw: Raw, options: AzureBlobOptions
) -> None:
    """As HTTP has it: in a listing the service gives them without."""
    await raw.append("a", b"old")
    await crash_at(options, "Copy Blob")
    etags: list[str] = []

    async def watch(request: Any, send: Send) -> Any:
        if operation_of(request) == "Delete Blob":
            etags.append(request.headers["If-Match"])
        return await send()

    faults = Faults(Fault("watch", watch, times=None))
    assert (await migrate(options, wrap_transport=faults.wrap)).finished == 1
    assert etags
    assert all(etag.startswith('"') and etag.endswith('"') for etag in etags)
