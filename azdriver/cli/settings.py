"""Which driver a command talks to: an URL, or a profile of the configuration file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import azdriver
from azdriver.cli.failures import UsageFailure
from azdriver.contract import StorageDriver
from azdriver.urls import parse_url

if TYPE_CHECKING:
    from azdriver.azureblob import AzureBlobOptions

__all__ = ["Settings", "azure_options", "config_file", "current", "destination", "open_driver"]


@dataclass
class Settings:
    """The options that every command has."""

    url: str | None = None
    profile: str | None = None
    config: Path | None = None
    verbose: bool = False
    quiet: bool = False
    debug: bool = False
    # What an interrupted command tells about how to go on.
    when_interrupted: str = ""
    # How to show a line on the error stream while a progress bar is there.
    live: Callable[[str], None] | None = None


def current() -> Settings:
    """The settings of the command that runs."""
    return click.get_current_context().ensure_object(Settings)


def config_file(settings: Settings) -> Path:
    """``--config``, ``AZDRIVER_CONFIG``, or ``config.toml`` in the platform's place."""
    if settings.config is not None:
        return settings.config
    if given := os.environ.get("AZDRIVER_CONFIG"):
        return Path(given)
    return Path(click.get_app_dir("azdriver"), "config.toml")


def open_driver(
    settings: Settings, *, creates: bool = False
) -> AbstractAsyncContextManager[StorageDriver]:
    """The driver that is meant, to be entered with ``async with``.

    Args:
        settings: which one.
        creates: whether a container that does not exist is created. Otherwise it is an error: its
            name may be mistyped.

    Raises:
        UsageFailure: none is named, or the configuration file is wrong.
        ConfigurationError: the driver refuses its parameters.
    """
    target = _target(settings)
    if _is_azure(target):
        from azdriver.azureblob import AzureBlobDriver

        options = azure_options(settings)
        may_create = creates and options.create_container
        return AzureBlobDriver(replace(options, create_container=may_create))
    if isinstance(target, str):
        return azdriver.from_url(target)
    name, parameters = target
    return azdriver.open_driver(name, parameters)


def azure_options(settings: Settings) -> AzureBlobOptions:
    """The options of the driver that is meant, if it is ``azure``; no request is sent.

    Raises:
        UsageFailure: it is another driver; or as ``open_driver``.
    """
    target = _target(settings)
    if not _is_azure(target):
        raise UsageFailure("this is for Azure Blob Storage alone: the driver azure")
    # Not before it is certain that the SDK is wanted.
    from azdriver.azureblob.parameters import options_from_parameters
    from azdriver.azureblob.urls import options_from_url

    if isinstance(target, str):
        return options_from_url(target, os.environ)
    return options_from_parameters(target[1])


def _is_azure(target: str | tuple[str, Mapping[str, Any]]) -> bool:
    return (parse_url(target).scheme if isinstance(target, str) else target[0]) == "azure"


def destination(settings: Settings) -> str:
    """What names the driver in the records of uploads: nothing of it is a secret."""
    target = _target(settings)
    name = parse_url(target).scheme if isinstance(target, str) else target[0]
    if name == "azure":
        # However it is written, and wherever its parts come from.
        options = azure_options(settings)
        root = options.root_directory.strip("/")
        return f"{options.account_url}/{options.container}/{root}"
    if isinstance(target, str):
        url = parse_url(target)
        return f"{url.scheme}://{url.host}/{url.path}"
    public = ("accountname", "container", "realm", "rootdirectory", "serviceurl")
    return "|".join((name, *(str(target[1].get(key, "")) for key in public)))


def _target(settings: Settings) -> str | tuple[str, Mapping[str, Any]]:
    """An URL, or a driver's name and parameters.

    What the command line says goes before the environment, and that before the file.
    """
    if settings.url is not None and settings.profile is not None:
        raise UsageFailure("--url and --profile exclude each other")
    if settings.url is not None:
        return settings.url
    if settings.profile is not None:
        return _profile(settings, settings.profile)
    if url := os.environ.get("AZDRIVER_URL"):
        return url
    if profile := os.environ.get("AZDRIVER_PROFILE"):
        return _profile(settings, profile)
    file = config_file(settings)
    if settings.config is not None or file.exists():
        default = _read(file).get("profile")
        if isinstance(default, str):
            return _profile(settings, default)
    raise UsageFailure(
        "no driver: give --url or --profile, set AZDRIVER_URL or AZDRIVER_PROFILE, "
        f"or name a default profile in {file}"
    )


def _profile(settings: Settings, name: str) -> str | tuple[str, Mapping[str, Any]]:
    file = config_file(settings)
    profiles = _read(file).get("profiles", {})
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise UsageFailure(f"{file}: no profile {name!r}; there are: {known}")
    parameters = dict(profiles[name])
    url, driver = parameters.pop("url", None), parameters.pop("driver", None)
    if isinstance(url, str) and driver is None:
        if parameters:
            raise UsageFailure(f"{file}: profile {name!r} has an url, and can have nothing else")
        return url
    if isinstance(driver, str) and url is None:
        return driver, parameters
    raise UsageFailure(f"{file}: profile {name!r} is to have either an url or a driver, as texts")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageFailure(f"{file}: {error.strerror}") from None
    except ValueError as error:
        # The message has a line and a column, and no value.
        raise UsageFailure(f"{file}: not valid TOML: {error}") from None
