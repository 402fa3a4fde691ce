"""Contents: written and read whole, stat, move, and many clients on one path."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from azdriver.contract import StorageDriver
from azdriver.errors import (
    ConcurrentWriteError,
    ConfigurationError,
    ContentTooLargeError,
    PathNotFoundError,
    PreconditionFailedError,
)
from azdriver.testing.conformance.capabilities import (
    MIB,
    ConformanceBase,
    random_bytes,
    store_stream,
)


class ContentConformance(ConformanceBase):
    """``get_content``, ``put_content``, ``stat`` and ``move``."""

    # Writing and reading.

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"text", b"\xff\xfe\x80not utf-8\xc3", random_bytes(MIB)],
        ids=["empty", "1-byte", "text", "not-utf-8", "1-MiB"],
    )
    async def test_content_reads_back_as_written(
        self, driver: StorageDriver, content: bytes
    ) -> None:
        await driver.put_content("/a/content", content)
        read = await driver.get_content("/a/content")
        assert read == content
        assert type(read) is bytes

    async def test_any_buffer_is_taken(self, driver: StorageDriver) -> None:
        data = random_bytes(1000)
        buffers = (
            bytearray(data),
            memoryview(data),
            memoryview(bytearray(data)),
            memoryview(b"".join(bytes([byte, 0]) for byte in data))[::2],
            memoryview(data).cast("I"),
            memoryview(b"#" + data + b"#")[1:-1],
        )
        for buffer in buffers:
            await driver.put_content("/buffer", buffer)
            assert await driver.get_content("/buffer") == data

    async def test_text_is_refused(self, driver: StorageDriver) -> None:
        with pytest.raises(TypeError):
            await driver.put_content("/text", "text")  # type: ignore[arg-type]
        with pytest.raises(PathNotFoundError):
            await driver.stat("/text")

    async def test_a_buffer_can_be_reused_after_a_put(self, driver: StorageDriver) -> None:
        buffer = bytearray(b"first")
        await driver.put_content("/a", buffer)
        buffer[:] = b"the second, which is longer"
        await driver.put_content("/b", buffer)
        buffer.clear()
        assert await driver.get_content("/a") == b"first"
        assert await driver.get_content("/b") == b"the second, which is longer"

    async def test_a_smaller_put_truncates(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", random_bytes(5000))
        await driver.put_content("/a", b"small")
        assert await driver.get_content("/a") == b"small"
        assert (await driver.stat("/a")).size == 5

    async def test_an_empty_put_truncates(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"full")
        await driver.put_content("/a", b"")
        assert await driver.get_content("/a") == b""

    async def test_a_put_replaces_a_stream(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a", random_bytes(5000))
        await driver.put_content("/a", b"content")
        assert await driver.get_content("/a") == b"content"

    async def test_the_largest_content_is_taken(self, driver: StorageDriver) -> None:
        limit = self._max_content_bytes()
        content = random_bytes(MIB) * (limit // MIB) + b"x" * (limit % MIB)
        info = await driver.put_content("/large", content)
        assert info.size == limit
        assert await driver.get_content("/large") == content

    async def test_one_byte_more_is_too_large(self, driver: StorageDriver) -> None:
        limit = self._max_content_bytes()
        await driver.put_content("/large", b"kept")
        with pytest.raises(ContentTooLargeError) as caught:
            await driver.put_content("/large", bytes(limit + 1))
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
        assert await driver.get_content("/large") == b"kept"

    def _max_content_bytes(self) -> int:
        limit = self.capabilities.max_content_bytes
        if limit is None:
            pytest.skip("this driver has no limit on contents that could be tested")
        return limit

    # What is not there.

    async def test_missing_content_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(PathNotFoundError) as caught:
            await driver.get_content("/missing/content")
        assert caught.value.path == "/missing/content"
        assert str(caught.value) == f"{driver.name}: path not found: /missing/content"

    async def test_a_directory_has_no_content(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/b", b"x")
        with pytest.raises(PathNotFoundError):
            await driver.get_content("/a")

    async def test_nothing_is_found_below_a_blob(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"x")
        with pytest.raises(PathNotFoundError):
            await driver.get_content("/a/b")

    # Stat.

    async def test_stat_of_a_content(self, driver: StorageDriver) -> None:
        put = await driver.put_content("/a/b", b"12345")
        info = await driver.stat("/a/b")
        assert (info.path, info.size, info.is_dir) == ("/a/b", 5, False)
        assert info.mod_time is not None
        assert info.mod_time.utcoffset() == timedelta(0)
        assert info.mod_time.tzinfo is UTC or info.mod_time.tzname() in ("UTC", "GMT")
        assert put == info

    async def test_stat_of_a_stream(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a/b", b"12345", b"678")
        info = await driver.stat("/a/b")
        assert (info.path, info.size, info.is_dir) == ("/a/b", 8, False)
        assert info.mod_time is not None
        assert info.mod_time.utcoffset() == timedelta(0)

    async def test_stat_of_a_directory(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/b/c", b"x")
        for path in ("/a", "/a/b"):
            info = await driver.stat(path)
            assert (info.path, info.is_dir) == (path, True)
            assert (info.size, info.mod_time, info.etag) == (0, None, None)

    async def test_stat_of_the_root_never_fails(self, driver: StorageDriver) -> None:
        assert (await driver.stat("/")).is_dir
        await driver.put_content("/a", b"x")
        info = await driver.stat("/")
        assert (info.path, info.is_dir, info.size) == ("/", True, 0)

    async def test_stat_prefers_a_blob_to_a_directory(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/b", b"below")
        await driver.put_content("/a", b"blob")
        info = await driver.stat("/a")
        assert (info.is_dir, info.size) == (False, 4)

    async def test_stat_of_a_missing_path_is_not_found(self, driver: StorageDriver) -> None:
        await driver.put_content("/abc/d", b"x")
        for path in ("/missing", "/ab", "/abc/d/e"):
            with pytest.raises(PathNotFoundError) as caught:
                await driver.stat(path)
            assert caught.value.path == path

    async def test_mod_time_grows(self, driver: StorageDriver) -> None:
        pause = self.capabilities.mod_time_resolution.total_seconds() * 1.1
        times = [(await driver.put_content("/a", b"1")).mod_time]
        await asyncio.sleep(pause)
        times.append((await driver.put_content("/a", b"1")).mod_time)
        await asyncio.sleep(pause)
        await store_stream(driver, "/a", b"1")
        times.append((await driver.stat("/a")).mod_time)
        first, second, third = times
        assert first is not None
        assert second is not None
        assert third is not None
        assert first < second < third

    # Conditions.

    async def test_etags_name_versions(self, driver: StorageDriver) -> None:
        self._require_etags()
        first = await driver.put_content("/a", b"same")
        second = await driver.put_content("/a", b"same")
        assert first.etag is not None
        assert second.etag is not None
        assert first.etag != second.etag
        assert first.etag.startswith('"')
        assert first.etag.endswith('"')
        async with driver.reader("/a") as reader:
            assert reader.etag == second.etag
        async for info in driver.walk("/"):
            assert info == await driver.stat("/a")

    async def test_if_match_writes_over_that_version_only(self, driver: StorageDriver) -> None:
        self._require_etags()
        first = await driver.put_content("/a", b"1")
        second = await driver.put_content("/a", b"2", if_match=first.etag)
        with pytest.raises(PreconditionFailedError) as caught:
            await driver.put_content("/a", b"lost", if_match=first.etag)
        assert caught.value.condition == "if_match"
        assert await driver.get_content("/a") == b"2"
        assert second.etag is not None
        await driver.put_content("/a", b"3", if_match=second.etag.strip('"'))
        assert await driver.get_content("/a") == b"3"

    async def test_if_match_needs_a_blob(self, driver: StorageDriver) -> None:
        self._require_etags()
        info = await driver.put_content("/a", b"1")
        await driver.delete("/a")
        with pytest.raises(PreconditionFailedError):
            await driver.put_content("/a", b"2", if_match=info.etag)
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")

    async def test_if_match_holds_for_streams_too(self, driver: StorageDriver) -> None:
        self._require_etags()
        await store_stream(driver, "/a", b"1")
        etag = (await driver.stat("/a")).etag
        async with driver.writer("/a", append=True) as writer:
            await writer.write(b"2")
            await writer.commit()
        with pytest.raises(PreconditionFailedError):
            await driver.put_content("/a", b"lost", if_match=etag)
        assert await driver.get_content("/a") == b"12"
        await driver.put_content("/a", b"3", if_match=(await driver.stat("/a")).etag)
        assert await driver.get_content("/a") == b"3"

    async def test_if_absent_creates_only(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/b", b"1", if_absent=True)
        with pytest.raises(PreconditionFailedError) as caught:
            await driver.put_content("/a/b", b"2", if_absent=True)
        assert caught.value.condition == "if_absent"
        assert await driver.get_content("/a/b") == b"1"
        # A directory is not in the way.
        await driver.put_content("/a", b"3", if_absent=True)
        await store_stream(driver, "/stream", b"4")
        with pytest.raises(PreconditionFailedError):
            await driver.put_content("/stream", b"5", if_absent=True)
        assert await driver.get_content("/stream") == b"4"

    async def test_conditions_that_make_no_sense_are_refused(self, driver: StorageDriver) -> None:
        for etag in ("", '""', "*", 'a"b', "\r\nx-header: 1", "\N{SNOWMAN}"):
            with pytest.raises(ConfigurationError):
                await driver.put_content("/a", b"x", if_match=etag)
        with pytest.raises(ConfigurationError):
            await driver.put_content("/a", b"x", if_match='"0x1"', if_absent=True)

    def _require_etags(self) -> None:
        if not self.capabilities.has_etags:
            pytest.skip("this driver has no ETags")

    # Many clients.

    async def test_concurrent_puts_are_read_whole(self, driver: StorageDriver) -> None:
        contents = [random_bytes(1000 + 7919 * i, seed=i) for i in range(16)]
        await driver.put_content("/a", contents[0])
        versions = set(contents)
        writing = True
        reads = 0

        async def put(content: bytes) -> None:
            for _ in range(4):
                await driver.put_content("/a", content)

        async def read() -> None:
            nonlocal reads
            while writing:
                assert await driver.get_content("/a") in versions
                reads += 1

        async with asyncio.TaskGroup() as readers:
            for _ in range(4):
                readers.create_task(read())
            async with asyncio.TaskGroup() as writers:
                for content in contents:
                    writers.create_task(put(content))
            writing = False
        assert reads > 0
        assert await driver.get_content("/a") in versions

    async def test_the_last_put_wins(self, driver: StorageDriver) -> None:
        async with asyncio.TaskGroup() as group:
            for i in range(16):
                group.create_task(driver.put_content("/a", random_bytes(100, seed=i)))
        await driver.put_content("/a", b"last")
        assert await driver.get_content("/a") == b"last"

    async def test_compare_and_swap_loses_no_update(self, driver: StorageDriver) -> None:
        self._require_etags()
        await driver.put_content("/counter", b"0")

        async def increment() -> None:
            while True:
                async with driver.reader("/counter") as reader:
                    value = int(await reader.read())
                    etag = reader.etag
                try:
                    await driver.put_content("/counter", b"%d" % (value + 1), if_match=etag)
                except PreconditionFailedError:
                    continue
                return

        async def count() -> None:
            for _ in range(4):
                await increment()

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(count())
        assert await driver.get_content("/counter") == b"24"

    async def test_if_absent_has_one_winner(self, driver: StorageDriver) -> None:
        contents = [random_bytes(100 + i, seed=i) for i in range(16)]
        results = await asyncio.gather(
            *(driver.put_content("/a", content, if_absent=True) for content in contents),
            return_exceptions=True,
        )
        winners = [i for i, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(winners) == 1
        for result in results:
            assert not isinstance(result, BaseException) or isinstance(
                result, PreconditionFailedError
            )
        assert await driver.get_content("/a") == contents[winners[0]]

    # Moving.

    async def test_move_takes_the_content_along(self, driver: StorageDriver) -> None:
        content = random_bytes(5000)
        await driver.put_content("/from/a", content)
        await driver.move("/from/a", "/to/b")
        assert await driver.get_content("/to/b") == content
        with pytest.raises(PathNotFoundError):
            await driver.get_content("/from/a")
        assert await driver.list("/") == ["/to"]

    async def test_move_overwrites(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"new")
        await driver.put_content("/b", b"the old one")
        await driver.move("/a", "/b")
        assert await driver.get_content("/b") == b"new"
        assert await driver.list("/") == ["/b"]

    async def test_move_overwrites_a_blob_of_another_kind(self, driver: StorageDriver) -> None:
        await driver.put_content("/content", b"content")
        await store_stream(driver, "/stream", b"stream")
        await driver.move("/content", "/stream")
        assert await driver.get_content("/stream") == b"content"
        await store_stream(driver, "/other", b"other stream")
        await driver.move("/other", "/stream")
        assert await driver.get_content("/stream") == b"other stream"
        assert await driver.list("/") == ["/stream"]

    async def test_move_of_nothing_keeps_the_destination(self, driver: StorageDriver) -> None:
        await driver.put_content("/dest", b"kept")
        with pytest.raises(PathNotFoundError) as caught:
            await driver.move("/missing", "/dest")
        assert caught.value.path == "/missing"
        assert await driver.get_content("/dest") == b"kept"

    async def test_move_onto_itself_keeps_the_content(self, driver: StorageDriver) -> None:
        before = await driver.put_content("/a", b"kept")
        await driver.move("/a", "/a")
        assert await driver.get_content("/a") == b"kept"
        assert await driver.stat("/a") == before
        with pytest.raises(PathNotFoundError):
            await driver.move("/missing", "/missing")

    async def test_move_leaves_what_is_below(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"blob")
        await driver.put_content("/a/b", b"below")
        await driver.move("/a", "/c")
        assert await driver.get_content("/a/b") == b"below"
        assert await driver.get_content("/c") == b"blob"
        with pytest.raises(PathNotFoundError):  # a directory is not moved
            await driver.move("/a", "/d")

    async def test_move_goes_below_itself_and_back(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"x")
        await driver.move("/a", "/a/b")
        assert await driver.get_content("/a/b") == b"x"
        await driver.move("/a/b", "/a")
        assert await driver.get_content("/a") == b"x"

    async def test_a_moved_stream_can_be_continued(self, driver: StorageDriver) -> None:
        async with driver.writer("/a") as writer:
            await writer.write(b"begin")
            await writer.commit()
        await driver.move("/a", "/b")
        async with driver.writer("/b", append=True) as writer:
            assert writer.size == 5
            await writer.write(b", end")
            await writer.commit()
        assert await driver.get_content("/b") == b"begin, end"

    async def test_one_of_many_moves_wins(self, driver: StorageDriver) -> None:
        await driver.put_content("/a", b"x")
        results = await asyncio.gather(
            *(driver.move("/a", f"/to/{i}") for i in range(8)), return_exceptions=True
        )
        assert any(result is None for result in results)
        for result in results:
            assert result is None or isinstance(result, PathNotFoundError | ConcurrentWriteError)
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")
        for path in await driver.list("/to"):
            assert await driver.get_content(path) == b"x"
