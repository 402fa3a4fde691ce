"""PutContent under concurrency and faults: whole versions only, whatever happens on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from azure.storage.blob import BlobType
from azure.storage.blob.aio import BlobClient, ContainerClient

from azdriver import (
    AzureBlobDriver,
    BackendError,
    ConcurrentWriteError,
    PathNotFoundError,
    PreconditionFailedError,
)
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import (
    Fault,
    Faults,
    Send,
    answer,
    answer_after,
    arrive_late,
    lose_answer,
    reset,
)
from azdriver.testing.recording import RecordedRequest

PATH = "/tags/latest"


def payload(rng: random.Random) -> bytes:
    """Bytes that show whether they are whole: their own hash goes before them."""
    body = rng.randbytes(rng.randrange(1, 48 * 1024))
    return hashlib.sha256(body).digest() + body


def is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[32:]).digest() == content[:32]


@dataclass
class Outcome:
    reads: int = 0
    torn: int = 0
    missing_after_first_put: int = 0


async def race(
    puts: list[Callable[[bytes], Awaitable[object]]],
    get: Callable[[], Awaitable[bytes]],
    *,
    tasks: int,
    rounds: int,
    readers: int,
) -> Outcome:
    """``tasks`` tasks put ``rounds`` times each, while readers check all that they get."""
    outcome = Outcome()
    first_put = asyncio.Event()
    done = False

    async def write(number: int) -> None:
        rng = random.Random(number)
        for _ in range(rounds):
            await puts[number % len(puts)](payload(rng))
            first_put.set()

    async def read() -> None:
        while not done:
            was_put = first_put.is_set()
            try:
                content = await get()
            except PathNotFoundError:
                outcome.missing_after_first_put += was_put
                continue
            if was_put:  # before it, the planted legacy blob is what is read
                outcome.reads += 1
                outcome.torn += not is_whole(content)

    async with asyncio.TaskGroup() as group:
        for _ in range(readers):
            group.create_task(read())
        async with asyncio.TaskGroup() as writers:
            for number in range(tasks):
                writers.create_task(write(number))
        done = True
    return outcome


async def plant_append_blob(client: BlobClient, content: bytes) -> None:
    await client.create_append_blob()
    await client.append_block(content)


@pytest.fixture
async def sdk(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> AsyncIterator[ContainerClient]:
    """The container by the SDK itself, past the driver."""
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        yield client


async def test_concurrent_puts_over_a_legacy_blob_are_whole_and_never_missing(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, sdk: ContainerClient
) -> None:
    blob = sdk.get_blob_client(PATH[1:])
    await plant_append_blob(blob, payload(random.Random(-1)))
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container
    ) as other:
        outcome = await race(
            [
                lambda content: driver.put_content(PATH, content),
                lambda content: other.put_content(PATH, content),
            ],
            lambda: driver.get_content(PATH),
            tasks=64,
            rounds=20,
            readers=8,
        )
    assert outcome.reads > 100
    assert outcome.torn == 0
    assert outcome.missing_after_first_put == 0
    assert (await blob.get_blob_properties()).blob_type == BlobType.BLOCKBLOB


async def test_the_race_finds_torn_reads_in_the_historical_put(
    driver: AzureBlobDriver, sdk: ContainerClient
) -> None:
    """PutContent as it once was, through the chunked append writer: the check above can fail."""
    blob = sdk.get_blob_client(PATH[1:])

    async def historical_put(content: bytes) -> None:
        await blob.create_append_blob()
        for start in range(0, len(content), 4096):
            await blob.append_block(content[start : start + 4096])

    outcome = await race(
        [historical_put], lambda: driver.get_content(PATH), tasks=8, rounds=3, readers=4
    )
    assert outcome.torn > 0


def with_faults(server: AzuriteServer, container: str, *faults: Fault) -> AzureBlobDriver:
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, wrap_transport=Faults(*faults).wrap
    )


async def test_a_legacy_blob_that_changes_meanwhile_is_not_deleted(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, sdk: ContainerClient
) -> None:
    """Someone migrates between our look and our deletion: its content survives ours."""
    await plant_append_blob(sdk.get_blob_client(PATH[1:]), b"legacy")
    deletions: list[str] = []

    async def play(request: Any, send: Send) -> Any:
        await driver.put_content(PATH, b"a rival's")
        deletions.append("tried")
        return await send()

    rival = Fault("a rival migrates first", play, on="Delete Blob")
    async with with_faults(azurite_server, container, rival) as late:
        await late.put_content(PATH, b"ours")
    assert deletions == ["tried"]
    assert await driver.get_content(PATH) == b"ours"


async def test_an_upload_refused_for_the_blob_type_looks_again(
    azurite_server: AzuriteServer, container: str
) -> None:
    """The service answers 409 where Azurite lets a blob change its type."""
    fault = answer(409, "InvalidBlobType", on="Put Blob", times=3)
    async with with_faults(azurite_server, container, fault) as driver:
        await driver.put_content(PATH, b"content")
        assert await driver.get_content(PATH) == b"content"
    assert fault.struck == 3


async def test_a_steady_fight_about_the_type_ends_in_an_error(
    azurite_server: AzuriteServer, container: str
) -> None:
    fault = answer(409, "InvalidBlobType", on="Put Blob", times=None)
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        retry=RetrySettings(first_delay_seconds=0.001, longest_delay_seconds=0.002),
        wrap_transport=Faults(fault).wrap,
    ) as driver:
        with pytest.raises(ConcurrentWriteError, match="changing the blob's type"):
            await driver.put_content(PATH, b"content")


@pytest.mark.parametrize("code", ["LeaseIdMissing", "SnapshotsPresent"])
async def test_a_legacy_blob_that_may_not_be_deleted_is_an_error_and_stays(
    azurite_server: AzuriteServer, container: str, sdk: ContainerClient, code: str
) -> None:
    blob = sdk.get_blob_client(PATH[1:])
    await plant_append_blob(blob, b"legacy")
    if code == "LeaseIdMissing":
        await blob.acquire_lease()
    else:
        await blob.create_snapshot()
    async with with_faults(azurite_server, container) as driver:
        with pytest.raises(BackendError) as caught:
            await driver.put_content(PATH, b"content")
        assert caught.value.error_code == code
        assert await driver.get_content(PATH) == b"legacy"


@pytest.mark.parametrize("lost", [lose_answer, reset])
@pytest.mark.parametrize("before", [None, b"older"])
@pytest.mark.parametrize("condition", [None, "if_match", "if_absent"])
async def test_a_put_whose_answer_was_lost_succeeds_once(
    azurite_server: AzuriteServer,
    container: str,
    lost: Callable[..., Fault],
    before: bytes | None,
    condition: str | None,
) -> None:
    fault = lost(on="Put Blob", after=0 if before is None else 1)
    async with with_faults(azurite_server, container, fault) as driver:
        etag = None if before is None else (await driver.put_content(PATH, before)).etag
        if condition == "if_match" and etag is None:
            with pytest.raises(PreconditionFailedError):
                await driver.put_content(PATH, b"new", if_match='"0x1"')
            return
        if condition == "if_absent" and etag is not None:
            with pytest.raises(PreconditionFailedError):
                await driver.put_content(PATH, b"new", if_absent=True)
            return
        info = await driver.put_content(
            PATH,
            b"new",
            if_match=etag if condition == "if_match" else None,
            if_absent=condition == "if_absent",
        )
        assert fault.struck == 1
        assert await driver.get_content(PATH) == b"new"
        assert info == await driver.stat(PATH)


async def test_a_lost_put_does_not_undo_what_a_rival_wrote_after_it(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def play(request: Any, send: Send) -> Any:
        try:
            return await lose_answer().play(request, send)
        finally:
            await driver.put_content(PATH, b"a rival's, later")

    async with with_faults(azurite_server, container, Fault("lost", play, on="Put Blob")) as early:
        with pytest.raises(ConcurrentWriteError, match="answer was lost"):
            await early.put_content(PATH, b"ours, earlier")
    assert await driver.get_content(PATH) == b"a rival's, later"


async def test_a_lost_conditional_put_with_a_rival_behind_it_is_not_called_a_success(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def play(request: Any, send: Send) -> Any:
        await driver.put_content(PATH, b"a rival's")
        return await answer_after(500, "OperationTimedOut").play(request, send)

    async with with_faults(azurite_server, container, Fault("lost", play, on="Put Blob")) as early:
        with pytest.raises(ConcurrentWriteError, match="answer was lost"):
            await early.put_content(PATH, b"ours", if_absent=True)
    assert await driver.get_content(PATH) == b"a rival's"


async def test_an_attempt_that_lands_late_is_recognised_as_our_own(
    azurite_server: AzuriteServer, container: str
) -> None:
    """The first upload arrives between our look and the second one, which it refuses."""
    faults = arrive_late(on="Put Blob")
    async with with_faults(azurite_server, container, *faults) as driver:
        info = await driver.put_content(PATH, b"ours")
        assert await driver.get_content(PATH) == b"ours"
        assert info.etag == (await driver.stat(PATH)).etag


async def test_a_content_larger_than_a_block_is_one_put_blob(
    driver: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    content = random.Random(0).randbytes(40 * 1024 * 1024)
    await driver.put_content(PATH, bytearray(content))
    assert [request.operation for request in requests] == ["Get Blob Properties", "Put Blob"]
    requests.clear()
    assert await driver.get_content(PATH) == content
    assert [request.operation for request in requests] == ["Get Blob"]


@pytest.mark.parametrize("lost", [lose_answer, reset])
async def test_a_conditional_put_migrates_although_the_deletions_answer_was_lost(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    sdk: ContainerClient,
    lost: Callable[..., Fault],
) -> None:
    """The legacy content is deleted by then: calling it a failed precondition would lose both."""
    await plant_append_blob(sdk.get_blob_client(PATH[1:]), b"legacy")
    etag = (await driver.stat(PATH)).etag
    async with with_faults(azurite_server, container, lost(on="Delete Blob")) as putting:
        await putting.put_content(PATH, b"new", if_match=etag)
    assert await driver.get_content(PATH) == b"new"


async def test_a_put_that_is_throttled_for_ever_is_not_tried_again_by_two(
    azurite_server: AzuriteServer, container: str
) -> None:
    """The retry policy has used up its attempts: the operation must not multiply them."""
    fault = answer(503, "ServerBusy", on="Put Blob", times=None)
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        retry=RetrySettings(retries=2, first_delay_seconds=0.001),
        wrap_transport=Faults(fault).wrap,
    ) as driver:
        with pytest.raises(BackendError, match="ServerBusy"):
            await driver.put_content(PATH, b"content")
    assert fault.struck == 3
