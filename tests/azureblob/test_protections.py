"""Each protection, switched on and off: the checks can fail, and each protection is needed.

It is switched off on the wire, by taking the condition out of the request; with a SAS credential,
since an account key signs the condition too. All else is the driver as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from azdriver import (
    AzureBlobDriver,
    BackendError,
    ConcurrentWriteError,
    PathNotFoundError,
    StorageDriverError,
)
from azdriver.azureblob import AzureBlobOptions, RetrySettings, SasToken
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send
from azdriver.testing.recording import operation_of

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[AzureBlobDriver]]
both = pytest.mark.parametrize("protected", [True, False], ids=["protected", "switched off"])


@pytest.fixture
def opened(azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver) -> Open:
    """A driver with faults, and without the headers named."""

    @asynccontextmanager
    async def open_one(
        *faults: Fault, without: str = "", on: str = ""
    ) -> AsyncIterator[AzureBlobDriver]:
        async def strip(request: Any, send: Send) -> Any:
            if operation_of(request) == on:
                request.headers.pop(without, None)
            return await send()

        sas = generate_container_sas(
            azurite_server.account_name,
            container,
            account_key=azurite_server.account_key,
            permission=ContainerSasPermissions(
                read=True, write=True, delete=True, list=True, add=True, create=True
            ),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        options = AzureBlobOptions(
            account_url=azurite_server.blob_endpoint,
            container=container,
            credential=SasToken(sas),
            append_block_bytes=10,
            read_range_bytes=10,
            retry=RetrySettings(first_delay_seconds=0.01),
            copy_poll_seconds=0.01,
        )
        played = Faults(*faults)
        stripping = Faults(Fault("strip", strip, times=None))
        async with AzureBlobDriver(
            options, wrap_transport=lambda inner: played.wrap(stripping.wrap(inner))
        ) as faulty:
            yield faulty

    return open_one


@both
async def test_the_append_position_keeps_a_block_from_being_doubled(
    driver: AzureBlobDriver, opened: Open, protected: bool
) -> None:
    """A block whose answer was lost, sent again as a client would that does not look first."""

    async def twice(request: Any, send: Send) -> Any:
        await send()
        return await send()

    async def strip_both(request: Any, send: Send) -> Any:
        for header in ("If-Match", "x-ms-blob-condition-appendpos"):
            request.headers.pop(header, None)
        return await twice(request, send)

    fault = Fault("twice", twice if protected else strip_both, on="Append Block")
    async with opened(fault) as writing:
        with suppress(StorageDriverError):
            async with writing.writer("/a") as writer:
                await writer.write(b"block")
                await writer.commit()
    assert await driver.get_content("/a") == (b"block" if protected else b"blockblock")


@both
async def test_the_version_on_the_migrations_delete_spares_what_a_rival_migrated(
    driver: AzureBlobDriver, opened: Open, protected: bool
) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(b"legacy")
    seen: list[bytes | None] = []

    async def rival_then_look(request: Any, send: Send) -> Any:
        await driver.put_content("/a", b"a rival's")
        response = await send()
        try:
            seen.append(await driver.get_content("/a"))
        except PathNotFoundError:
            seen.append(None)
        return response

    off = {} if protected else {"without": "If-Match", "on": "Delete Blob"}
    fault = Fault("rival", rival_then_look, on="Delete Blob")
    async with opened(fault, **off) as putting:
        await putting.put_content("/a", b"ours")
    assert seen == [b"a rival's" if protected else None]


@both
async def test_the_version_on_a_moves_delete_keeps_what_was_written_in_between(
    driver: AzureBlobDriver, opened: Open, protected: bool
) -> None:
    await driver.put_content("/a", b"content")

    async def rival(request: Any, send: Send) -> Any:
        await driver.put_content("/a", b"in between")
        return await send()

    off = {} if protected else {"without": "If-Match", "on": "Delete Blob"}
    async with opened(Fault("rival", rival, on="Delete Blob"), **off) as moving:
        if protected:
            with pytest.raises(ConcurrentWriteError):
                await moving.move("/a", "/b")
            assert await driver.get_content("/a") == b"in between"
        else:
            await moving.move("/a", "/b")
            with pytest.raises(PathNotFoundError):
                await driver.get_content("/a")
    assert await driver.get_content("/b") == b"content"


@both
async def test_reads_pinned_to_a_version_are_not_torn(
    driver: AzureBlobDriver, opened: Open, protected: bool
) -> None:
    await driver.put_content("/a", b"1" * 30)
    off = {} if protected else {"without": "If-Match", "on": "Get Blob"}
    async with opened(**off) as reading:
        async with reading.reader("/a") as reader:
            first = await reader.read(10)
            await driver.put_content("/a", b"2" * 30)
            if protected:
                with pytest.raises(ConcurrentWriteError):
                    await reader.read()
            else:
                assert first + await reader.read() == b"1" * 10 + b"2" * 20


@both
async def test_a_copys_status_is_looked_at_before_the_source_goes(
    driver: AzureBlobDriver, opened: Open, protected: bool
) -> None:
    """The service accepts a copy that fails later, which Azurite never does."""
    await driver.put_content("/a", b"content")

    async def accept(request: Any, send: Send) -> Any:
        response = await send()
        response.headers["x-ms-copy-status"] = "pending" if protected else "success"
        await driver._clients.container.get_blob_client("b").upload_blob(b"", overwrite=True)
        return response

    async def fail(request: Any, send: Send) -> Any:
        response = await send()
        response.headers["x-ms-copy-status"] = "failed"
        return response

    faults = (
        Fault("accepted", accept, on="Copy Blob"),
        Fault("failed", fail, on="Get Blob Properties", after=1, times=None),
    )
    async with opened(*faults) as moving:
        if protected:
            with pytest.raises(BackendError, match="source is kept"):
                await moving.move("/a", "/b")
            assert await driver.get_content("/a") == b"content"
        else:
            await moving.move("/a", "/b")
            assert await driver.get_content("/b") == b""
            with pytest.raises(PathNotFoundError):
                await driver.get_content("/a")


async def test_a_crash_between_the_migrations_delete_and_its_put_loses_the_legacy_content(
    driver: AzureBlobDriver, opened: Open
) -> None:
    """What remains possible to lose, as the README says: once per legacy blob, in this window."""
    async with driver.writer("/a") as writer:
        await writer.write(b"legacy")

    class Crash(BaseException):
        pass

    async def crash(request: Any, send: Send) -> Any:
        raise Crash

    async with opened(Fault("crash", crash, on="Put Blob")) as putting:
        with pytest.raises(Crash):
            await putting.put_content("/a", b"ours")
    with pytest.raises(PathNotFoundError):
        await driver.get_content("/a")
