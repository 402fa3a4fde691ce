"""Drivers by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from azdriver import MemoryDriver, StorageDriver, open_driver, register
from azdriver import factory as factory_module
from azdriver.errors import ConfigurationError, DriverStateError


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(factory_module, "_registered", {})


async def test_memory_is_built_in() -> None:
    async with open_driver("memory") as driver:
        assert isinstance(driver, MemoryDriver)
        assert driver.name == "memory"
        await driver.put_content("/a", b"x")
    with pytest.raises(DriverStateError):
        await driver.get_content("/a")


async def test_the_driver_is_closed_after_an_error() -> None:
    opened = []
    with pytest.raises(ZeroDivisionError):
        async with open_driver("memory") as driver:
            opened.append(driver)
            _ = 1 / 0
    with pytest.raises(DriverStateError):
        await opened[0].stat("/")


async def test_parameters_reach_the_driver() -> None:
    async with open_driver("memory", {"maxcontentbytes": 3}) as driver:
        await driver.put_content("/a", b"123")
        with pytest.raises(ValueError, match="too large"):
            await driver.put_content("/a", b"1234")


async def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_driver("memory", {"nonsense": 1}):
            pass
    assert caught.value.parameter == "nonsense"


async def test_a_registered_driver_is_opened() -> None:
    given: list[Mapping[str, Any]] = []

    def make(parameters: Mapping[str, Any]) -> StorageDriver:
        given.append(parameters)
        return MemoryDriver()

    register("mine", make)
    async with open_driver("mine", {"key": "value"}) as driver:
        await driver.put_content("/a", b"x")
    async with open_driver("mine"):
        pass
    assert given == [{"key": "value"}, {}]


@pytest.mark.parametrize("name", ["memory", "azure"])
def test_a_built_in_name_is_taken(name: str) -> None:
    with pytest.raises(ConfigurationError, match="registered already"):
        register(name, lambda parameters: MemoryDriver())


def test_a_name_is_registered_once() -> None:
    register("mine", lambda parameters: MemoryDriver())
    with pytest.raises(ConfigurationError, match="registered already"):
        register("mine", lambda parameters: MemoryDriver())


async def test_an_unknown_name_is_told_what_there_is() -> None:
    register("mine", lambda parameters: MemoryDriver())
    with pytest.raises(ConfigurationError) as caught:
        async with open_driver("filesystem"):
            pass
    message = str(caught.value)
    assert message.startswith("filesystem: ")
    for name in ("azure", "memory", "mine"):
        assert name in message


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with an entry point, as pip would have installed it."""
    info = tmp_path / "thirdparty_storage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thirdparty-storage\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[azdriver.drivers]\n"
        "thirdparty = thirdparty_storage_for_tests:Driver.from_parameters\n"
        "memory = thirdparty_storage_for_tests:missing\n"
    )
    (tmp_path / "thirdparty_storage_for_tests.py").write_text(
        "from azdriver import MemoryDriver\n\n\nclass Driver(MemoryDriver):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("third_party")
async def test_a_driver_is_found_by_its_entry_point() -> None:
    async with open_driver("thirdparty", {"maxcontentbytes": "10"}) as driver:
        assert type(driver).__module__ == "thirdparty_storage_for_tests"
        await driver.put_content("/a", b"x")
    with pytest.raises(ConfigurationError, match="thirdparty"):
        async with open_driver("unknown"):
            pass


@pytest.mark.usefixtures("third_party")
async def test_an_entry_point_does_not_replace_a_built_in_driver() -> None:
    async with open_driver("memory") as driver:
        assert type(driver) is MemoryDriver
