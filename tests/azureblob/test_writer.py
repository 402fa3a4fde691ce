"""Streams on append blobs: exactly once, in order, resumable."""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ServiceResponseError
from azure.storage.blob import BlobType
from azure.storage.blob.aio import BlobClient

from azdriver import (
    AzureBlobDriver,
    BackendError,
    ConcurrentWriteError,
    ContentTooLargeError,
    NotAppendableError,
    PathNotFoundError,
)
from azdriver.azureblob import RetrySettings
from azdriver.azureblob import writer as writer_module
from azdriver.contract import Buffer
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import (
    CannedResponse,
    Fault,
    Faults,
    Send,
    answer,
    answer_after,
    arrive_late,
    lose_answer,
    reset,
    stall,
)
from azdriver.testing.recording import RecordedRequest

MIB = 1024 * 1024
PATH = "/uploads/1/data"


@pytest.fixture
async def blob(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> AsyncIterator[BlobClient]:
    """The blob by the SDK itself, past the driver."""
    async with BlobClient.from_connection_string(
        azurite_server.connection_string, container, PATH[1:]
    ) as client:
        yield client


def opened(
    server: AzuriteServer, container: str, *faults: Fault, **options: Any
) -> AzureBlobDriver:
    options.setdefault("retry", RetrySettings(retries=3, first_delay_seconds=0.01))
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, wrap_transport=Faults(*faults).wrap, **options
    )


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_blob_of_each_type_is_truncated(
    driver: AzureBlobDriver, blob: BlobClient, kind: str
) -> None:
    content = bytes(512)
    await blob.upload_blob(content, blob_type=BlobType(kind))
    async with driver.writer(PATH) as writer:
        assert writer.size == 0
        await writer.write(b"new")
        await writer.commit()
    assert await driver.get_content(PATH) == b"new"
    assert (await blob.get_blob_properties()).blob_type == BlobType.APPENDBLOB


async def test_a_block_blob_in_the_way_goes_first_where_the_service_wants_it(
    azurite_server: AzuriteServer, container: str, blob: BlobClient
) -> None:
    await blob.upload_blob(b"content")
    refused = answer(409, "InvalidBlobType", on="Create Append Blob")
    async with opened(azurite_server, container, refused) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(b"stream")
        assert await driver.get_content(PATH) == b"stream"


async def test_appending_turns_an_empty_content_into_a_stream(
    driver: AzureBlobDriver, blob: BlobClient
) -> None:
    await driver.put_content(PATH, b"")
    async with driver.writer(PATH, append=True) as writer:
        assert writer.size == 0
        await writer.write(b"stream")
    assert (await blob.get_blob_properties()).blob_type == BlobType.APPENDBLOB
    assert await driver.get_content(PATH) == b"stream"


@pytest.mark.parametrize("kind", ["BlockBlob", "PageBlob"])
async def test_appending_to_another_type_is_refused(
    driver: AzureBlobDriver, blob: BlobClient, kind: str
) -> None:
    await blob.upload_blob(bytes(512), blob_type=BlobType(kind))
    with pytest.raises(NotAppendableError, match=kind):
        async with driver.writer(PATH, append=True):
            pass


