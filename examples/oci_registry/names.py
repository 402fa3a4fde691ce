"""The names in a registry's URLs, checked before any path is built from them.

``parse_*`` is the only way to each type, and the layout of storage takes nothing else: a name
that could leave its directory is an error of the client's, and never a path.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NewType, Protocol, TypeAlias

from oci_registry.errors import ErrorCode, RegistryError

__all__ = [
    "Digest",
    "Hasher",
    "Reference",
    "RepositoryName",
    "Tag",
    "digest_of",
    "new_hasher",
    "parse_algorithm",
    "parse_digest",
    "parse_reference",
    "parse_repository",
    "parse_tag",
]

RepositoryName = NewType("RepositoryName", str)
"""Such as ``library/alpine``: components of small letters and digits, joined by slashes."""

Tag = NewType("Tag", str)
"""Such as ``v1.2``: at most 128 characters, none of them a slash or a colon."""

MAX_REPOSITORY_CHARACTERS: Final = 255
DEFAULT_ALGORITHM: Final = "sha256"

_HEX_CHARACTERS: Final = {"sha256": 64, "sha512": 128}
_HASHERS: Final = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The hash of a content: what it is addressed by.

    Attributes:
        algorithm: ``sha256`` or ``sha512``.
        hex: the hash, in small letters.
    """

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


Reference: TypeAlias = Tag | Digest
"""By which a manifest is asked for."""


class Hasher(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def new_hasher(algorithm: str) -> Hasher:
    """A hasher of an algorithm that was checked."""
    return _HASHERS[algorithm]()


def digest_of(content: bytes, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """The digest of a content that is in memory."""
    return Digest(algorithm, _HASHERS[algorithm](content).hexdigest())


def parse_repository(name: str) -> RepositoryName:
    """Check the name of a repository.

    Raises:
        RegistryError: ``NAME_INVALID``.
    """
    # The length first: what is absurdly long costs nothing.
    if len(name) > MAX_REPOSITORY_CHARACTERS:
        raise RegistryError(
            ErrorCode.NAME_INVALID,
            f"the name of a repository has at most {MAX_REPOSITORY_CHARACTERS} characters",
        )
    if not _REPOSITORY.fullmatch(name):
        raise RegistryError(ErrorCode.NAME_INVALID, "invalid name of a repository", name)
    return RepositoryName(name)


def parse_digest(text: str) -> Digest:
    """Check a digest; its algorithm is one that this registry computes.

    Raises:
        RegistryError: ``DIGEST_INVALID``.
    """
    algorithm, _, value = text.partition(":")
    if len(value) != _HEX_CHARACTERS.get(algorithm) or not _HEX.fullmatch(value):
        raise RegistryError(
            ErrorCode.DIGEST_INVALID, "a digest is sha256: or sha512: and as many hex digits", text
        )
    return Digest(algorithm, value)


def parse_algorithm(text: str) -> str:
    """Check the algorithm that a client is going to use.

    Raises:
        RegistryError: ``DIGEST_INVALID``.
    """
    if text not in _HEX_CHARACTERS:
        raise RegistryError(ErrorCode.DIGEST_INVALID, "unknown digest algorithm", text)
    return text


def parse_tag(text: str) -> Tag:
    """Check a tag.

    Raises:
        RegistryError: ``TAG_INVALID``.
    """
    if not _TAG.fullmatch(text):
        raise RegistryError(ErrorCode.TAG_INVALID, "invalid tag", text)
    return Tag(text)


def parse_reference(text: str) -> Reference:
    """Check what names a manifest: a digest if it has a colon, else a tag."""
    return parse_digest(text) if ":" in text else parse_tag(text)
