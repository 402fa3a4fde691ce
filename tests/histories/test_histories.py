"""Histories of real load under faults are linearizable, and the historical algorithms' are not.

The lab is ``azdriver.testing.histories``; the long form of this is
``python -m azdriver.testing.histories --operations 200000 --documented``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from azdriver import AzureBlobDriver, BackendError, ConcurrentWriteError, PathNotFoundError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer, arrive_late, lose_answer, reset
from azdriver.testing.histories import Load, Record, Sent, check_histories, run
from azdriver.testing.linearizability import Write

PATH = "/tags/latest"


@pytest.mark.parametrize(("retries", "unsure"), [(5, False), (5, True), (0, False)])
async def test_the_driver_is_linearizable_under_faults(
    azurite_server: AzuriteServer, retries: int, unsure: bool
) -> None:
    load = Load(
        operations=1500,
        tasks=3,
        paths=5,
        fault_share=0.1,
        retries=retries,
        raise_if_unsure=unsure,
    )
    report = await run(azurite_server.connection_string, load)
    print(report)
    assert len(report.records) >= load.operations
    assert sum(len(record.faults) for record in report.records) > 20
    assert report.undocumented_violations == 0
    if unsure:  # not even the documented limits
        assert report.violations == 0
    if retries == 0:  # nor is any write sent twice
        assert report.violations == 0
        assert sum(report.on_the_wire().values()) == 0


@pytest.mark.parametrize("variant", ["append-writer", "unconditional-delete"])
async def test_the_historical_algorithms_are_rejected(
    azurite_server: AzuriteServer, variant: Any
) -> None:
    operations = 400 if variant == "append-writer" else 1500
    load = Load(operations=operations, tasks=3, paths=4, fault_share=0.0, variant=variant)
    violations = undocumented = 0
    for seed in range(5):  # a race that a single short load may miss
        report = await run(azurite_server.connection_string, replace(load, seed=seed))
        print(report)
        violations += report.violations
        undocumented += report.undocumented_violations
        if violations:
            break
    assert violations > 0
    assert undocumented > 0


async def test_a_failing_process_fails_the_run(azurite_server: AzuriteServer) -> None:
    load = Load(operations=10, variant="unknown")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"process \d failed"):
        await run(azurite_server.connection_string, load)


def record(kind: str, start: int, end: int, outcome: str = "ok", **more: Any) -> Record:
    return Record(kind, PATH, start, end, outcome, **more)


def put(start: int, end: int, value: str, etag: str, **more: Any) -> Record:
    sent = [Sent("Put Blob", start, end, 201, etag)]
    return record("put", start, end, value=value, got=etag, sent=sent, **more)


def violations(*records: Record) -> int:
    return check_histories(Load(operations=len(records)), records).violations


def test_the_records_of_a_move_are_followed() -> None:
    """The value comes along to the destination, and back."""
    sent = [
        Sent("Copy Blob", 3, 4, 202, "e2", source_etag="e1"),
        Sent("Delete Blob", 5, 6, 202),
    ]
    there = record("move", 3, 6, dest="/other", sent=sent, by="there")
    back = Record(
        *("move", "/other", 7, 10, "ok"),
        dest=PATH,
        sent=[Sent("Copy Blob", 7, 8, 202, "e3", source_etag="e2")],
        by="back",
    )
    records = [
        put(1, 2, "a", "e1"),
        there,
        back,
        record("get", 11, 12, got="a"),
        record("stat", 11, 12, got="e3"),
    ]
    assert violations(*records) == 0
    assert violations(*records[:2], *records[3:]) > 0  # without the way back
    assert violations(*records[1:]) > 0  # nothing there to be moved
    assert violations(*records, record("stat", 13, 14, got="e1")) > 0  # the version before


def test_records_that_are_wrong_in_themselves_are_violations() -> None:
    first = put(1, 2, "a", "e1")
    assert violations(first) == 0
    torn = record("get", 3, 4, got="")
    other_etag = record("put", 3, 4, value="b", got="e1", sent=[Sent("Put Blob", 3, 4, 201, "e2")])
    never_copied = record("move", 3, 4, dest="/other")
    for wrong in (torn, other_etag, never_copied):
        assert violations(first, wrong) > 0


def test_a_write_whose_request_may_still_be_under_way_has_no_end() -> None:
    lost = record("put", 1, 2, "unknown", value="a", sent=[Sent("Put Blob", 1)])
    late = [record("get", 3, 4, "missing"), record("get", 5, 6, got="a")]
    assert violations(lost, *late) == 0
    answered = record("put", 1, 2, "unknown", value="a", sent=[Sent("Put Blob", 1, 2, 500)])
    assert violations(answered, *late) > 0


def test_the_documented_limits_are_named_and_excused_only_where_they_were_met() -> None:
    twice = put(1, 9, "a", "e2")
    twice.sent.insert(0, Sent("Put Blob", 1, 2, 201, "e1"))
    deleted = [Sent("Delete Blob", 4, 5, 202)]
    resurrected = [
        record("get", 2, 3, got="a"),
        record("delete", 4, 5, sent=deleted),
        record("get", 10, 11, got="a"),
    ]
    unsure = record("delete", 12, 13, sent=[Sent("Delete Blob", 12, 13, 404)])
    report = check_histories(Load(operations=4), [twice, *resurrected])
    assert (report.violations, report.undocumented_violations) == (1, 0)
    assert report.on_the_wire()["put applied twice"] == 1
    assert "no order explains" in str(report)
    once = check_histories(Load(operations=4), [put(1, 9, "a", "e1"), *resurrected])
    assert once.undocumented_violations == 1
    nothing = check_histories(Load(operations=1), [unsure])
    assert (nothing.violations, nothing.undocumented_violations) == (1, 0)


def test_a_record_survives_its_file() -> None:
    original = put(1, 2, "a", "e1", faults=["Put Blob: lost"], by="0.1")
    assert Record.from_json(original.to_json()) == original
    assert Write(start=1, end=2, version="a", label="x") == Write(start=1, end=2, version="a")


# --- The minimal histories of what the lab found ----------------------------------------------


def opened(
    server: AzuriteServer, container: str, *faults: Fault, retries: int = 3, unsure: bool = False
) -> AzureBlobDriver:
    return AzureBlobDriver.from_connection_string(
        server.connection_string,
        container,
        wrap_transport=Faults(*faults).wrap,
        retry=RetrySettings(retries=retries, first_delay_seconds=0.01, raise_if_unsure=unsure),
    )


def then(fault: Callable[..., Fault], rival: Callable[[], Any], on: str) -> Fault:
    """The fault strikes, and before the driver knows, a rival comes."""

    async def play(request: Any, send: Send) -> Any:
        try:
            return await fault().play(request, send)
        finally:
            await rival()

    return Fault("with a rival", play, on=on)


def aged() -> Fault:
    """What is there seems to be an hour old: the driver trusts the service's clock."""

    async def play(request: Any, send: Send) -> Any:
        response = await send()
        if "Last-Modified" in response.headers:
            an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
            response.headers["Last-Modified"] = format_datetime(an_hour_ago, usegmt=True)
        return response

    return Fault("aged", play, on="Get Blob Properties", times=None)


