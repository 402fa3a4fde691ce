"""Reading: one version, whole, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from azdriver import AzureBlobDriver, BackendError, ConcurrentWriteError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer, cut_answer, lose_answer, reset
from azdriver.testing.proxy import FaultProxy, fault_proxy
from azdriver.testing.recording import RecordedRequest

MIB = 1024 * 1024
PATH = "/layers/blob"
DATA = random.Random(0).randbytes(3 * MIB)


def opened(
    server: AzuriteServer, container: str, *faults: Fault, **options: Any
) -> AzureBlobDriver:
    settings = RetrySettings(retries=3, first_delay_seconds=0.01, longest_delay_seconds=0.05)
    options = {"read_range_bytes": MIB, "retry": settings, **options}
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, wrap_transport=Faults(*faults).wrap, **options
    )


@pytest.fixture
async def proxied(
    azurite_server: AzuriteServer, container: str
) -> AsyncIterator[tuple[AzureBlobDriver, FaultProxy]]:
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        connection_string = azurite_server.connection_string.replace(
            azurite_server.blob_endpoint, proxy.endpoint
        )
        async with AzureBlobDriver.from_connection_string(
            connection_string,
            container,
            read_range_bytes=MIB,
            read_timeout_seconds=0.5,
            retry=RetrySettings(first_delay_seconds=0.01),
        ) as driver:
            yield driver, proxy


@pytest.mark.parametrize("fault", [cut_answer, reset, lose_answer])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_lost_connection_is_gone_on_from(
    azurite_server: AzuriteServer, container: str, fault: Callable[..., Fault], whole: bool
) -> None:
    async with opened(azurite_server, container, fault(on="Get Blob", times=2)) as driver:
        await driver.put_content(PATH, DATA)
        if whole:
            assert await driver.get_content(PATH) == DATA
        else:
            async with driver.reader(PATH, 7) as reader:
                assert b"".join([chunk async for chunk in reader]) == DATA[7:]


async def test_a_cut_body_goes_on_at_the_byte_it_reached(
    proxied: tuple[AzureBlobDriver, FaultProxy],
) -> None:
    driver, proxy = proxied
    await driver.put_content(PATH, DATA)
    proxy.cut_answers_after(300_000, times=2)
    assert await driver.get_content(PATH) == DATA
    proxy.cut_answers_after(300_000, times=2)
    async with driver.reader(PATH) as reader:
        assert await reader.read() == DATA


async def test_a_stalled_body_is_given_up_and_gone_on_from(
    proxied: tuple[AzureBlobDriver, FaultProxy],
) -> None:
    driver, proxy = proxied
    await driver.put_content(PATH, DATA)
    proxy.stall_answers_after(300_000, times=1)
    async with asyncio.timeout(5):
        assert await driver.get_content(PATH) == DATA


async def test_a_connection_that_is_always_cut_is_an_error(
    azurite_server: AzuriteServer, container: str
) -> None:
    """Without progress; a cut after progress may go on for as long as there is some."""
    fault = cut_answer(keep=0, on="Get Blob", times=None)
    async with opened(azurite_server, container, fault) as driver:
        await driver.put_content(PATH, DATA)
        with pytest.raises(BackendError, match="no answer"):
            await driver.get_content(PATH)


async def test_an_overwrite_between_two_ranges_is_noticed(driver: AzureBlobDriver) -> None:
    await driver.put_content(PATH, bytes(9 * MIB))
    async with driver.reader(PATH) as reader:
        first = await anext(aiter(reader))
        await driver.put_content(PATH, bytes([1]) * 9 * MIB)
        with pytest.raises(ConcurrentWriteError, match="overwritten or deleted while it was read"):
            await reader.read()
    assert set(first) == {0}


async def test_a_deletion_between_two_ranges_is_noticed(driver: AzureBlobDriver) -> None:
    await driver.put_content(PATH, bytes(9 * MIB))
    async with driver.reader(PATH) as reader:
        await anext(aiter(reader))
        await driver.delete(PATH)
        with pytest.raises(ConcurrentWriteError, match="deleted while it was read"):
            await reader.read()


async def test_a_content_overwritten_after_a_cut_is_read_anew_and_whole(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    async def play(request: Any, send: Send) -> Any:
        response = await cut_answer().play(request, send)
        await driver.put_content(PATH, b"new" * MIB)
        return response

    async with opened(azurite_server, container, Fault("cut", play, on="Get Blob")) as reading:
        await driver.put_content(PATH, DATA)
        assert await reading.get_content(PATH) == b"new" * MIB


async def test_a_cancelled_read_loses_no_byte(
    azurite_server: AzuriteServer, container: str
) -> None:
    async def slow(request: Any, send: Send) -> Any:
        await asyncio.sleep(0.03)
        return await send()

    delay = Fault("slow", slow, on="Get Blob", after=1, times=None)
    async with opened(azurite_server, container, delay, read_range_bytes=300_000) as driver:
        await driver.put_content(PATH, DATA)
        received = bytearray()
        async with driver.reader(PATH) as reader:
            while len(received) < len(DATA):
                assert reader.offset == len(received)
                try:
                    async with asyncio.timeout(0.1):
                        received += await reader.read(400_000)
                except TimeoutError:
                    continue
        assert received == DATA


async def test_length_bounds_what_is_asked_for(
    driver: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    await driver.put_content(PATH, DATA)
    requests.clear()
    async with driver.reader(PATH, 1000, length=10) as reader:
        assert await reader.read() == DATA[1000:1010]
        assert (reader.size, reader.offset) == (len(DATA), 1010)
    async with driver.reader(PATH, len(DATA) - 3, length=10) as reader:
        assert await reader.read() == DATA[-3:]
    async with driver.reader(PATH, 5, length=0) as reader:
        assert await reader.read() == b""
        assert reader.size == len(DATA)
    assert [r.operation for r in requests] == ["Get Blob", "Get Blob", "Get Blob Properties"]


async def test_an_answer_of_another_range_than_asked_for_is_not_taken(
    azurite_server: AzuriteServer, container: str
) -> None:
    lie = {"ETag": '"0x1"', "Content-Range": "bytes 5-9/3145728", "Content-Type": "x/y"}
    fault = answer(206, headers=lie, body=b"wrong", on="Get Blob", after=1, times=None)
    async with opened(azurite_server, container, fault) as driver:
        await driver.put_content(PATH, DATA)
        async with driver.reader(PATH) as reader:
            with pytest.raises(BackendError):
                await reader.read()
