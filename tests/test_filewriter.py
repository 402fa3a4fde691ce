"""The state machine of writers where the conformance suite cannot look: cancelled and failing."""

from __future__ import annotations

import asyncio
import time
from array import array

import anyio
import pytest

from azdriver import filewriter
from azdriver.errors import BackendError, WriterStateError
from azdriver.filewriter import BaseFileWriter, as_bytes_view
from azdriver.paths import StoragePath


class SlowWriter(BaseFileWriter):
    """Stores in a list, and does each thing when it is let."""

    def __init__(self) -> None:
        super().__init__("test", StoragePath("/a"))
        self.calls: list[str] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.fail_next: Exception | None = None
        self._size = 0

    @property
    def size(self) -> int:
        return self._size

    async def _accept(self, data: memoryview) -> None:
        await self._do("accept")
        self._size += len(data)

    async def _flush(self) -> None:
        await self._do("flush")

    async def _finish(self) -> None:
        await self._do("finish")

    async def _discard(self) -> None:
        await self._do("discard")

    async def _release(self) -> None:
        self.calls.append("release")

    async def _do(self, call: str) -> None:
        self.calls.append(call + "…")
        await self.may_go_on.wait()
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        self.calls.append(call)


def _failure() -> BackendError:
    return BackendError("test", "/a", "writer", 500)


async def _cancelled(task: asyncio.Task[None]) -> None:
    for _ in range(3):  # to where it waits
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filewriter, "CLOSE_GRACE_SECONDS", 0.05)


class TestEnds:
    async def test_the_block_closes_and_releases(self) -> None:
        async with SlowWriter() as writer:
            await writer.write(b"x")
        assert writer.calls == ["accept…", "accept", "flush…", "flush", "release"]

    @pytest.mark.parametrize("ending", ["commit", "cancel", "close"])
    async def test_the_block_is_silent_after_any_end(self, ending: str) -> None:
        async with SlowWriter() as writer:
            await getattr(writer, ending)()
            calls = len(writer.calls)
        assert writer.calls[calls:] == ["release"]

    async def test_the_block_is_silent_after_commit_and_close(self) -> None:
        async with SlowWriter() as writer:
            await writer.commit()
            await writer.close()
        assert writer.calls == ["finish…", "finish", "release"]

    async def test_an_error_of_the_close_leaves_the_block(self) -> None:
        writer = SlowWriter()
        writer.fail_next = _failure()
        with pytest.raises(BackendError):
            async with writer:
                pass
        assert writer.calls == ["flush…", "release"]
        with pytest.raises(WriterStateError, match="already closed"):
            await writer.close()

    async def test_the_callers_error_is_not_replaced(self) -> None:
        writer = SlowWriter()
        writer.fail_next = _failure()
        with pytest.raises(ZeroDivisionError):
            async with writer:
                _ = 1 / 0
        assert writer.calls == ["flush…", "release"]

    async def test_a_failed_commit_can_be_tried_again(self) -> None:
        async with SlowWriter() as writer:
            writer.fail_next = _failure()
            with pytest.raises(BackendError):
                await writer.commit()
            await writer.commit()
            with pytest.raises(WriterStateError, match="already committed"):
                await writer.commit()

    async def test_a_failed_close_has_closed(self) -> None:
        async with SlowWriter() as writer:
            writer.fail_next = _failure()
            with pytest.raises(BackendError):
                await writer.close()
            with pytest.raises(WriterStateError, match="already closed"):
                await writer.close()

    async def test_a_failed_cancel_has_cancelled(self) -> None:
        async with SlowWriter() as writer:
            writer.fail_next = _failure()
            with pytest.raises(BackendError):
                await writer.cancel()
            with pytest.raises(WriterStateError, match="already cancelled"):
                await writer.write(b"x")
        assert "flush" not in writer.calls


