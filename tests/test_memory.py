"""What is the memory driver's alone; the rest is in the conformance suite."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from azdriver import MemoryDriver
from azdriver import memory as memory_module
from azdriver.errors import (
    ConfigurationError,
    ContentTooLargeError,
    DriverStateError,
    NotAppendableError,
    PathNotFoundError,
    UnsupportedMethodError,
)
from azdriver.testing.conformance.capabilities import store_stream, walked


class TestParameters:
    def test_the_default_limit_is_64_mib(self) -> None:
        assert memory_module.DEFAULT_MAX_CONTENT_BYTES == 64 * 1024 * 1024

    @pytest.mark.parametrize("limit", [5, "5"])
    async def test_the_limit_is_set(self, limit: Any) -> None:
        async with MemoryDriver.from_parameters({"MaxContentBytes": limit}) as driver:
            await driver.put_content("/a", b"12345")
            with pytest.raises(ContentTooLargeError):
                await driver.put_content("/a", b"123456")

    async def test_streams_have_no_limit(self) -> None:
        async with MemoryDriver(max_content_bytes=0) as driver:
            await driver.put_content("/empty", b"")
            await store_stream(driver, "/a", bytes(1000))
            assert (await driver.stat("/a")).size == 1000

    @pytest.mark.parametrize("limit", [-1, "-1", "many", "", "1.5", True, 1.5, [1]])
    def test_a_wrong_limit_is_refused(self, limit: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            MemoryDriver.from_parameters({"maxcontentbytes": limit})
        assert caught.value.parameter == "maxcontentbytes"
        assert repr(limit) in str(caught.value)

    def test_a_negative_limit_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="max_content_bytes"):
            MemoryDriver(max_content_bytes=-1)

    def test_none_means_the_default(self) -> None:
        MemoryDriver.from_parameters({"maxcontentbytes": None, "other": None})

    def test_an_unknown_parameter_is_refused(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            MemoryDriver.from_parameters({"accountname": "a"})
        assert str(caught.value).startswith("memory: parameter accountname: is unknown")


class TestLife:
    async def test_each_driver_has_its_own(self) -> None:
        async with MemoryDriver() as one, MemoryDriver() as two:
            await one.put_content("/a", b"x")
            assert await two.list("/") == []

    async def test_it_has_to_be_opened(self) -> None:
        driver = MemoryDriver()
        with pytest.raises(DriverStateError, match="not open"):
            await driver.stat("/")

    async def test_a_driver_that_was_closed_unopened_stays_closed(self) -> None:
        driver = MemoryDriver()
        await driver.aclose()
        with pytest.raises(DriverStateError, match="is closed"):
            async with driver:
                pass

    async def test_closing_ends_readers_writers_and_walks(self) -> None:
        async with MemoryDriver() as driver:
            await driver.put_content("/a", b"x")
            async with driver.reader("/a") as reader, driver.writer("/b") as writer:
                walk = driver.walk("/")
                await driver.aclose()
                with pytest.raises(DriverStateError):
                    await reader.read()
                with pytest.raises(DriverStateError):
                    await writer.write(b"x")
                with pytest.raises(DriverStateError):
                    await writer.commit()
                with pytest.raises(DriverStateError):
                    await anext(walk)

    async def test_a_call_lets_other_tasks_run(self) -> None:
        async with MemoryDriver() as driver:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count())
            for _ in range(10):
                await driver.put_content("/a", b"x")
            counting.cancel()
            assert turns >= 10


class TestBlobs:
    async def test_a_reader_goes_on_with_its_version(self) -> None:
        async with MemoryDriver() as driver:
            await driver.put_content("/content", b"old content")
            await store_stream(driver, "/stream", b"old stream")
            async with driver.reader("/content") as content, driver.reader("/stream") as stream:
                await driver.put_content("/content", b"new")
                async with driver.writer("/stream", append=True) as writer:
                    await writer.write(b" grows")
                assert await content.read() == b"old content"
                assert await stream.read() == b"old stream"
                assert stream.size == 10
            async with driver.reader("/stream") as stream:
                await driver.delete("/stream")
                assert await stream.read() == b"old stream grows"

    async def test_a_closed_reader_does_not_read(self) -> None:
        async with MemoryDriver() as driver:
            await driver.put_content("/a", b"x")
            async with driver.reader("/a") as reader:
                await reader.aclose()
                with pytest.raises(ValueError, match="closed"):
                    await reader.read()

    async def test_a_stream_is_seen_as_it_is_written(self) -> None:
        async with MemoryDriver() as driver:
            async with driver.writer("/a") as writer:
                assert (await driver.stat("/a")).size == 0
                await writer.write(b"12345")
                assert await driver.get_content("/a") == b"12345"

    async def test_an_empty_write_changes_nothing(self) -> None:
        async with MemoryDriver() as driver:
            async with driver.writer("/a") as writer:
                before = await driver.stat("/a")
                await writer.write(b"")
                assert await driver.stat("/a") == before

    async def test_every_change_has_a_later_time_and_an_etag_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class StoppedClock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime(2026, 1, 1, tzinfo=UTC)

        async with MemoryDriver() as driver:
            infos = [await driver.put_content("/a", b"x")]
            monkeypatch.setattr(memory_module, "datetime", StoppedClock)
            for _ in range(5):
                infos.append(await driver.put_content("/a", b"x"))
            async with driver.writer("/a") as writer:
                infos.append(await driver.stat("/a"))
                await writer.write(b"x")
                infos.append(await driver.stat("/a"))
            await driver.move("/a", "/b")
            infos.append(await driver.stat("/b"))
        times = [info.mod_time for info in infos if info.mod_time is not None]
        assert len(times) == len(infos)
        assert all(earlier < later for earlier, later in itertools.pairwise(times))
        etags = [info.etag for info in infos if info.etag is not None]
        assert len(set(etags)) == len(infos)
        assert etags == sorted(etags)

    async def test_what_a_content_is_called(self) -> None:
        async with MemoryDriver() as driver:
            await driver.put_content("/a", b"x")
            with pytest.raises(NotAppendableError, match="append to a content that is not empty"):
                async with driver.writer("/a", append=True):
                    pass

    async def test_a_moved_stream_is_gone_for_its_writer(self) -> None:
        async with MemoryDriver() as driver:
            async with driver.writer("/a") as writer:
                await writer.write(b"x")
                await driver.move("/a", "/b")
                with pytest.raises(PathNotFoundError):
                    await writer.write(b"y")
                await writer.cancel()
            assert await driver.get_content("/b") == b"x"

    async def test_it_has_no_urls(self) -> None:
        async with MemoryDriver() as driver:
            with pytest.raises(UnsupportedMethodError, match="nothing in memory has an URL"):
                await driver.url_for("/a")


class TestWalk:
    async def test_goes_over_many_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_module, "_PAGE_ENTRIES", 3)
        async with MemoryDriver() as driver:
            for i in range(10):
                await driver.put_content(f"/d{i % 2}/{i}", b"x")
            entries = [info.path for info in await walked(driver)]
            assert entries == [
                "/d0",
                *(f"/d0/{i}" for i in range(0, 10, 2)),
                "/d1",
                *(f"/d1/{i}" for i in range(1, 10, 2)),
            ]

    async def test_goes_round_a_large_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_module, "_PAGE_ENTRIES", 3)
        async with MemoryDriver() as driver:
            others = ["/a/b", "/a/large-not", "/a/large.x", "/a/large0", "/a/m/n/o", "/b"]
            for path in (*others, *(f"/a/large/{i}" for i in range(20))):
                await driver.put_content(path, b"x")
            walk = driver.walk("/")
            seen = []
            async for info in walk:
                seen.append(info.path)
                if info.path == "/a/large":
                    walk.skip()
            assert seen == [
                "/a",
                "/a/b",
                "/a/large-not",
                "/a/large.x",
                "/a/large",
                "/a/large0",
                "/a/m",
                "/a/m/n",
                "/a/m/n/o",
                "/b",
            ]

    async def test_sees_what_is_added_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_module, "_PAGE_ENTRIES", 2)
        async with MemoryDriver() as driver:
            for name in "abcd":
                await driver.put_content(f"/{name}", b"x")
            seen = []
            async for info in driver.walk("/"):
                seen.append(info.path)
                if info.path == "/b":
                    await driver.delete("/c")
                    await driver.put_content("/e", b"x")
            assert seen == ["/a", "/b", "/d", "/e"]
