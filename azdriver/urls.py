"""URLs of drivers: ``azure://account/container/prefix?parameter=value`` or ``memory:``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from azdriver.errors import ConfigurationError

__all__ = ["DriverUrl", "parse_url"]

# RFC 3986, appendix B. Not urlsplit: that drops tabs and line ends, and quotes what it refuses.
_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+._-]{0,99}):(?://(?P<host>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_CHARACTERS: Final = re.compile(r"[!-~]+")
_HALF_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class DriverUrl:
    """An URL in its parts, decoded.

    Attributes:
        scheme: the driver's name, in lower case.
        host: what is between ``//`` and the next slash, in the case that it was written in.
        path: what comes then, without the slash in front.
        parameters: those of the query. A plus is a plus, and no blank. They may be secrets.
    """

    scheme: str
    host: str = ""
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    def without_place(self) -> Mapping[str, str]:
        """The parameters of a driver that has no host and no path.

        Raises:
            ConfigurationError: the URL has one of them.
        """
        if self.host or self.path:
            reason = f"is to be '{self.scheme}:', with nothing but a query after it"
            raise ConfigurationError(self.scheme, "url", reason)
        return self.parameters


def parse_url(url: str) -> DriverUrl:
    """The parts of a driver's URL.

    Raises:
        ConfigurationError: it is none. The message shows no part of it but the names.
    """
    name = "azdriver"  # until it is known which driver is meant
    if not isinstance(url, str):
        raise ConfigurationError(name, "url", f"is to be a text, not {type(url).__name__}")
    match = _URL.fullmatch(url)
    if match is None:
        if "#" in url:
            raise ConfigurationError(name, "url", "has a '#', which is to be written as %23")
        reason = "is no URL such as azure://account/container or memory:"
        raise ConfigurationError(name, "url", reason)
    scheme = match["scheme"].lower()
    if not _CHARACTERS.fullmatch(url):
        reason = "has a character that is to be percent-encoded"
        raise ConfigurationError(scheme, "url", reason)
    host = match["host"] or ""
    if "@" in host:
        raise ConfigurationError(scheme, "url", "has a user; credentials belong into the query")
    parameters: dict[str, str] = {}
    for part in (match["query"] or "").split("&"):
        key, separator, value = part.partition("=")
        if not part:
            continue
        key = _decoded(scheme, "a name", key).lower()
        if not separator or not key or "=" in key:
            reason = "has a query that is not of NAME=VALUE with '&' between them"
            raise ConfigurationError(scheme, "url", reason)
        if key in parameters:
            raise ConfigurationError(scheme, key[:100], "is given twice")
        parameters[key] = _decoded(scheme, key[:100], value)
    return DriverUrl(
        scheme,
        _decoded(scheme, "its host", host),
        _decoded(scheme, "its path", match["path"].removeprefix("/")),
        parameters,
    )


def _decoded(scheme: str, where: str, text: str) -> str:
    if _HALF_ESCAPE.search(text):
        reason = f"has a '%' in {where} that is to be written as %25"
        raise ConfigurationError(scheme, "url", reason)
    decoded = unquote(text, errors="replace")
    if "\ufffd" in decoded:
        raise ConfigurationError(scheme, "url", f"has bytes in {where} that are no UTF-8")
    return decoded