class TestCancellation:
    async def test_a_cancelled_close_is_finished_by_the_block(self) -> None:
        writer = SlowWriter()

        async def use() -> None:
            async with writer:
                writer.may_go_on.clear()
                try:
                    await writer.close()
                finally:
                    writer.may_go_on.set()

        await _cancelled(asyncio.create_task(use()))
        assert writer.calls == ["flush…", "flush…", "flush", "release"]
        with pytest.raises(WriterStateError, match="already closed"):
            await writer.write(b"x")

    async def test_a_cancelled_close_of_the_block_has_a_grace(self) -> None:
        writer = SlowWriter()

        async def use() -> None:
            async with writer:
                writer.may_go_on.clear()

        task = asyncio.create_task(use())
        asyncio.get_running_loop().call_later(0.05, writer.may_go_on.set)
        await _cancelled(task)
        assert writer.calls == ["flush…", "flush…", "flush", "release"]

    @pytest.mark.usefixtures("short_grace")
    async def test_the_grace_ends(self) -> None:
        writer = SlowWriter()

        async def use() -> None:
            async with writer:
                writer.may_go_on.clear()
                await asyncio.Event().wait()

        began = time.monotonic()
        await _cancelled(asyncio.create_task(use()))
        assert 0.04 < time.monotonic() - began < 0.7
        assert writer.calls == ["flush…", "release"]
        with pytest.raises(WriterStateError, match="already closed"):
            await writer.close()

    @pytest.mark.usefixtures("short_grace")
    async def test_the_grace_bounds_the_wait_for_the_lock(self) -> None:
        writer = SlowWriter()
        writer.may_go_on.clear()
        stuck = asyncio.create_task(writer.write(b"x"))
        await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            async with writer:
                _ = 1 / 0
        assert writer.calls == ["accept…", "release"]
        await _cancelled(stuck)
        with pytest.raises(WriterStateError, match="already closed"):
            await writer.write(b"x")

    async def test_a_cancel_scope_does_not_cut_the_grace(self) -> None:
        writer = SlowWriter()
        with anyio.move_on_after(0.01):
            async with writer:
                writer.may_go_on.clear()
                asyncio.get_running_loop().call_later(0.05, writer.may_go_on.set)
                await asyncio.Event().wait()
        assert writer.calls == ["flush…", "flush", "release"]

    async def test_a_cancelled_commit_is_not_committed(self) -> None:
        writer = SlowWriter()
        async with writer:
            writer.may_go_on.clear()
            await _cancelled(asyncio.create_task(writer.commit()))
            writer.may_go_on.set()
            await writer.commit()
        assert writer.calls == ["finish…", "finish…", "finish", "release"]

    async def test_a_cancelled_write_lets_the_next_one_in(self) -> None:
        async with SlowWriter() as writer:
            writer.may_go_on.clear()
            first = asyncio.create_task(writer.write(b"first"))
            await asyncio.sleep(0)
            second = asyncio.create_task(writer.write(b"2nd"))
            await _cancelled(first)
            writer.may_go_on.set()
            await second
            assert writer.size == 3


class TestOrder:
    async def test_writes_take_turns_in_order(self) -> None:
        async with SlowWriter() as writer:
            writer.may_go_on.clear()
            tasks = [asyncio.create_task(writer.write(b"x" * n)) for n in range(1, 5)]
            closing = asyncio.create_task(writer.close())
            await asyncio.sleep(0)
            writer.may_go_on.set()
            await asyncio.gather(*tasks, closing)
        assert writer.size == 10
        assert writer.calls == ["accept…", "accept"] * 4 + ["flush…", "flush", "release"]

    async def test_a_write_that_waited_for_the_end_is_refused(self) -> None:
        async with SlowWriter() as writer:
            writer.may_go_on.clear()
            closing = asyncio.create_task(writer.close())
            await asyncio.sleep(0)
            late = asyncio.create_task(writer.write(b"x"))
            await asyncio.sleep(0)
            writer.may_go_on.set()
            await closing
            with pytest.raises(WriterStateError, match="already closed"):
                await late


class TestAsBytesView:
    def test_gives_single_bytes(self) -> None:
        words = array("I", range(10))
        for data in (b"abcd", bytearray(b"abcd"), memoryview(b"abcd")):
            assert bytes(as_bytes_view(data)) == b"abcd"
        assert as_bytes_view(memoryview(words)).tobytes() == words.tobytes()
        assert len(as_bytes_view(memoryview(words))) == words.itemsize * 10
        grid = memoryview(bytes(range(6))).cast("B", (2, 3))
        assert as_bytes_view(grid).tobytes() == bytes(range(6))
        assert len(as_bytes_view(memoryview(array("I")))) == 0

    def test_copies_only_what_has_gaps(self) -> None:
        data = bytearray(b"abcdef")
        assert as_bytes_view(memoryview(data)[::2]).tobytes() == b"ace"
        view = as_bytes_view(data)
        data[0] = ord("z")
        assert view[0] == ord("z")

    @pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
    def test_refuses_what_has_no_bytes(self, data: object) -> None:
        with pytest.raises(TypeError, match="bytes, bytearray or memoryview"):
            as_bytes_view(data)  # type: ignore[arg-type]
