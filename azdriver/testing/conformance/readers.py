"""Readers: offsets and lengths, one version to the end, and connections given back."""

from __future__ import annotations

import asyncio
import random
from array import array

import pytest

from azdriver.contract import StorageDriver
from azdriver.errors import (
    ConcurrentWriteError,
    InvalidOffsetError,
    PathNotFoundError,
    StorageDriverError,
)
from azdriver.testing.conformance.capabilities import (
    MIB,
    ConformanceBase,
    random_bytes,
    store_stream,
)


class ReaderConformance(ConformanceBase):
    """``reader``."""

    @pytest.mark.parametrize("kind", ["content", "stream"])
    async def test_a_reader_starts_at_any_offset(self, driver: StorageDriver, kind: str) -> None:
        data = random_bytes(3000)
        if kind == "content":
            await driver.put_content("/a", data)
        else:
            await store_stream(driver, "/a", data)
        for offset in (0, 1, 1500, 2999):
            async with driver.reader("/a", offset) as reader:
                assert (reader.size, reader.offset) == (3000, offset)
                assert await reader.read() == data[offset:]
                assert reader.offset == 3000
                assert await reader.read() == b""

    @pytest.mark.parametrize("offset", [3000, 3001, 10**9])
    async def test_a_reader_at_or_past_the_end_is_empty(
        self, driver: StorageDriver, offset: int
    ) -> None:
        await driver.put_content("/a", bytes(3000))
        async with driver.reader("/a", offset) as reader:
            assert await reader.read() == b""
            assert await reader.read(10) == b""
            assert [chunk async for chunk in reader] == []

    @pytest.mark.parametrize("kind", ["content", "stream"])
    async def test_an_empty_blob_reads_empty(self, driver: StorageDriver, kind: str) -> None:
        if kind == "content":
            await driver.put_content("/a", b"")
        else:
            await store_stream(driver, "/a")
        assert await driver.get_content("/a") == b""
        async with driver.reader("/a") as reader:
            assert (reader.size, reader.offset) == (0, 0)
            assert await reader.read() == b""

    @pytest.mark.parametrize("offset", [-1, -(10**9)])
    async def test_a_negative_offset_is_refused(self, driver: StorageDriver, offset: int) -> None:
        # Missing, so that a request would have got another error.
        with pytest.raises(InvalidOffsetError) as caught:
            async with driver.reader("/missing", offset):
                pass
        assert caught.value.offset == offset
        assert caught.value.path == "/missing"
        assert str(caught.value).startswith(f"{driver.name}: ")

    async def test_a_negative_length_is_refused(self, driver: StorageDriver) -> None:
        with pytest.raises(InvalidOffsetError):
            async with driver.reader("/missing", length=-1):
                pass

    async def test_length_bounds_what_is_read(self, driver: StorageDriver) -> None:
        data = random_bytes(3000)
        await driver.put_content("/a", data)
        for offset, length in (
            (0, 0),
            (0, 1),
            (0, 3000),
            (10, 20),
            (2999, 1),
            (2990, 100),
            (3000, 1),
        ):
            async with driver.reader("/a", offset, length=length) as reader:
                assert await reader.read() == data[offset : offset + length]
            async with driver.reader("/a", offset, length=length) as reader:
                chunks = [chunk async for chunk in reader]
                assert b"".join(chunks) == data[offset : offset + length]

    async def test_size_is_that_of_the_whole_blob(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", bytes(3000))
        async with driver.reader("/a", 1000, length=10) as reader:
            assert (reader.size, reader.offset) == (3000, 1000)

    async def test_a_missing_blob_has_no_reader(self, driver: StorageDriver) -> None:
        await driver.put_content("/dir/blob", b"x")
        for path in ("/missing", "/dir", "/dir/blob/below"):
            for offset in (0, 100):
                with pytest.raises(PathNotFoundError) as caught:
                    async with driver.reader(path, offset):
                        pass
                assert caught.value.path == path
            with pytest.raises(PathNotFoundError):
                async with driver.reader(path, length=0):
                    pass

    async def test_chunks_are_not_empty_and_make_up_the_blob(self, driver: StorageDriver) -> None:
        data = random_bytes(9 * MIB + 1)
        await store_stream(driver, "/a", data)
        position = 17
        async with driver.reader("/a", position) as reader:
            async for chunk in reader:
                assert chunk
                assert chunk == data[position : position + len(chunk)]
                position += len(chunk)
                assert reader.offset == position
        assert position == len(data)

    async def test_read_returns_as_much_as_asked_for(self, driver: StorageDriver) -> None:
        data = random_bytes(6 * MIB)
        await store_stream(driver, "/a", data)
        position = 0
        async with driver.reader("/a") as reader:
            for n in (0, 1, 2, 1000, 5 * MIB, 70_000):
                assert await reader.read(n) == data[position : position + n]
                position += n
                assert reader.offset == position
            assert await reader.read(2 * MIB) == data[position:]  # fewer at the end only
            assert await reader.read(1) == b""

    async def test_readinto_fills_the_buffer(self, driver: StorageDriver) -> None:
        data = random_bytes(5000)
        await driver.put_content("/a", data)
        async with driver.reader("/a") as reader:
            first = bytearray(3000)
            assert await reader.readinto(first) == 3000
            assert first == data[:3000]
            words = array("I", bytes(400))
            assert await reader.readinto(memoryview(words)) == 400
            assert words.tobytes() == data[3000:3400]
            rest = bytearray(2000)
            assert await reader.readinto(memoryview(rest)) == 1600
            assert rest == data[3400:] + bytes(400)
            assert await reader.readinto(rest) == 0
            assert await reader.readinto(bytearray()) == 0

    async def test_the_ways_of_reading_mix(self, driver: StorageDriver) -> None:
        data = random_bytes(5 * MIB)
        await store_stream(driver, "/a", data)
        async with driver.reader("/a") as reader:
            read = await reader.read(10)
            read += await anext(reader)
            buffer = bytearray(1000)
            count = await reader.readinto(buffer)
            read += bytes(buffer[:count])
            read += await reader.read()
        assert read == data

    async def test_readers_side_by_side_do_not_disturb_each_other(
        self, driver: StorageDriver
    ) -> None:
        data = random_bytes(6 * MIB)
        await store_stream(driver, "/a", data)
        offsets = [random.Random(1).randrange(len(data)) for _ in range(24)]

        async def read(offset: int) -> None:
            async with driver.reader("/a", offset) as reader:
                pieces = []
                while piece := await reader.read(MIB + 13):
                    pieces.append(piece)
            assert b"".join(pieces) == data[offset:]

        async with asyncio.TaskGroup() as group:
            for offset in offsets:
                group.create_task(read(offset))

    async def test_a_reader_never_mixes_versions(self, driver: StorageDriver) -> None:
        old, new = random_bytes(12 * MIB, seed=1), random_bytes(12 * MIB, seed=2)
        await driver.put_content("/a", old)
        async with driver.reader("/a") as reader:
            read = await reader.read(1000)
            await driver.put_content("/a", new)
            try:
                read += await reader.read()
            except ConcurrentWriteError:
                assert read == old[:1000]
            else:
                assert read == old
        assert await driver.get_content("/a") == new

    async def test_a_reader_survives_a_delete_or_says_so(self, driver: StorageDriver) -> None:
        data = random_bytes(12 * MIB)
        await driver.put_content("/a", data)
        async with driver.reader("/a") as reader:
            read = await reader.read(1000)
            await driver.delete("/a")
            try:
                read += await reader.read()
            except StorageDriverError:
                assert read == data[:1000]
            else:
                assert read == data

    async def test_a_stream_that_grows_is_read_as_it_was(self, driver: StorageDriver) -> None:
        data = random_bytes(8 * MIB)
        await store_stream(driver, "/a", data)
        async with driver.reader("/a") as reader:
            read = await reader.read(1000)
            async with driver.writer("/a", append=True) as writer:
                await writer.write(b"more")
                await writer.commit()
            try:
                read += await reader.read()
            except ConcurrentWriteError:
                assert read == data[:1000]
            else:
                assert read == data

    # Releasing.

    async def test_abandoned_readers_release_what_they_hold(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a", random_bytes(5 * MIB))
        for _ in range(40):
            async with driver.reader("/a") as reader:
                async for _chunk in reader:
                    break
        for _ in range(10):
            async with driver.reader("/a"):
                pass
        async with asyncio.timeout(30):
            await driver.put_content("/b", b"still working")
            assert await driver.get_content("/b") == b"still working"

    async def test_cancelled_readers_release_what_they_hold(self, driver: StorageDriver) -> None:
        data = random_bytes(5 * MIB)
        await store_stream(driver, "/a", data)

        async def read() -> None:
            async with driver.reader("/a") as reader:
                async for _chunk in reader:
                    await asyncio.sleep(0)

        for turns in range(16):
            tasks = [asyncio.create_task(read()) for _ in range(4)]
            await asyncio.sleep(turns / 2000)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(30):
            assert await driver.get_content("/a") == data

    async def test_closing_a_reader_twice_is_right(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"x")
        async with driver.reader("/a") as reader:
            await reader.aclose()
            await reader.aclose()

    async def test_an_error_in_the_block_is_the_callers(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"x")
        with pytest.raises(ZeroDivisionError):
            async with driver.reader("/a") as reader:
                _ = len(await reader.read()) / 0
