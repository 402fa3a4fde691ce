"""Streams on staged blocks: invisible until committed, then whole; resumable in between."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import BlobBlock, BlobType

from azdriver import (
    AzureBlobDriver,
    ConcurrentWriteError,
    ContentTooLargeError,
    NotAppendableError,
    PathNotFoundError,
)
from azdriver.azureblob import RetrySettings, blockwriter
from azdriver.azureblob.options import MAX_STAGED_BLOCK_BYTES
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse, Fault, Faults, Send
from azdriver.testing.recording import RecordedRequest, RecordingTransport

PATH = "/uploads/1/data"
DATA = random.Random(0).randbytes(10_500)


def opened(
    server: AzuriteServer,
    container: str,
    *faults: Fault,
    requests: list[RecordedRequest] | None = None,
    **options: Any,
) -> AzureBlobDriver:
    played = Faults(*faults)
    return AzureBlobDriver.from_connection_string(
        server.connection_string,
        container,
        **{
            "write_mode": "block",
            "block_bytes": 1000,
            "retry": RetrySettings(retries=3, first_delay_seconds=0.01),
            "wrap_transport": lambda inner: RecordingTransport(played.wrap(inner), requests),
            **options,
        },
    )


async def test_nothing_is_visible_until_the_commit_and_then_all_is(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as driver:
        await driver.put_content(PATH, b"older")
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            assert await driver.get_content(PATH) == b"older"
            await writer.commit()
            assert await driver.get_content(PATH) == DATA


async def test_blocks_are_staged_several_at_once_but_no_more_than_said(
    azurite_server: AzuriteServer, container: str
) -> None:
    at_once, most = 0, 0

    async def count(request: Any, send: Send) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        try:
            return await send()
        finally:
            at_once -= 1

    counting = Fault("count", count, on="Put Block", after=1, times=None)
    async with opened(azurite_server, container, counting, blocks_in_flight=3) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            await writer.commit()
        assert await driver.get_content(PATH) == DATA
    assert most == 3


async def test_blocks_that_are_stored_are_let_go_of_although_the_first_is_not(
    azurite_server: AzuriteServer, container: str
) -> None:
    gate = asyncio.Event()

    async def wait(request: Any, send: Send) -> Any:
        await gate.wait()
        return await send()

    slow = Fault("slow", wait, on="Put Block", after=1)  # the first block behind the declaration
    async with opened(azurite_server, container, slow, block_bytes=100_000) as driver:
        async with driver.writer(PATH) as writer:
            tracemalloc.start()
            for _ in range(100):
                await writer.write(bytes(100_000))
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert writer.size == 10_000_000
            gate.set()
            await writer.commit()
    assert held < 20 * 100_000  # of a hundred blocks


async def test_the_bytes_of_a_caller_are_not_copied_and_no_more_of_them_is_held(
    azurite_server: AzuriteServer, container: str
) -> None:
    gate = asyncio.Event()

    async def wait(request: Any, send: Send) -> Any:
        await gate.wait()
        return await send()

    block = 1024 * 1024
    chunk = random.Random(1).randbytes(block // 4)
    large = random.Random(2).randbytes(16 * block)
    held = Fault("held", wait, on="Put Block", after=1, times=None)
    async with opened(azurite_server, container, held, block_bytes=block) as driver:
        async with driver.writer(PATH) as writer:
            tracemalloc.start()
            for _ in range(8):  # two blocks of one object: one that is copied would be seen
                await writer.write(chunk)
            kept, _ = tracemalloc.get_traced_memory()
            assert kept < block
            # Little of a large object must not keep all of it, whoever's it is.
            for begin in range(0, len(large), 8 * block):
                await writer.write(memoryview(large + b"-")[begin : begin + block])
            kept, _ = tracemalloc.get_traced_memory()
            assert kept < 3 * block
            tracemalloc.stop()
            gate.set()
            await writer.commit()
        stored = chunk * 8 + large[:block] + large[8 * block : 9 * block]
        assert await driver.get_content(PATH) == stored


async def test_what_a_caller_changes_after_a_write_is_not_what_is_stored(
    azurite_server: AzuriteServer, container: str
) -> None:
    gate = asyncio.Event()

    async def wait(request: Any, send: Send) -> Any:
        await gate.wait()
        return await send()

    held = Fault("held", wait, on="Put Block", after=1, times=None)
    data = random.Random(3).randbytes(300_000)
    async with opened(azurite_server, container, held, block_bytes=200_000) as driver:
        async with driver.writer(PATH) as writer:
            for _ in range(2):
                buffer = bytearray(data)
                await writer.write(buffer)
                buffer[:] = bytes(len(buffer))
            gate.set()
            await writer.commit()
        assert await driver.get_content(PATH) == data * 2


async def test_a_block_that_is_sent_again_is_whole(
    azurite_server: AzuriteServer, container: str
) -> None:
    data = random.Random(4).randbytes(2_000_000)

    async def read_some(request: Any, send: Send) -> Any:
        async for _ in request.content:
            break
        return CannedResponse(request, 503, "ServerBusy")

    refused = Fault("refused in its middle", read_some, on="Put Block", after=1, times=4)
    async with opened(azurite_server, container, refused, block_bytes=600_000) as driver:
        async with driver.writer(PATH) as writer:
            for begin in range(0, len(data), 150_000):
                await writer.write(data[begin : begin + 150_000])
            await writer.commit()
        assert refused.struck == 4
        assert await driver.get_content(PATH) == data


async def test_another_process_goes_on_where_the_staged_blocks_end(
    azurite_server: AzuriteServer, container: str
) -> None:
    for end in (0, 2500, 2500, 7000, len(DATA)):
        async with opened(azurite_server, container) as driver:
            async with driver.writer(PATH, append=end > 0) as writer:
                await writer.write(DATA[writer.size : end])
                assert writer.size == end
            with pytest.raises(PathNotFoundError):
                await driver.stat(PATH)
    async with opened(azurite_server, container) as driver:
        async with driver.writer(PATH, append=True) as writer:
            assert writer.size == len(DATA)
            await writer.commit()
        assert await driver.get_content(PATH) == DATA


async def test_a_gap_in_what_was_staged_is_gone_on_from_at_its_beginning(
    azurite_server: AzuriteServer, container: str
) -> None:
    """The third block never arrives, the others do: their writer was killed."""

    async def never(request: Any, send: Send) -> Any:
        await asyncio.sleep(3600)

    lost = Fault("never arrives", never, on="Put Block", after=3)
    async with opened(azurite_server, container, lost) as driver:
        with pytest.raises(ZeroDivisionError):
            async with driver.writer(PATH) as writer:
                await writer.write(DATA[:6000])
                await asyncio.sleep(0.2)
                raise ZeroDivisionError
        async with driver.writer(PATH, append=True) as writer:
            assert writer.size == 2000
            await writer.write(DATA[2000:])
            await writer.commit()
        assert await driver.get_content(PATH) == DATA


async def test_a_block_that_arrives_after_another_writer_took_over_is_left_out(
    azurite_server: AzuriteServer, container: str
) -> None:
    late: list[Send] = []

    async def keep(request: Any, send: Send) -> Any:
        late.append(send)
        await asyncio.sleep(3600)

    async with opened(azurite_server, container, Fault("late", keep, on="Put Block", after=2)) as d:
        with pytest.raises(ZeroDivisionError):
            async with d.writer(PATH) as writer:
                await writer.write(b"1" * 1000)
                await asyncio.sleep(0.1)
                await writer.write(b"2" * 1000)
                await asyncio.sleep(0.1)
                raise ZeroDivisionError
        async with d.writer(PATH, append=True) as writer:
            assert writer.size == 1000
            await late[0]()
            await writer.write(b"3" * 1000)
        async with d.writer(PATH, append=True) as writer:
            assert writer.size == 2000
            await writer.commit()
        assert await d.get_content(PATH) == b"1" * 1000 + b"3" * 1000


async def test_a_writer_that_was_taken_over_does_not_report_success(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(b"begin")
        with pytest.raises(ConcurrentWriteError, match="took it over"):
            async with driver.writer(PATH, append=True) as first:
                async with driver.writer(PATH, append=True) as second:
                    await second.write(b" second")
                    await second.close()
                await first.write(b" first")
                await first.close()
        async with driver.writer(PATH, append=True) as writer:
            await writer.commit()
        assert await driver.get_content(PATH) == b"begin second"


async def test_a_content_written_meanwhile_is_not_overwritten(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as driver:
        for before in (None, b"older"):
            if before is not None:
                await driver.put_content(PATH, before)
            with pytest.raises(ConcurrentWriteError):
                async with driver.writer(PATH) as writer:
                    await writer.write(DATA)
                    await driver.put_content(PATH, b"a rival's")
                    await writer.commit()
            assert await driver.get_content(PATH) == b"a rival's"


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_blob_of_each_type_is_replaced(
    azurite_server: AzuriteServer, container: str, kind: str
) -> None:
    async with opened(azurite_server, container) as driver:
        blob = driver._clients.container.get_blob_client(PATH[1:])
        await blob.upload_blob(bytes(512), blob_type=BlobType(kind))
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            await writer.commit()
        assert await driver.get_content(PATH) == DATA
        assert (await blob.get_blob_properties()).blob_type == BlobType.BLOCKBLOB


async def test_a_committed_stream_is_gone_on_from_and_a_content_is_not(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(DATA[:3500])
            await writer.commit()
        async with driver.writer(PATH, append=True) as writer:
            assert writer.size == 3500
            await writer.write(DATA[3500:])
            assert await driver.get_content(PATH) == DATA[:3500]
            await writer.commit()
        assert await driver.get_content(PATH) == DATA
        await driver.put_content(PATH, b"content")
        with pytest.raises(NotAppendableError):
            async with driver.writer(PATH, append=True):
                pass


async def test_a_block_that_arrives_after_the_commit_is_in_nobodys_way(
    azurite_server: AzuriteServer, container: str
) -> None:
    """Of a session after the first: it would be taken for one that has fenced the next writer."""
    late: list[Send] = []

    async def keep(request: Any, send: Send) -> Any:
        late.append(send)
        return await send()

    async with opened(
        azurite_server, container, Fault("kept", keep, on="Put Block", times=None)
    ) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(DATA[:3000])
        async with driver.writer(PATH, append=True) as writer:
            await writer.write(DATA[3000:])
            await writer.commit()
        await late[-1]()
        for _ in range(3):
            async with driver.writer(PATH) as writer:
                await writer.write(DATA[::-1])
                await writer.commit()
        assert await driver.get_content(PATH) == DATA[::-1]


async def test_cancel_makes_void_what_was_staged_and_keeps_what_was_there(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            await writer.cancel()
        with pytest.raises(PathNotFoundError):
            async with driver.writer(PATH, append=True):
                pass
        await driver.put_content(PATH, b"older")
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            await writer.cancel()
        assert await driver.get_content(PATH) == b"older"


async def test_the_requests_of_a_stream(azurite_server: AzuriteServer, container: str) -> None:
    requests: list[RecordedRequest] = []
    async with opened(azurite_server, container, requests=requests) as driver:
        requests.clear()
        async with driver.writer(PATH) as writer:
            await writer.write(DATA[:3000])
            await writer.commit()
    assert [request.operation for request in requests[2:]] == [
        "Put Block",  # the declaration
        *["Put Block"] * 3,
        "Get Block List",  # is it still ours?
        "Put Block List",
    ]
    assert {request.operation for request in requests[:2]} == {
        "Get Blob Properties",
        "Get Block List",
    }


async def test_committed_blocks_are_listed_only_where_a_stream_may_go_on_from_them(
    azurite_server: AzuriteServer, container: str
) -> None:
    """There may be 50,000 of them, of a blob that is about to be replaced."""
    asked: list[str] = []

    async def look(request: Any, send: Send) -> Any:
        asked.extend(parse_qs(urlsplit(request.url).query)["blocklisttype"])
        return await send()

    listed = Fault("look", look, on="Get Block List", times=None)
    async with opened(azurite_server, container, listed) as driver:
        for append, kinds in ((False, []), (True, ["all", "all"]), (False, [])):
            async with driver.writer(PATH, append=append) as writer:
                assert asked == (kinds or ["uncommitted"])
                await writer.write(DATA)
                await writer.commit()
            assert asked == [*(kinds or ["uncommitted"]), "uncommitted"]
            asked.clear()
        assert await driver.get_content(PATH) == DATA


def block_sizes(first: int) -> Iterator[int]:
    """The sizes of a stream's blocks, as the writer chooses them."""
    total = 0
    for _ in range(blockwriter.MAX_BLOCKS):
        size = min(max(first, total // blockwriter.GROWTH), MAX_STAGED_BLOCK_BYTES)
        total += size
        yield size


def test_blocks_grow_so_that_their_number_does_not_end_the_stream() -> None:
    mib = 1024 * 1024
    sizes = list(block_sizes(4 * mib))
    assert sum(sizes) > 100 * 1024 * 1024 * mib  # 100 TiB
    assert sum(size for size in sizes if size == 4 * mib) >= 7.5 * 1024 * mib
    assert max(sizes) == MAX_STAGED_BLOCK_BYTES


async def test_grown_blocks_are_fewer_at_once(
    azurite_server: AzuriteServer, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockwriter, "GROWTH", 4)  # so that ten blocks show it
    sizes: list[int] = []

    async def look(request: Any, send: Send) -> Any:
        sizes.append(int(request.headers["Content-Length"]))
        return await send()

    watching = Fault("look", look, on="Put Block", after=1, times=None)
    async with opened(azurite_server, container, watching) as driver:
        async with driver.writer(PATH) as writer:
            await writer.write(DATA)
            await writer.commit()
        assert await driver.get_content(PATH) == DATA
    assert sizes[:5] == [1000] * 5
    assert max(sizes) > 1000


async def test_the_last_block_that_the_service_allows_is_said_before_data_is_lost(
    azurite_server: AzuriteServer, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 50,000 real blocks would take minutes; the limit is a constant of the service.
    monkeypatch.setattr(blockwriter, "MAX_BLOCKS", 5)
    async with opened(azurite_server, container) as driver:
        async with driver.writer(PATH) as writer:
            with pytest.raises(ContentTooLargeError):
                await writer.write(bytes(5001))
            assert writer.size == 0
            await writer.write(bytes(5000))
            await writer.commit()
        assert (await driver.stat(PATH)).size == 5000


async def test_an_append_mode_driver_and_a_block_mode_driver_read_each_other(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container) as blocks:
        async with AzureBlobDriver(replace(blocks.options, write_mode="append")) as appends:
            for number, (one, other) in enumerate(((blocks, appends), (appends, blocks))):
                async with one.writer(f"/{number}") as writer:
                    await writer.write(DATA)
                    await writer.commit()
                assert await other.get_content(f"/{number}") == DATA
                with pytest.raises(NotAppendableError):
                    async with other.writer(f"/{number}", append=True):
                        pass


async def test_azurite_keeps_staged_blocks_where_the_service_discards_them(
    azurite_server: AzuriteServer, container: str
) -> None:
    """Why a rival's write is noticed by the version at the commit, not by the blocks being gone."""
    async with opened(azurite_server, container) as driver:
        blob = driver._clients.container.get_blob_client("pinned")
        await blob.stage_block("aaaa", b"1")
        await blob.upload_blob(b"content", overwrite=True)
        _, uncommitted = await blob.get_block_list("all")
        assert [block.id for block in uncommitted] == ["aaaa"]
        await blob.delete_blob()
        await blob.stage_block("bbbb", b"2")
        await blob.delete_blob()  # of a blob that does not exist yet: 404 on the service
        await blob.commit_block_list([BlobBlock("bbbb")])
        assert await driver.get_content("/pinned") == b"2"