async def test_a_put_that_was_lost_is_not_called_a_success_after_a_rivals_swap(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """put b | reset before sending | rival: swap a for c, ok. b was never there, nor could be."""
    etag = (await driver.put_content(PATH, b"a")).etag
    rival = then(reset, lambda: driver.put_content(PATH, b"c", if_match=etag), "Put Blob")
    async with opened(azurite_server, container, rival) as lost:
        with pytest.raises(ConcurrentWriteError, match="answer was lost"):
            await lost.put_content(PATH, b"b")
    assert await driver.get_content(PATH) == b"c"


async def test_a_put_that_arrives_late_undoes_nothing(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """The first request arrives when the second has long succeeded, and a rival came after."""
    await driver.put_content(PATH, b"a")
    late: list[Send] = []

    async def play(request: Any, send: Send) -> Any:
        late.append(send)
        return await reset().play(request, send)

    async with opened(azurite_server, container, Fault("late", play, on="Put Blob")) as slow:
        await slow.put_content(PATH, b"b")
        await driver.put_content(PATH, b"c")
        await late[0]()
    assert await driver.get_content(PATH) == b"c"


async def test_a_put_that_a_rival_overtakes_is_sent_once_more_without_a_condition(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def overtake(request: Any, send: Send) -> Any:
        await driver.put_content(PATH, b"a rival's")
        return await send()

    rival = Fault("rival", overtake, on="Put Blob")
    async with opened(azurite_server, container, rival) as overtaken:
        info = await overtaken.put_content(PATH, b"ours")
    assert await driver.get_content(PATH) == b"ours"
    assert info == await driver.stat(PATH)


async def test_a_put_without_a_condition_is_never_sent_again(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def overtake(request: Any, send: Send) -> Any:
        await driver.put_content(PATH, b"a rival's")
        return await send()

    faults = Fault("rival", overtake, on="Put Blob"), reset(on="Put Blob")
    async with opened(azurite_server, container, *faults) as lost:
        with pytest.raises(ConcurrentWriteError, match="answer was lost"):
            await lost.put_content(PATH, b"ours")
    assert await driver.get_content(PATH) == b"a rival's"


async def test_a_deletion_that_was_lost_does_not_delete_what_a_rival_created_after_it(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """delete | applied, answer lost | rival: create b, ok. b was deleted as well."""
    await driver.put_content(PATH, b"a")
    rival = then(lose_answer, lambda: driver.put_content(PATH, b"b", if_absent=True), "Delete Blob")
    async with opened(azurite_server, container, rival) as lost:
        with pytest.raises(BackendError, match="delete failed"):
            await lost.delete(PATH)
    assert await driver.get_content(PATH) == b"b"


@pytest.mark.parametrize("lost", [reset(), answer(500, "InternalError")], ids=lambda f: f.name)
async def test_a_deletion_that_was_not_applied_is_repeated_if_what_is_there_is_old(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, lost: Fault
) -> None:
    await driver.put_content(PATH, b"a")
    once = Fault(lost.name, lost.play, on="Delete Blob")
    async with opened(azurite_server, container, once, aged()) as deleting:
        await deleting.delete(PATH)
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 24 Nov 2026 10:00:00"])
async def test_without_a_date_of_the_service_a_deletion_that_was_lost_is_not_repeated(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, date: str
) -> None:
    async def play(request: Any, send: Send) -> Any:
        response = await aged().play(request, send)
        response.headers["Date"] = date
        return response

    await driver.put_content(PATH, b"a")
    undated = Fault("undated", play, on="Get Blob Properties", times=None)
    async with opened(azurite_server, container, reset(on="Delete Blob"), undated) as deleting:
        with pytest.raises(BackendError, match="delete failed"):
            await deleting.delete(PATH)
    assert await driver.get_content(PATH) == b"a"


async def test_a_deletion_that_was_lost_twice_knows_what_it_deletes(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content(PATH, b"a")
    faults = reset(on="Delete Blob", times=2), aged()
    async with opened(azurite_server, container, *faults) as deleting:
        await deleting.delete(PATH)
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)


async def test_a_repeated_deletion_is_of_the_version_that_it_saw_or_came_after(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content(PATH, b"a")

    async def overwrite(request: Any, send: Send) -> Any:
        await driver.put_content(PATH, b"b")
        return await send()

    faults = reset(on="Delete Blob"), Fault("rival", overwrite, on="Delete Blob"), aged()
    async with opened(azurite_server, container, *faults) as deleting:
        await deleting.delete(PATH)
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)


async def test_a_repeated_deletion_finds_that_a_rival_was_quicker(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content(PATH, b"a")

    async def delete(request: Any, send: Send) -> Any:
        await driver.delete(PATH)
        return await send()

    faults = reset(on="Delete Blob"), Fault("rival", delete, on="Delete Blob"), aged()
    async with opened(azurite_server, container, *faults) as deleting:
        await deleting.delete(PATH)


async def test_a_copy_that_was_lost_does_not_undo_what_a_rival_wrote_after_it(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """move a to d | copied, answer lost | rival: put c at d, ok. c was overwritten by a."""
    await driver.put_content("/source", b"a")
    rival = then(lose_answer, lambda: driver.put_content(PATH, b"c"), "Copy Blob")
    async with opened(azurite_server, container, rival) as lost:
        with pytest.raises(ConcurrentWriteError, match="may have followed it; the source is kept"):
            await lost.move("/source", PATH)
    assert await driver.get_content(PATH) == b"c"
    assert await driver.get_content("/source") == b"a"


@pytest.mark.parametrize("rival_does", ["delete", "overwrite"])
async def test_a_repeated_copy_does_not_say_that_nothing_was_copied(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, rival_does: str
) -> None:
    """The first copy may have been applied: "not found" of the source would be no true word."""
    await driver.put_content("/source", b"a")

    async def rival() -> None:
        if rival_does == "delete":
            await driver.delete("/source")
        else:
            await driver.put_content("/source", b"b")

    async with opened(azurite_server, container, then(reset, rival, "Copy Blob")) as lost:
        with pytest.raises(ConcurrentWriteError, match="answer was lost"):
            await lost.move("/source", PATH)


async def test_a_copy_that_arrives_late_is_recognised_as_our_own(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/source", b"a")
    faults = arrive_late(on="Copy Blob")
    async with opened(azurite_server, container, *faults) as moving:
        await moving.move("/source", PATH)
    assert await driver.get_content(PATH) == b"a"
    with pytest.raises(PathNotFoundError):
        await driver.stat("/source")


@pytest.mark.parametrize("lost", [reset, lose_answer])
async def test_without_retries_nothing_is_sent_twice(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, lost: Any
) -> None:
    await driver.put_content("/source", b"a")
    await driver.put_content("/other", b"b")
    fault = lost(on="Delete Blob")
    async with opened(azurite_server, container, fault, retries=0) as careful:
        with pytest.raises(BackendError):
            await careful.delete("/other")
        assert fault.struck == 1
    if lost is reset:
        for operation in ("Put Blob", "Copy Blob"):
            async with opened(azurite_server, container, reset(on=operation), retries=0) as careful:
                with pytest.raises(BackendError):
                    if operation == "Put Blob":
                        await careful.put_content(PATH, b"c")
                    else:
                        await careful.move("/source", PATH)
                with pytest.raises(PathNotFoundError):
                    await driver.stat(PATH)


async def test_limit_a_put_onto_nothing_comes_back_after_a_deletion_that_it_did_not_see(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """A documented limit: put a | applied, answer lost | rival: delete, ok. a is there again.

    Nothing tells "never applied" from "applied and deleted". An error instead would fail every
    put onto a new path whose request was lost or answered 500, which is far more frequent.
    """
    rival = then(lose_answer, lambda: driver.delete(PATH), "Put Blob")
    async with opened(azurite_server, container, rival) as lost:
        await lost.put_content(PATH, b"a")
    assert await driver.get_content(PATH) == b"a"


async def test_limit_a_deletion_whose_answer_was_lost_succeeds_where_nothing_was(
    azurite_server: AzuriteServer, container: str
) -> None:
    """A documented limit: it cannot know whether it was itself that left nothing there."""
    async with opened(azurite_server, container, lose_answer(on="Delete Blob")) as deleting:
        await deleting.delete(PATH)
        with pytest.raises(PathNotFoundError):
            await deleting.delete(PATH)


async def test_a_driver_that_is_to_raise_if_unsure_puts_nothing_back(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    rival = then(lose_answer, lambda: driver.delete(PATH), "Put Blob")
    async with opened(azurite_server, container, rival, unsure=True) as lost:
        with pytest.raises(BackendError, match="nothing is there: never written, or deleted"):
            await lost.put_content(PATH, b"a")
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)


async def test_a_driver_that_is_to_raise_if_unsure_copies_nothing_twice(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/source", b"a")
    rival = then(lose_answer, lambda: driver.delete(PATH), "Copy Blob")
    async with opened(azurite_server, container, rival, unsure=True) as lost:
        with pytest.raises(BackendError, match="nothing is there; the source is kept"):
            await lost.move("/source", PATH)
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)
    assert await driver.get_content("/source") == b"a"


@pytest.mark.parametrize("existed", [True, False])
async def test_a_driver_that_is_to_raise_if_unsure_does_not_guess_what_it_deleted(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, existed: bool
) -> None:
    if existed:
        await driver.put_content(PATH, b"a")
    lost = lose_answer(on="Delete Blob")
    async with opened(azurite_server, container, lost, unsure=True) as deleting:
        with pytest.raises(BackendError, match="delete failed"):
            await deleting.delete(PATH)
        with pytest.raises(PathNotFoundError):
            await deleting.delete(PATH)


async def test_a_driver_that_is_to_raise_if_unsure_still_sends_again_what_it_can_judge(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content(PATH, b"a")
    await driver.put_content("/source", b"b")
    faults = reset(on="Put Blob"), reset(on="Copy Blob"), reset(on="Delete Blob"), aged()
    async with opened(azurite_server, container, *faults, unsure=True) as careful:
        await careful.put_content(PATH, b"c")
        await careful.move("/source", PATH)
        await careful.delete(PATH)
    assert [fault.struck for fault in faults[:3]] == [1, 1, 1]
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)


async def test_a_deletion_that_arrived_late_is_not_called_a_deletion_of_nothing(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    """The service says 404 of a condition on what is gone, where Azurite says 412."""
    await driver.put_content(PATH, b"a")
    late, behind = arrive_late(on="Delete Blob")

    async def gone(request: Any, send: Send) -> Any:
        await behind.play(request, send)
        return await answer(404, "BlobNotFound").play(request, send)

    faults = late, Fault("gone", gone, on="Delete Blob"), aged()
    async with opened(azurite_server, container, *faults, unsure=True) as deleting:
        with pytest.raises(BackendError, match="delete failed"):
            await deleting.delete(PATH)
    with pytest.raises(PathNotFoundError):
        await driver.stat(PATH)
