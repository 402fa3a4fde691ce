"""Ranges of bytes, as clients ask for them and as they send them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from oci_registry.errors import ErrorCode, RegistryError

__all__ = ["ByteRange", "has_first_byte", "parse_content_range", "parse_number", "parse_range"]

_DIGITS: Final = r"[0-9]{1,18}"
_RANGE: Final = re.compile(r"bytes[ \t]*=[ \t]*([0-9]+)?[ \t]*-[ \t]*([0-9]+)?[ \t]*")
_WITH_FIRST_BYTE: Final = re.compile(rf"bytes={_DIGITS}-(?:{_DIGITS})?")
# Clients of registries leave out the unit and the size.
_CONTENT_RANGE: Final = re.compile(rf"(?:bytes[ =])?({_DIGITS})-({_DIGITS})(?:/(?:{_DIGITS}|\*))?")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from ``begin`` to before ``end``."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.begin


def parse_number(digits: str) -> int:
    """A number, or of one with more than 19 digits its first 19: larger than anything there is.

    Python itself refuses thousands of digits.
    """
    return int(digits.lstrip("0")[:19] or "0")


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """What of ``size`` bytes a client wants; None for all of them.

    Several ranges at once, or another unit, are answered by all.

    Raises:
        RegistryError: ``RANGE_INVALID`` with 416.
    """
    if header is None or "," in header or not header.strip().lower().startswith("bytes"):
        return None
    match = _RANGE.fullmatch(header.strip().lower())
    if match is None or (match[1] is None and match[2] is None):
        raise _not_satisfiable(size)
    if match[1] is None:  # the last so many
        begin, end = max(0, size - parse_number(match[2])), size
    else:
        begin = parse_number(match[1])
        end = size if match[2] is None else min(size, parse_number(match[2]) + 1)
    if begin >= end:
        raise _not_satisfiable(size)
    return ByteRange(begin, end)


def has_first_byte(header: str) -> bool:
    """Whether it is one range in the form that every storage knows: ``bytes=5-9``, ``bytes=5-``."""
    return _WITH_FIRST_BYTE.fullmatch(header) is not None


def parse_content_range(header: str | None) -> ByteRange | None:
    """Which bytes of an upload a chunk has; None if the client does not say.

    Raises:
        RegistryError: ``BLOB_UPLOAD_INVALID``.
    """
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[2]) + 1 < int(match[1]):
        raise RegistryError(ErrorCode.BLOB_UPLOAD_INVALID, "malformed Content-Range", header)
    return ByteRange(int(match[1]), int(match[2]) + 1)


def _not_satisfiable(size: int) -> RegistryError:
    return RegistryError(
        ErrorCode.RANGE_INVALID,
        "the blob does not have this range",
        headers={"Content-Range": f"bytes */{size}"},
    )