async def test_blocks_are_of_four_mebibytes_but_for_the_last(
    driver: AzureBlobDriver, requests: list[RecordedRequest]
) -> None:
    async with driver.writer(PATH) as writer:
        for _ in range(9 * 16 + 1):
            await writer.write(bytes(MIB // 16))
    appends = [r.sent_bytes for r in requests if r.operation == "Append Block"]
    assert appends == [4 * MIB, 4 * MIB, MIB + MIB // 16]


async def test_the_next_block_fills_while_one_is_on_its_way_but_no_third(
    azurite_server: AzuriteServer, container: str
) -> None:
    gate = asyncio.Event()

    async def wait(request: Any, send: Send) -> Any:
        await gate.wait()
        return await send()

    held = Fault("held", wait, on="Append Block")
    async with opened(azurite_server, container, held, append_block_bytes=1000) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(bytes(1999))  # one on its way, the other not yet full
            third = asyncio.create_task(writer.write(bytes(1001)))
            await asyncio.sleep(0.05)
            assert not third.done()
            assert writer.size == 2000
            gate.set()
            await third
            await writer.commit()
        assert (await driver.stat(PATH)).size == 3000


@pytest.mark.parametrize(
    "fault",
    [
        lose_answer(on="Append Block", after=1),
        reset(on="Append Block", after=1),
        answer(500, "OperationTimedOut", on="Append Block", after=1),
        answer_after(500, "OperationTimedOut", on="Append Block", after=1),
        answer(503, "ServerBusy", on="Append Block", after=1),
        lose_answer(on="Create Append Blob"),
        reset(on="Create Append Blob"),
    ],
    ids=lambda fault: f"{fault.on}: {fault.name}",
)
async def test_a_block_whose_answer_was_lost_is_stored_once(
    azurite_server: AzuriteServer, container: str, fault: Fault
) -> None:
    data = random.Random(1).randbytes(40_000)
    async with opened(azurite_server, container, fault, append_block_bytes=10_000) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(data)
            await writer.commit()
            assert writer.size == len(data)
        assert fault.struck == 1
        assert await driver.get_content(PATH) == data


async def test_what_a_caller_changes_after_a_write_is_not_what_is_stored(
    driver: AzureBlobDriver,
) -> None:
    """Of each kind of buffer, and of each size: only ``bytes`` may be kept as they are."""
    data = random.Random(4).randbytes(MIB)
    async with driver.writer(PATH) as writer:
        for size in (1, MIB // 16, MIB):
            for kind in (bytearray, lambda part: memoryview(bytearray(part))):
                buffer = kind(data[:size])
                await writer.write(buffer)
                buffer[:] = bytes(size)
            buffer = bytearray(data[:size])
            await writer.write(buffer)
            buffer.clear()  # nor is it held, so that its owner may resize it
        await writer.commit()
    stored = b"".join(data[:size] * 3 for size in (1, MIB // 16, MIB))
    assert await driver.get_content(PATH) == stored


async def test_buffers_of_every_kind_and_size_make_one_stream(
    azurite_server: AzuriteServer, container: str
) -> None:
    chance = random.Random(5)
    data = chance.randbytes(16 * MIB)
    kinds: list[Callable[[bytes], Buffer]] = [
        bytes,
        bytearray,
        memoryview,
        lambda part: memoryview(b"-" + part)[1:],  # most of an object
        lambda part: memoryview(part + bytes(4 * MIB))[: len(part)],  # little of it
        lambda part: memoryview(bytes(byte for b in part for byte in (b, 0)))[::2],
    ]
    sent: list[tuple[str | None, str | None]] = []

    async def look(
        session: aiohttp.ClientSession, _: object, seen: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        if "comp=appendblock" in str(seen.url):
            headers = seen.headers
            sent.append((headers.get("Content-Length"), headers.get("Transfer-Encoding")))

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(look)
    async with (
        aiohttp.ClientSession(trace_configs=[trace], auto_decompress=False) as session,
        opened(azurite_server, container, session=session, append_block_bytes=MIB) as driver,
    ):
        async with driver.writer(PATH) as writer:
            while writer.size < len(data):
                size = chance.choice([1, 1000, 1000, MIB // 16, MIB // 8, MIB // 4, 2 * MIB])
                part = data[writer.size : writer.size + size]
                await writer.write(chance.choice(kinds)(part))
            await writer.commit()
        assert await driver.get_content(PATH) == data
    # The service refuses a block that comes without its length.
    assert sent == [(str(MIB), None)] * 16


async def test_a_block_that_is_sent_again_is_whole(
    azurite_server: AzuriteServer, container: str
) -> None:
    data = random.Random(6).randbytes(2 * MIB)
    pieces = [data[: MIB // 2], data[MIB // 2 : MIB], data[MIB:-1], data[-1:]]

    async def read_some(request: Any, send: Send) -> Any:
        async for _ in request.content:
            break
        return CannedResponse(request, 503, "ServerBusy")

    refused = Fault("refused in its middle", read_some, on="Append Block", times=2)
    async with opened(azurite_server, container, refused) as driver:
        async with driver.writer(PATH) as writer:
            for piece in pieces:
                await writer.write(piece)
            await writer.commit()
        assert refused.struck == 2
        assert await driver.get_content(PATH) == data


async def test_a_block_of_another_is_not_taken_for_one_whose_answer_was_lost(
    azurite_server: AzuriteServer, container: str, blob: BlobClient
) -> None:
    """The same place and the same length, but for one byte the same content."""
    data = random.Random(7).randbytes(MIB)
    for place in (0, MIB // 2, MIB - 1):
        theirs = bytearray(data)
        theirs[place] ^= 1

        async def overtaken(request: Any, send: Send, block: bytearray = theirs) -> Any:
            await blob.append_block(bytes(block))
            raise ServiceResponseError("injected: connection lost")

        fault = Fault("overtaken", overtaken, on="Append Block")
        async with opened(azurite_server, container, fault) as driver:
            with pytest.raises(ConcurrentWriteError):
                async with driver.writer(PATH) as writer:
                    await writer.write(data[: MIB // 2])
                    await writer.write(data[MIB // 2 : -1])
                    await writer.write(data[-1:])
                    await writer.commit()
            assert await driver.get_content(PATH) == theirs


async def test_many_tiny_writes_take_the_memory_of_their_bytes(driver: AzureBlobDriver) -> None:
    count = 100_000
    async with driver.writer(PATH) as writer:
        for _ in range(1000):  # what is made once
            await writer.write(b"x")
        tracemalloc.start()
        began = time.process_time()
        for _ in range(count):
            await writer.write(b"x")
        seconds = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await writer.commit()
    assert (await driver.stat(PATH)).size == count + 1000
    assert peak < 3 * count  # an object for each would be 200 bytes
    assert seconds < 100e-6 * count


async def test_without_the_position_the_same_fault_doubles_the_block(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, blob: BlobClient
) -> None:
    """The check above can fail: an append as it is without our conditions, sent again."""
    await blob.create_append_blob()
    faults = Faults(lose_answer(on="Append Block"))
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, wrap_transport=faults.wrap
    ) as hurt:
        bare = hurt._clients.container.get_blob_client(PATH[1:])
        for _ in range(2):
            with suppress(ServiceResponseError):
                await bare.append_block(b"block")
                break
    assert await driver.get_content(PATH) == b"blockblock"


async def test_a_block_that_lands_late_is_stored_once(
    azurite_server: AzuriteServer, container: str
) -> None:
    faults = arrive_late(on="Append Block")
    async with opened(azurite_server, container, *faults) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(b"block")
            await writer.commit()
        assert await driver.get_content(PATH) == b"block"


@pytest.mark.parametrize("rival", ["append", "truncate", "replace", "delete"])
async def test_another_writer_is_noticed_and_not_torn(
    azurite_server: AzuriteServer, container: str, blob: BlobClient, rival: str
) -> None:
    async with opened(azurite_server, container) as driver:
        with pytest.raises((ConcurrentWriteError, PathNotFoundError)):
            async with driver.writer(PATH) as writer:
                await writer.write(b"ours")
                match rival:
                    case "append":
                        await blob.append_block(b"theirs")
                    case "truncate":
                        await blob.create_append_blob()
                    case "replace":
                        await driver.put_content(PATH, b"theirs")
                    case "delete":
                        await blob.delete_blob()
                await writer.commit()
        if rival in ("append", "replace"):
            assert await driver.get_content(PATH) == b"theirs"


async def test_after_a_failure_what_is_stored_is_resumed(
    azurite_server: AzuriteServer, container: str
) -> None:
    data = random.Random(2).randbytes(50_000)
    fault = answer(503, "ServerBusy", on="Append Block", after=2, times=None)
    async with opened(azurite_server, container, fault, append_block_bytes=10_000) as driver:
        async with driver.writer(PATH) as writer:
            with pytest.raises(BackendError) as caught:
                await writer.write(data)
                await writer.commit()
            assert caught.value.status == 503
            assert writer.size == 20_000
            with pytest.raises(BackendError):
                await writer.write(b"more")
            with pytest.raises(BackendError):
                await writer.commit()
        fault.times = 0
        async with driver.writer(PATH, append=True) as writer:
            assert writer.size == 20_000
            await writer.write(data[writer.size :])
            await writer.commit()
        assert await driver.get_content(PATH) == data


async def test_a_failure_that_nobody_saw_yet_comes_out_of_close(
    azurite_server: AzuriteServer, container: str
) -> None:
    fault = answer(503, "ServerBusy", on="Append Block", times=None)
    async with opened(azurite_server, container, fault, append_block_bytes=1000) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(bytes(1000))
            with pytest.raises(BackendError):
                await writer.close()


async def test_leaving_by_an_exception_is_quick_although_the_service_hangs(
    azurite_server: AzuriteServer, container: str
) -> None:
    fault = stall(on="Append Block", times=None)
    async with opened(azurite_server, container, fault) as driver:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):  # far below the attempt's own 30 s
                async with driver.writer(PATH) as writer:
                    await writer.write(b"accepted")
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await writer.commit()
                    raise TimeoutError
        assert (await driver.stat(PATH)).size == 0


async def test_a_cancelled_write_accepted_exactly_what_size_says(
    azurite_server: AzuriteServer, container: str
) -> None:
    data = random.Random(3).randbytes(100_000)

    async def slow(request: Any, send: Send) -> Any:
        await asyncio.sleep(0.05)
        return await send()

    delay = Fault("slow", slow, on="Append Block", times=None)
    async with opened(azurite_server, container, delay, append_block_bytes=10_000) as driver:
        async with driver.writer(PATH) as writer:
            while writer.size < len(data):
                try:
                    async with asyncio.timeout(0.08):
                        await writer.write(data[writer.size :])
                except TimeoutError:
                    continue
            await writer.commit()
        assert await driver.get_content(PATH) == data


async def test_cancel_deletes_only_its_own_stream(
    driver: AzureBlobDriver, blob: BlobClient
) -> None:
    async with driver.writer(PATH) as writer:
        await writer.write(b"ours")
        await driver.put_content(PATH, b"a rival's")
        await writer.cancel()
    assert await driver.get_content(PATH) == b"a rival's"


async def test_cancel_deletes_a_stream_whose_last_block_landed_unseen(
    azurite_server: AzuriteServer, container: str
) -> None:
    fault = lose_answer(on="Append Block", times=None)
    unseen = answer(404, "ContainerNotFound", on="Get Blob Properties", times=1)
    async with opened(azurite_server, container, fault, unseen, append_block_bytes=1000) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(bytes(1000))
            with pytest.raises(BackendError):
                await writer.write(bytes(1000))
            await writer.cancel()
        with pytest.raises(PathNotFoundError):
            await driver.stat(PATH)


async def test_the_last_block_that_the_service_allows_is_said_before_data_is_lost(
    azurite_server: AzuriteServer, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 50,000 real blocks would take minutes; the limit is a constant of the service.
    monkeypatch.setattr(writer_module, "MAX_BLOCKS", 5)
    async with opened(azurite_server, container, append_block_bytes=10) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(bytes(25))
        async with driver.writer(PATH, append=True) as writer:
            with pytest.raises(ContentTooLargeError) as caught:
                await writer.write(bytes(21))
            assert caught.value.limit == 45
            assert writer.size == 25
            await writer.write(bytes(20))
            await writer.commit()
        assert (await driver.stat(PATH)).size == 45


async def test_blocks_carry_position_and_version(
    azurite_server: AzuriteServer, container: str
) -> None:
    """Both are needed: a truncated and refilled stream has the position, but not the version."""
    seen: list[dict[str, str]] = []

    async def look(request: Any, send: Send) -> Any:
        seen.append({key.lower(): value for key, value in request.headers.items()})
        return await send()

    async with opened(
        azurite_server, container, Fault("look", look, on="Append Block", times=None)
    ) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(b"a")
        etag = (await driver.stat(PATH)).etag
        async with driver.writer(PATH, append=True) as writer:
            await writer.write(b"b")
    assert [headers["x-ms-blob-condition-appendpos"] for headers in seen] == ["0", "1"]
    assert seen[1]["if-match"].strip('"') == str(etag).strip('"')


async def test_a_stream_of_the_go_driver_is_resumed(
    azurite_server: AzuriteServer, driver: AzureBlobDriver, blob: BlobClient
) -> None:
    await blob.create_append_blob()
    await blob.append_block(b"by another")
    async with driver.writer(PATH, append=True) as writer:
        await writer.write(b" client")
    assert await driver.get_content(PATH) == b"by another client"


async def test_what_no_one_foresaw_does_not_lose_a_block_in_silence(
    azurite_server: AzuriteServer, container: str
) -> None:
    driver = opened(azurite_server, container, append_block_bytes=1000)
    await driver.open()
    async with driver.writer(PATH) as writer, opened(azurite_server, container) as other:
        await writer.write(bytes(1500))
        await driver.aclose()
        with pytest.raises(BackendError):
            await writer.write(bytes(1500))
            await writer.commit()
        assert writer.size == (await other.stat(PATH)).size
