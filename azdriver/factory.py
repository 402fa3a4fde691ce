"""Drivers by name: the built-in ones, registered ones, and those found by entry point."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias

from azdriver.contract import StorageDriver
from azdriver.errors import ConfigurationError

__all__ = ["ENTRY_POINT_GROUP", "DriverFactory", "open_driver", "register"]

DriverFactory: TypeAlias = Callable[[Mapping[str, Any]], StorageDriver]
"""Makes a driver, not yet open, out of parameters."""

ENTRY_POINT_GROUP: Final = "azdriver.drivers"

# By import string: nobody pays for a driver's libraries who does not use it.
_BUILT_IN: Final = {
    "azure": "azdriver.azureblob.driver:AzureBlobDriver.from_parameters",
    "memory": "azdriver.memory:MemoryDriver.from_parameters",
}
_registered: dict[str, DriverFactory] = {}


def register(name: str, factory: DriverFactory) -> None:
    """Make a driver known to :func:`open_driver` in this process.

    Raises:
        ConfigurationError: a driver of this name is known already.
    """
    if name in _BUILT_IN or name in _registered:
        raise ConfigurationError(name, "name", "a driver of this name is registered already")
    _registered[name] = factory


@asynccontextmanager
async def open_driver(
    name: str, parameters: Mapping[str, Any] | None = None
) -> AsyncIterator[StorageDriver]:
    """Open a driver by its name, and close it at the end of the block.

    Args:
        name: ``"azure"``, ``"memory"``, a registered name, or that of an entry point in the
            group ``azdriver.drivers``.
        parameters: those of the driver, by the names that the container registry's
            configuration has for them.

    Raises:
        ConfigurationError: no such driver, or a parameter is missing, unknown or wrong.
    """
    async with _factory(name)(parameters or {}) as driver:
        yield driver


def _factory(name: str) -> DriverFactory:
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attributes = _BUILT_IN[name].partition(":")
        factory: Any = import_module(module)
        for attribute in attributes.split("."):
            factory = getattr(factory, attribute)
        return factory  # type: ignore[no-any-return]
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return entry_point.load()  # type: ignore[no-any-return]
    found = {entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    known = ", ".join(sorted(found | _BUILT_IN.keys() | _registered.keys()))
    raise ConfigurationError(name, "name", f"no such driver; there are: {known}")
