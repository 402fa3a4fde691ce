"""Moves: the source goes only when the copy is whole, and only what was copied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from azure.storage.blob import BlobType

from azdriver import AzureBlobDriver, BackendError, ConcurrentWriteError, PathNotFoundError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import (
    Fault,
    Faults,
    Play,
    Send,
    answer,
    answer_after,
    lose_answer,
    reset,
)
from azdriver.testing.recording import operation_of


def opened(
    server: AzuriteServer, container: str, *faults: Fault, **options: Any
) -> AzureBlobDriver:
    options = {
        "retry": RetrySettings(retries=3, first_delay_seconds=0.01),
        "copy_poll_seconds": 0.01,
        **options,
    }
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, wrap_transport=Faults(*faults).wrap, **options
    )


async def _an_hour_ago(request: Any, send: Send) -> Any:
    response = await send()
    if "Last-Modified" in response.headers:
        response.headers["Last-Modified"] = format_datetime(
            datetime.now(UTC) - timedelta(hours=1), usegmt=True
        )
    return response


@pytest.mark.parametrize(
    "fault",
    [
        lose_answer(on="Copy Blob"),
        reset(on="Copy Blob"),
        answer(500, "InternalError", on="Copy Blob"),
        answer_after(500, "OperationTimedOut", on="Copy Blob"),
        answer(409, "InvalidBlobType", on="Copy Blob"),
        lose_answer(on="Delete Blob"),
        reset(on="Delete Blob"),
    ],
    ids=lambda fault: f"{fault.on}: {fault.name}",
)
async def test_a_lost_answer_is_looked_after(
    azurite_server: AzuriteServer, container: str, fault: Fault
) -> None:
    aged = Fault("aged", _an_hour_ago, on="Get Blob Properties", times=None)
    async with opened(azurite_server, container, fault, aged) as driver:
        await driver.put_content("/source", b"content")
        await driver.put_content("/dest", b"older")
        await driver.move("/source", "/dest")
        assert fault.struck == 1
        assert await driver.get_content("/dest") == b"content"
        with pytest.raises(PathNotFoundError):
            await driver.stat("/source")


async def test_a_source_overwritten_after_the_copy_is_kept(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def play(request: Any, send: Send) -> Any:
        await driver.put_content("/source", b"written in between")
        return await send()

    async with opened(azurite_server, container, Fault("rival", play, on="Delete Blob")) as moving:
        await driver.put_content("/source", b"content")
        with pytest.raises(ConcurrentWriteError, match="copied and kept"):
            await moving.move("/source", "/dest")
    assert await driver.get_content("/source") == b"written in between"
    assert await driver.get_content("/dest") == b"content"


async def test_a_source_overwritten_before_the_copy_is_not_copied(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def play(request: Any, send: Send) -> Any:
        await driver.put_content("/source", b"written in between")
        return await send()

    async with opened(azurite_server, container, Fault("rival", play, on="Copy Blob")) as moving:
        await driver.put_content("/source", b"content")
        with pytest.raises(ConcurrentWriteError, match="overwritten before"):
            await moving.move("/source", "/dest")
    with pytest.raises(PathNotFoundError):
        await driver.stat("/dest")


def copy_status(status: str, *, looks: int | None) -> list[Fault]:
    """The service's copies take time, and can fail; Azurite's are finished at once."""

    def rewrite(to: str) -> Play:
        async def play(request: Any, send: Send) -> Any:
            response = await send()
            response.headers["x-ms-copy-status"] = to
            return response

        return play

    async def look(request: Any, send: Send) -> Any:
        response = await send()
        if "x-ms-copy-status" in response.headers:
            response.headers["x-ms-copy-status"] = status
        return response

    return [
        Fault("pending", rewrite("pending"), on="Copy Blob"),
        # The first look is at the source.
        Fault(status, look, on="Get Blob Properties", after=1, times=looks),
    ]


async def test_a_pending_copy_is_waited_for(azurite_server: AzuriteServer, container: str) -> None:
    faults = copy_status("pending", looks=3)
    async with opened(azurite_server, container) as driver:
        async with driver.writer("/source") as writer:
            await writer.write(b"content")
    async with opened(azurite_server, container, *faults) as driver:
        await driver.move("/source", "/dest")
        assert [fault.struck for fault in faults] == [1, 3]
        assert await driver.get_content("/dest") == b"content"
        with pytest.raises(PathNotFoundError):
            await driver.stat("/source")


@pytest.mark.parametrize("status", ["failed", "aborted"])
async def test_a_copy_that_failed_keeps_the_source(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, status: str
) -> None:
    await driver.put_content("/source", b"content")
    async with opened(azurite_server, container, *copy_status(status, looks=None)) as moving:
        with pytest.raises(BackendError, match=f"status is {status}; the source is kept"):
            await moving.move("/source", "/dest")
    assert await driver.get_content("/source") == b"content"


async def test_a_copy_that_does_not_end_is_aborted_and_the_source_kept(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/source", b"content")
    sent: list[str] = []

    async def watch(request: Any, send: Send) -> Any:
        sent.append(operation_of(request))
        return await send()

    faults = [*copy_status("pending", looks=None), Fault("watch", watch, times=None)]
    async with opened(azurite_server, container, *faults, copy_timeout_seconds=0.05) as moving:
        with pytest.raises(BackendError, match=r"no end within 0\.05 s, aborted"):
            await moving.move("/source", "/dest")
    assert "Abort Copy Blob" in sent
    assert await driver.get_content("/source") == b"content"


async def test_the_types_are_kept_and_replaced(
    azurite_server: AzuriteServer, driver: AzureBlobDriver
) -> None:
    async with driver.writer("/stream") as writer:
        await writer.write(b"stream")
        await writer.commit()
    await driver.put_content("/content", b"content")
    await driver.move("/stream", "/content")
    assert await driver.get_content("/content") == b"stream"
    properties = await driver._clients.container.get_blob_client("content").get_blob_properties()
    assert properties.blob_type == BlobType.APPENDBLOB


async def test_moving_onto_itself_keeps_the_content(driver: AzureBlobDriver) -> None:
    await driver.put_content("/same", b"content")
    await driver.move("/same", "/same")
    assert await driver.get_content("/same") == b"content"
    with pytest.raises(PathNotFoundError):
        await driver.move("/missing", "/missing")


async def test_metadata_goes_along(driver: AzureBlobDriver) -> None:
    container = driver._clients.container
    await container.upload_blob("source", b"content", metadata={"owner": "someone"})
    await driver.move("/source", "/dest")
    properties = await container.get_blob_client("dest").get_blob_properties()
    assert properties.metadata["owner"] == "someone"
