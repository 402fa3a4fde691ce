"""The grammar of paths, checked in one place.

``parse_path`` is the only way to a :class:`StoragePath`, and everything behind a driver's public
methods takes only that: an unchecked ``str`` is a type error, not a request.
"""

from __future__ import annotations

import re
from typing import Final, NewType, TypeGuard

from azdriver.errors import InvalidPathError

__all__ = ["MAX_PATH_CHARACTERS", "ROOT", "StoragePath", "is_path", "parse_path"]

StoragePath = NewType("StoragePath", str)
"""A path that was checked: absolute, its segments of letters, digits, ``.``, ``_`` and ``-``."""

ROOT: Final = StoragePath("/")

# The service's limit on the length of a blob name; a driver may set a narrower one.
MAX_PATH_CHARACTERS: Final = 1024

# Go's contract matches with ``$``, which in Python admits a trailing newline: match in full.
_PATH = re.compile(r"(?:/[A-Za-z0-9._-]+)+")
_WITHOUT_DOT_SEGMENTS = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+")


def parse_path(path: str, *, driver: str, root: bool = False) -> StoragePath:
    """Check a caller's path.

    Args:
        path: absolute, ``(/[A-Za-z0-9._-]+)+`` in full, at most 1,024 characters, no segment
            ``.`` or ``..`` (URL libraries fold those, after the request was signed, into
            another blob's name or even another container's).
        driver: the driver's name, for the error's message.
        root: whether ``/`` alone is allowed, as for ``stat``, ``list`` and ``walk``.

    Raises:
        InvalidPathError: with the rule that the path breaks.
    """
    reason = _broken_rule(path, root=root)
    if reason is not None:
        raise InvalidPathError(driver, path if isinstance(path, str) else repr(path), reason)
    return StoragePath(path)


def is_path(name: str) -> TypeGuard[StoragePath]:
    """Whether a name found in storage is a path that the contract can return."""
    # In one expression, since a walk asks this of every blob.
    return len(name) <= MAX_PATH_CHARACTERS and _WITHOUT_DOT_SEGMENTS.fullmatch(name) is not None


def _broken_rule(path: object, *, root: bool) -> str | None:
    if not isinstance(path, str):
        return f"a path is a str, not {type(path).__name__}"
    if path == ROOT:
        return None if root else "the root is allowed for stat, list and walk only"
    if not path.startswith("/"):
        return "a path starts with a slash"
    # Before the pattern, so that an absurdly long input costs nothing.
    if len(path) > MAX_PATH_CHARACTERS:
        return f"{len(path)} characters, the limit is {MAX_PATH_CHARACTERS}"
    if not _PATH.fullmatch(path):
        return "segments are of letters, digits, '.', '_' and '-', one slash before each"
    if any(segment in (".", "..") for segment in path.split("/")):
        return "no segment is '.' or '..'"
    return None
