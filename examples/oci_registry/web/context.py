"""What the handlers share: the keys of the application, and how requests are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote, urlencode

from aiohttp import web

from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.names import Digest, RepositoryName, parse_digest, parse_repository
from oci_registry.settings import RegistrySettings
from oci_registry.storage import RegistryStorage
from oci_registry.web.ranges import parse_number

__all__ = [
    "DIGEST_HEADER",
    "MAY_READ",
    "SETTINGS",
    "STORAGE",
    "MayRead",
    "digest_in_path",
    "link_to_next",
    "page_size",
    "repository_in_path",
]

MayRead: TypeAlias = Callable[[web.Request, RepositoryName], bool]
"""Whether the client behind a request may read a repository."""

SETTINGS: Final = web.AppKey("settings", RegistrySettings)
STORAGE: Final = web.AppKey("storage", RegistryStorage)
MAY_READ: Final[web.AppKey[MayRead]] = web.AppKey("may_read")

DIGEST_HEADER: Final = "Docker-Content-Digest"


def repository_in_path(request: web.Request) -> RepositoryName:
    """The repository that a request is about, checked."""
    return parse_repository(request.match_info["name"])


def digest_in_path(request: web.Request) -> Digest:
    """The digest that a request is about, checked."""
    return parse_digest(request.match_info["digest"])


def page_size(request: web.Request) -> int | None:
    """How many entries a client wants; None if it does not say.

    Raises:
        RegistryError: ``PAGINATION_NUMBER_INVALID``.
    """
    given = request.query.get("n")
    if given is None:
        return None
    # Not int() alone: that takes signs, blanks, underscores and other scripts' digits.
    if not (given.isascii() and given.isdigit()):
        raise RegistryError(ErrorCode.PAGINATION_NUMBER_INVALID, "n is to be a number", given)
    return parse_number(given)


def link_to_next(request: web.Request, query: Sequence[tuple[str, str]]) -> str:
    """The header ``Link`` to the next page of what was asked for."""
    return f'<{quote(request.path)}?{urlencode(query)}>; rel="next"'
