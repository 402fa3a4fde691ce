"""``azure://account/container/root?parameter=value``: options out of an URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azdriver.azureblob.environment import options_from_environment
from azdriver.azureblob.options import DRIVER_NAME, AzureBlobOptions, shown
from azdriver.errors import ConfigurationError
from azdriver.urls import DriverUrl, parse_url

__all__ = ["options_from_url", "parameters_from_url"]


def options_from_url(url: str | DriverUrl, environ: Mapping[str, str]) -> AzureBlobOptions:
    """Options out of an URL, and out of the environment what it does not say.

    Raises:
        ConfigurationError: naming what is missing, unknown, contradictory or wrong.
    """
    return options_from_environment(parameters_from_url(url), environ)


def parameters_from_url(url: str | DriverUrl) -> dict[str, Any]:
    """The parameters that an URL says, by the names that the registry has for them.

    Raises:
        ConfigurationError: it is no URL of this driver, or says something twice.
    """
    parsed = parse_url(url) if isinstance(url, str) else url
    if parsed.scheme != DRIVER_NAME:
        reason = f"is to begin with azure:, not with {parsed.scheme}:"
        raise ConfigurationError(DRIVER_NAME, "url", reason)
    container, _, root = parsed.path.partition("/")
    place = {"accountname": parsed.host, "container": container, "rootdirectory": root.rstrip("/")}
    if parsed.host and ":" in parsed.host:
        reason = f"is not an account's name: {shown(parsed.host)}; a host belongs into serviceurl"
        raise ConfigurationError(DRIVER_NAME, "accountname", reason)
    parameters: dict[str, Any] = {name: value for name, value in place.items() if value}
    for name, value in parsed.parameters.items():
        if name in parameters:
            raise ConfigurationError(DRIVER_NAME, name, "contradicts what is before the '?'")
        if name.startswith("credentials."):
            parts = parameters.setdefault("credentials", {})
            parts[name.removeprefix("credentials.")] = value
        elif name == "credentials":
            reason = "is to be given in parts, as credentials.type=…"
            raise ConfigurationError(DRIVER_NAME, name, reason)
        else:
            parameters[name] = value
    return parameters
