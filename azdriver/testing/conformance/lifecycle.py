"""The driver itself: opened, shared, closed; and its errors on their way elsewhere."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable

import pytest

from azdriver.contract import StorageDriver
from azdriver.errors import DriverStateError, InvalidPathError, PathNotFoundError
from azdriver.testing.conformance.capabilities import ConformanceBase


async def _read(driver: StorageDriver) -> None:
    async with driver.reader("/a"):
        pass


async def _write(driver: StorageDriver) -> None:
    async with driver.writer("/a"):
        pass


async def _walk(driver: StorageDriver) -> None:
    async for _ in driver.walk("/"):
        pass


_CALLS: dict[str, Callable[[StorageDriver], Awaitable[object]]] = {
    "get_content": lambda driver: driver.get_content("/a"),
    "put_content": lambda driver: driver.put_content("/a", b"x"),
    "reader": _read,
    "writer": _write,
    "stat": lambda driver: driver.stat("/"),
    "list": lambda driver: driver.list("/"),
    "move": lambda driver: driver.move("/a", "/b"),
    "delete": lambda driver: driver.delete("/a"),
    "url_for": lambda driver: driver.url_for("/a"),
    "walk": _walk,
}


class LifecycleConformance(ConformanceBase):
    """Opening and closing, event loops, errors."""

    async def test_it_is_a_storage_driver_with_a_name(self, driver: StorageDriver) -> None:
        assert isinstance(driver, StorageDriver)
        assert driver.name
        assert driver.name.isprintable()

    @pytest.mark.parametrize("call", _CALLS)
    async def test_a_closed_driver_refuses(self, driver: StorageDriver, call: str) -> None:
        await driver.put_content("/a", b"x")
        await driver.aclose()
        with pytest.raises(DriverStateError) as caught:
            await _CALLS[call](driver)
        assert str(caught.value) == f"{driver.name}: driver is closed"

    async def test_closing_twice_is_right(self, driver: StorageDriver) -> None:
        await driver.aclose()
        await driver.aclose()

    async def test_it_is_not_opened_again(self, driver: StorageDriver) -> None:
        with pytest.raises(DriverStateError):
            async with driver:
                pass

    @pytest.mark.parametrize("call", _CALLS)
    async def test_another_event_loop_is_refused(self, driver: StorageDriver, call: str) -> None:
        await driver.put_content("/a", b"x")

        async def use() -> None:
            await _CALLS[call](driver)

        with pytest.raises(DriverStateError) as caught:
            await asyncio.to_thread(asyncio.run, use())
        assert "event loop" in str(caught.value)
        assert await driver.get_content("/a") == b"x"  # it works on in its own

    async def test_errors_survive_pickling(self, driver: StorageDriver) -> None:
        with pytest.raises(PathNotFoundError) as missing:
            await driver.get_content("/missing")
        with pytest.raises(InvalidPathError) as invalid:
            await driver.get_content("/a b")
        for error in (missing.value, invalid.value):
            copy = pickle.loads(pickle.dumps(error))
            assert type(copy) is type(error)
            assert str(copy) == str(error)
            assert (copy.driver_name, copy.path) == (error.driver_name, error.path)

    async def test_many_tasks_share_it(self, driver: StorageDriver) -> None:
        async def work(task: int) -> None:
            path = f"/tasks/{task}/content"
            for round_number in range(3):
                content = b"%d of %d" % (round_number, task)
                await driver.put_content(path, content)
                assert await driver.get_content(path) == content
                assert (await driver.stat(path)).size == len(content)
            await driver.move(path, f"/done/{task}")

        async with asyncio.TaskGroup() as group:
            for task in range(32):
                group.create_task(work(task))
        assert len(await driver.list("/done")) == 32
        with pytest.raises(PathNotFoundError):
            await driver.list("/tasks")
