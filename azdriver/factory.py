"""Drivers by name and by URL: the built-in ones, registered ones, those found by entry point."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, TypeAlias

from azdriver.contract import StorageDriver
from azdriver.errors import ConfigurationError
from azdriver.urls import DriverUrl, parse_url

__all__ = [
    "ENTRY_POINT_GROUP",
    "URL_ENTRY_POINT_GROUP",
    "DriverFactory",
    "UrlFactory",
    "from_url",
    "make_driver",
    "open_driver",
    "register",
]

DriverFactory: TypeAlias = Callable[[Mapping[str, Any]], StorageDriver]
"""Makes a driver, not yet open, out of parameters."""


class UrlFactory(Protocol):
    """Makes a driver, not yet open, out of an URL and the environment."""

    def __call__(self, url: DriverUrl, /, *, environ: Mapping[str, str]) -> StorageDriver: ...


ENTRY_POINT_GROUP: Final = "azdriver.drivers"
URL_ENTRY_POINT_GROUP: Final = "azdriver.urls"

# By import string: nobody pays for a driver's libraries who does not use it.
_BUILT_IN: Final = {
    "azure": "azdriver.azureblob.driver:AzureBlobDriver.from_parameters",
    "memory": "azdriver.memory:MemoryDriver.from_parameters",
}
_BUILT_IN_BY_URL: Final = {"azure": "azdriver.azureblob.driver:AzureBlobDriver.from_url"}
_registered: dict[str, DriverFactory] = {}
_registered_by_url: dict[str, UrlFactory] = {}


def register(name: str, factory: DriverFactory, by_url: UrlFactory | None = None) -> None:
    """Make a driver known to :func:`open_driver` and :func:`from_url` in this process.

    Args:
        name: its name, which is the scheme of its URLs.
        factory: makes it out of parameters.
        by_url: makes it out of an URL and the environment. Without it, an URL is the name and
            parameters alone, and one with a host or a path is refused.

    Raises:
        ConfigurationError: a driver of this name is known already.
    """
    if name in _BUILT_IN or name in _registered:
        raise ConfigurationError(name, "name", "a driver of this name is registered already")
    _registered[name] = factory
    if by_url is not None:
        _registered_by_url[name] = by_url


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
    async with make_driver(name, parameters or {}) as driver:
        yield driver


def make_driver(name: str, parameters: Mapping[str, Any]) -> StorageDriver:
    """A driver by its name, not yet open: use it with ``async with``.

    Raises:
        ConfigurationError: as :func:`open_driver`.
    """
    return _factory(name)(parameters)


def from_url(url: str, *, environ: Mapping[str, str] | None = None) -> StorageDriver:
    """A driver by an URL, not yet open: use it with ``async with``.

    ``azure://ACCOUNT/CONTAINER/ROOT?PARAMETER=VALUE&…`` is a container of Azure Blob Storage; what
    the URL does not say is taken from the environment, as
    :meth:`azdriver.azureblob.AzureBlobDriver.from_url` says.
    ``memory:`` is a driver in memory. Another driver's URL begins with its name; what its host and
    path mean is up to the driver's function in the entry point group ``azdriver.urls``.

    Args:
        url: percent-encoded, where a plus is a plus.
        environ: the variables of the environment; None for those of the process.

    Raises:
        ConfigurationError: no such driver, or a part is missing, unknown, contradictory or wrong.
            It shows no value of a secret.
    """
    parsed = parse_url(url)
    environ = os.environ if environ is None else environ
    by_url = _url_factory(parsed.scheme)
    if by_url is not None:
        return by_url(parsed, environ=environ)
    try:
        factory = _factory(parsed.scheme)  # an unknown name matters more than what follows it
    except ConfigurationError as error:
        if parsed.scheme not in ("http", "https"):
            raise
        # As Azure's own pages show it.
        hint = f"{error.reason}; that of a container is azure://ACCOUNT/CONTAINER"
        raise ConfigurationError(parsed.scheme, "url", hint) from None
    return factory(parsed.without_place())


def _factory(name: str) -> DriverFactory:
    found: DriverFactory | None = _found(name, _registered, _BUILT_IN, ENTRY_POINT_GROUP)
    if found is not None:
        return found
    by_entry_point = {entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)}
    known = ", ".join(sorted(by_entry_point | _BUILT_IN.keys() | _registered.keys()))
    raise ConfigurationError(name, "name", f"no such driver; there are: {known}")


def _url_factory(name: str) -> UrlFactory | None:
    if name in _registered or (name in _BUILT_IN and name not in _BUILT_IN_BY_URL):
        return _registered_by_url.get(name)
    found: UrlFactory | None = _found(
        name, _registered_by_url, _BUILT_IN_BY_URL, URL_ENTRY_POINT_GROUP
    )
    return found


def _found(
    name: str, registered: Mapping[str, Any], built_in: Mapping[str, str], group: str
) -> Any | None:
    if name in registered:
        return registered[name]
    if name in built_in:
        module, _, attributes = built_in[name].partition(":")
        found: Any = import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
        return found
    for entry_point in entry_points(group=group, name=name):
        return entry_point.load()
    return None
