"""The container registry's own configuration: the ``storage`` of a ``config.yml``.

It is read as the registry reads it, with what ``REGISTRY_STORAGE_…`` in the environment replaces.
https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from azdriver.contract import StorageDriver
from azdriver.errors import ConfigurationError
from azdriver.factory import make_driver
from azdriver.registryyaml import MAX_CHARACTERS, parse_yaml

__all__ = ["from_registry_config"]

_PREFIX: Final = "REGISTRY_STORAGE"
# Below ``storage``, and no drivers: what the registry does with any of them.
_NO_DRIVERS: Final = frozenset({"cache", "delete", "maintenance", "redirect", "tag"})
_NAMES: Final = {"inmemory": "memory"}  # the registry's name, and the one here
_MAPPINGS: Final = frozenset({"credentials"})  # what a driver's parameters have below them


def from_registry_config(
    path: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> StorageDriver:
    """The driver of a registry's configuration, not yet open: use it with ``async with``.

    Takes ``azdriver[yaml]``. ``storage`` has one driver; ``inmemory`` is the one in memory. What
    else the file has, and what is no driver below ``storage``, is left alone.

    ``REGISTRY_STORAGE_AZURE_CONTAINER`` in the environment replaces ``storage.azure.container``,
    and so on; values are YAML. ``REGISTRY_STORAGE=azure`` replaces all of ``storage``.

    Args:
        path: the file.
        text: what is in it, instead.
        environ: the variables of the environment; None for those of the process.

    Raises:
        ConfigurationError: PyYAML is missing; the file cannot be read, or is no such
            configuration; or a parameter is missing, unknown, contradictory or wrong. It is named
            by its full path (``storage.azure.container``). No value of a secret is shown.
    """
    if (path is None) == (text is None):
        raise _wrong("config", "is to be either a path or a text")
    whole = parse_yaml("config", _read(path) if path is not None else text)
    if not isinstance(whole, dict):
        raise _wrong("config", f"is to be a mapping, not {_kind(whole)}")
    storage = _Storage(whole.get("storage"))
    environ = os.environ if environ is None else environ
    for variable in sorted(environ):  # the whole before its parts
        if variable == _PREFIX or variable.startswith(f"{_PREFIX}_"):
            storage.replace(variable, parse_yaml(variable, environ[variable]))
    return storage.driver()


class _Storage:
    """``storage``, while it is put together."""

    def __init__(self, value: object) -> None:
        self._drivers = _as_drivers("storage", value)
        self._variables: dict[str, str] = {}
        """By which variable a path was set."""

    def replace(self, variable: str, value: object) -> None:
        """Take what a variable of the environment says."""
        parts = variable.removeprefix(_PREFIX).lower().split("_")[1:]
        if not parts:
            self._drivers = _as_drivers(variable, value)
            return
        if not all(parts):
            raise _wrong(variable, "has two underscores in a row, or one at its end")
        name, *rest = parts
        if rest and rest[0] not in _MAPPINGS:
            rest = ["_".join(rest)]  # as in max_retries
        elif len(rest) > 1:
            rest = [rest[0], "_".join(rest[1:])]
        target = self._drivers
        for part in (name, *rest)[:-1]:
            key = _key(target, part)
            below = target.get(key)
            # A copy: what an alias names twice is changed in one place.
            target[key] = dict(below) if isinstance(below, dict) else {}
            target = target[key]
        target[_key(target, (name, *rest)[-1])] = value
        self._variables[".".join(("storage", name, *rest))] = variable

    def driver(self) -> StorageDriver:
        names = [name for name in self._drivers if name not in _NO_DRIVERS]
        if len(names) != 1:
            found = ", ".join(_shown(name) for name in names[:10]) or "none"
            raise _wrong("storage", f"is to have one driver; there are: {found}")
        [name] = names
        path = f"storage.{_shown(name)}"
        parameters = {} if self._drivers[name] is None else self._drivers[name]
        if not isinstance(parameters, dict):
            raise self._named(path, f"is to be a mapping, not {_kind(parameters)}")
        driver_name = _NAMES.get(name, name)
        try:
            return make_driver(driver_name, parameters)
        except ConfigurationError as error:
            if error.parameter == "name" and error.driver_name == driver_name:
                wrong = self._named(path, error.reason)
            else:
                wrong = self._named(f"{path}.{error.parameter}", error.reason, error.driver_name)
        raise wrong

    def _named(self, path: str, reason: str, driver: str = "azdriver") -> ConfigurationError:
        variable = self._variables.get(path)
        return _wrong(path, f"{reason} (set by {variable})" if variable else reason, driver)


def _as_drivers(where: str, value: object) -> dict[str, Any]:
    """What is below ``storage``; a name alone is a driver without parameters."""
    if isinstance(value, str):
        return {value: {}}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(where, f"is to be a mapping with a driver, not {_kind(value)}")
    return {str(key): below for key, below in value.items()}


def _key(target: Mapping[Any, Any], part: str) -> Any:
    """The key that is there already, in whatever case, or the new one."""
    return next((key for key in target if str(key).lower() == part), part)


def _read(path: str | os.PathLike[str]) -> str:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return file.read(MAX_CHARACTERS + 1)  # one too many is found to be too long
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        reason = "is no text in UTF-8"
    raise _wrong("config", reason)


def _kind(value: object) -> str:
    return "empty" if value is None else type(value).__name__


def _shown(name: str) -> str:
    return name[:100] if "=" not in name else "(not shown)"  # a secret has equals signs


def _wrong(parameter: str, reason: str, driver: str = "azdriver") -> ConfigurationError:
    return ConfigurationError(driver, parameter, reason)
