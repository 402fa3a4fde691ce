"""Streams: writing, resuming, states, and many tasks or writers at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from azdriver.contract import FileWriter, StorageDriver
from azdriver.errors import (
    ConcurrentWriteError,
    NotAppendableError,
    PathNotFoundError,
    WriterStateError,
)
from azdriver.testing.conformance.capabilities import (
    MIB,
    ConformanceBase,
    random_bytes,
    store_stream,
)


class _CallersError(Exception):
    """Raised in a block, to leave it."""


_ENDINGS: dict[str, Callable[[FileWriter], Awaitable[None]]] = {
    "closed": lambda writer: writer.close(),
    "committed": lambda writer: writer.commit(),
    "cancelled": lambda writer: writer.cancel(),
}

_CALLS: dict[str, Callable[[FileWriter], Awaitable[None]]] = {
    "write": lambda writer: writer.write(b"x"),
    "commit": lambda writer: writer.commit(),
    "cancel": lambda writer: writer.cancel(),
    "close": lambda writer: writer.close(),
}


class StreamConformance(ConformanceBase):
    """``writer``."""

    # Writing.

    @pytest.mark.parametrize("size", [0, 1, 32, MIB, 4 * MIB, 4 * MIB + 1, 9 * MIB + 7])
    async def test_a_stream_reads_back_as_written(self, driver: StorageDriver, size: int) -> None:
        data = random_bytes(size)
        async with driver.writer("/a/stream") as writer:
            await writer.write(data)
            await writer.commit()
            assert writer.size == size
        assert await driver.get_content("/a/stream") == data
        assert (await driver.stat("/a/stream")).size == size

    async def test_pieces_of_any_size_make_up_the_stream(self, driver: StorageDriver) -> None:
        data = random_bytes(10 * MIB)
        sizes = random.Random(2)
        position = 0
        async with driver.writer("/a") as writer:
            while position < len(data):
                size = sizes.choice((0, 1, 500, 65_536, MIB, 4 * MIB, 5 * MIB))
                await writer.write(data[position : position + size])
                position = min(len(data), position + size)
                assert writer.size == position
            await writer.commit()
        assert await driver.get_content("/a") == data

    async def test_any_buffer_is_written(self, driver: StorageDriver) -> None:
        data = random_bytes(1000)
        async with driver.writer("/a") as writer:
            await writer.write(bytearray(data))
            await writer.write(memoryview(data)[10:20])
            await writer.write(memoryview(data)[::3])
            await writer.write(memoryview(data).cast("I"))
            with pytest.raises(TypeError):
                await writer.write("text")  # type: ignore[arg-type]
            await writer.commit()
        assert await driver.get_content("/a") == data + data[10:20] + data[::3] + data

    async def test_a_buffer_can_be_reused_after_a_write(self, driver: StorageDriver) -> None:
        pieces = [random_bytes(MIB, seed=i) for i in range(6)]
        buffer = bytearray(MIB)
        async with driver.writer("/a") as writer:
            for piece in pieces:
                buffer[:] = piece
                await writer.write(buffer)
            buffer.clear()
            await writer.commit()
        assert await driver.get_content("/a") == b"".join(pieces)

    async def test_a_new_stream_truncates_the_old(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a", random_bytes(5000))
        await store_stream(driver, "/a", b"short")
        assert await driver.get_content("/a") == b"short"

    async def test_a_stream_replaces_a_content(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", random_bytes(5000))
        await store_stream(driver, "/a", b"stream")
        assert await driver.get_content("/a") == b"stream"

    async def test_an_empty_stream_replaces_a_content(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"content")
        await store_stream(driver, "/a")
        assert await driver.get_content("/a") == b""

    async def test_content_and_stream_in_turn(self, driver: StorageDriver) -> None:
        for i in range(3):
            await driver.put_content("/a", b"content %d" % i)
            assert await driver.get_content("/a") == b"content %d" % i
            await store_stream(driver, "/a", b"stream ", b"%d" % i)
            assert await driver.get_content("/a") == b"stream %d" % i

    # Resuming.

    @pytest.mark.parametrize("size", [32, 4 * MIB])
    async def test_a_stream_is_resumed_twice(self, driver: StorageDriver, size: int) -> None:
        data = random_bytes(3 * size)
        async with driver.writer("/a") as writer:
            await writer.write(data[:size])
        async with driver.writer("/a", append=True) as writer:
            assert writer.size == size
            await writer.write(data[size : 2 * size])
            assert writer.size == 2 * size
            await writer.close()
        async with driver.writer("/a", append=True) as writer:
            assert writer.size == 2 * size
            await writer.write(data[2 * size :])
            await writer.commit()
        assert await driver.get_content("/a") == data

    @pytest.mark.parametrize("ending", ["closed", "committed"])
    async def test_an_empty_stream_can_be_continued(
        self, driver: StorageDriver, ending: str
    ) -> None:
        async with driver.writer("/a") as writer:
            await _ENDINGS[ending](writer)
        async with driver.writer("/a", append=True) as writer:
            assert writer.size == 0
            await writer.write(b"data")
            await writer.commit()
        assert await driver.get_content("/a") == b"data"

    async def test_an_empty_content_can_be_continued(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"")
        async with driver.writer("/a", append=True) as writer:
            assert writer.size == 0
            await writer.write(b"data")
            await writer.commit()
        assert await driver.get_content("/a") == b"data"

    async def test_a_content_cannot_be_continued(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"content")
        with pytest.raises(NotAppendableError) as caught:
            async with driver.writer("/a", append=True):
                pass
        assert caught.value.path == "/a"
        assert caught.value.blob_type
        assert await driver.get_content("/a") == b"content"

    async def test_a_missing_stream_cannot_be_continued(self, driver: StorageDriver) -> None:
        await driver.put_content("/dir/blob", b"x")
        for path in ("/missing", "/dir"):
            with pytest.raises(PathNotFoundError) as caught:
                async with driver.writer(path, append=True):
                    pass
            assert caught.value.path == path
        assert await driver.list("/") == ["/dir"]

    async def test_an_upload_left_by_an_error_is_resumed(self, driver: StorageDriver) -> None:
        data = random_bytes(6 * MIB)
        accepted = 5 * MIB
        with pytest.raises(_CallersError):
            async with driver.writer("/a") as writer:
                await writer.write(data[:accepted])
                assert writer.size == accepted
                raise _CallersError
        async with driver.writer("/a", append=True) as writer:
            assert writer.size == accepted
            await writer.write(data[accepted:])
            await writer.commit()
        assert await driver.get_content("/a") == data

    @pytest.mark.parametrize("milliseconds", [0, 1, 3, 10, 30, 100])
    async def test_a_cancelled_upload_is_resumed(
        self, driver: StorageDriver, milliseconds: int
    ) -> None:
        data = random_bytes(12 * MIB)
        opened = asyncio.Event()

        async def upload() -> None:
            async with driver.writer("/a") as writer:
                opened.set()
                for position in range(0, len(data), 300_000):
                    await writer.write(data[position : position + 300_000])
                await asyncio.Event().wait()

        task = asyncio.create_task(upload())
        await opened.wait()
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with driver.writer("/a", append=True) as writer:
            await writer.write(data[writer.size :])
            await writer.commit()
        assert await driver.get_content("/a") == data

    async def test_a_timed_out_upload_ends_in_time(self, driver: StorageDriver) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                async with driver.writer("/a") as writer:
                    while True:
                        await writer.write(bytes(MIB))
                        await asyncio.sleep(0.005)
        assert loop.time() - began < 3  # much more than the grace that saving the rest has
        async with driver.writer("/a", append=True) as writer:
            await writer.write(b"goes on")
            await writer.commit()

    # States.

    @pytest.mark.parametrize("call", _CALLS)
    @pytest.mark.parametrize("ending", _ENDINGS)
    async def test_an_ended_writer_refuses_further_calls(
        self, driver: StorageDriver, ending: str, call: str
    ) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"data")
            await _ENDINGS[ending](writer)
            if (ending, call) == ("committed", "close"):
                await writer.close()  # as the contract has it; a second one is refused
                ending = "closed"
            with pytest.raises(WriterStateError) as caught:
                await _CALLS[call](writer)
        assert caught.value.state == f"already {ending}"
        assert caught.value.path == "/a"
        assert str(caught.value).startswith(f"{driver.name}: ")

    @pytest.mark.parametrize("ending", _ENDINGS)
    async def test_size_can_be_read_after_the_end(self, driver: StorageDriver, ending: str) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"data")
            await _ENDINGS[ending](writer)
            if ending != "cancelled":
                assert writer.size == 4
        if ending != "cancelled":
            assert writer.size == 4

    async def test_leaving_the_block_closes_but_does_not_commit(
        self, driver: StorageDriver
    ) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"data")
        with pytest.raises(WriterStateError) as caught:
            await writer.write(b"more")
        assert caught.value.state == "already closed"
        async with driver.writer("/a", append=True) as resumed:
            assert resumed.size == 4

    async def test_close_after_commit_is_right(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"data")
            await writer.commit()
            await writer.close()
        assert await driver.get_content("/a") == b"data"

    # Cancelling.

    async def test_cancel_throws_a_new_stream_away(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(random_bytes(5 * MIB))
            await writer.cancel()
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")
        with pytest.raises(PathNotFoundError):
            async with driver.writer("/a", append=True):
                pass

    async def test_cancel_of_an_empty_stream(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.cancel()
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")

    async def test_cancel_throws_a_resumed_stream_away(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"earlier")
        async with driver.writer("/a", append=True) as writer:
            await writer.write(b"later")
            await writer.cancel()
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")

    async def test_cancel_spares_what_has_replaced_the_stream(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"stream")
            await driver.put_content("/a", b"content")
            await writer.cancel()
        assert await driver.get_content("/a") == b"content"

    async def test_a_cancelled_path_can_be_written_again(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"bad")
            await writer.cancel()
        await store_stream(driver, "/a", b"good")
        assert await driver.get_content("/a") == b"good"

    # Many at once.

    async def test_many_writers_at_once(self, driver: StorageDriver) -> None:
        contents = {f"/streams/{i}": random_bytes(300_000 + i, seed=i) for i in range(24)}

        async def write(path: str, data: bytes) -> None:
            async with driver.writer(path) as writer:
                for position in range(0, len(data), 40_000):
                    await writer.write(data[position : position + 40_000])
                    await asyncio.sleep(0)
                await writer.commit()

        async with asyncio.TaskGroup() as group:
            for path, data in contents.items():
                group.create_task(write(path, data))
        for path, data in contents.items():
            assert await driver.get_content(path) == data

    async def test_many_tasks_on_one_writer_write_contiguously(self, driver: StorageDriver) -> None:
        # A record is its task's number, its own number, and the task's number over and over; no
        # two of a task are of one length. Torn or mixed ones do not parse.
        tasks, records = 16, 12
        async with driver.writer("/a") as writer:

            async def write(task: int) -> None:
                for record in range(records):
                    length = 50_000 + record
                    await writer.write(bytes([task, record]) + bytes([task]) * length)

            async with asyncio.TaskGroup() as group:
                for task in range(tasks):
                    group.create_task(write(task))
            await writer.commit()
            total = writer.size
        data = await driver.get_content("/a")
        assert len(data) == total == sum(50_002 + r for r in range(records)) * tasks
        next_record = [0] * tasks
        position = 0
        while position < len(data):
            task, record = data[position], data[position + 1]
            assert record == next_record[task]
            next_record[task] += 1
            end = position + 2 + 50_000 + record
            assert data[position + 2 : end] == bytes([task]) * (50_000 + record)
            position = end

    async def test_of_two_writers_one_is_refused(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as first:
            await first.write(b"begin, ")
        async with driver.writer("/a", append=True) as first:
            with pytest.raises(ConcurrentWriteError) as caught:
                async with driver.writer("/a", append=True) as second:
                    await first.write(b"first")
                    await first.close()
                    await second.write(b"second")
                    await second.commit()
        assert caught.value.path == "/a"
        async with driver.writer("/a", append=True) as third:
            await third.commit()
        # Neither wins where both learn of each other before they reported success.
        one_at_most = (b"begin, first", b"begin, second", b"begin, ")
        assert await driver.get_content("/a") in one_at_most

    async def test_a_truncated_stream_refuses_its_writer(self, driver: StorageDriver) -> None:
        with pytest.raises(ConcurrentWriteError):
            async with driver.writer("/a") as first:
                async with driver.writer("/a") as second:
                    await second.write(b"second")
                    await second.commit()
                await first.write(b"first")
                await first.commit()
        assert await driver.get_content("/a") == b"second"

    async def test_a_replaced_stream_refuses_its_writer(self, driver: StorageDriver) -> None:
        with pytest.raises(ConcurrentWriteError):
            async with driver.writer("/a") as writer:
                await driver.put_content("/a", b"content")
                await writer.write(b"stream")
                await writer.commit()
        assert await driver.get_content("/a") == b"content"

    async def test_a_deleted_stream_refuses_its_writer(self, driver: StorageDriver) -> None:
        with pytest.raises((PathNotFoundError, ConcurrentWriteError)):
            async with driver.writer("/a") as writer:
                await driver.delete("/a")
                await writer.write(b"stream")
                await writer.commit()
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")
