"""Content-Length and Content-Range, as the service writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from azure.core.exceptions import DecodeError, HttpResponseError

__all__ = ["content_length", "content_range", "size_of_unsatisfiable"]

# Numbers of up to 60 bits; [0-9], since \d is the digits of any script.
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_RANGE: Final = re.compile(
    r"bytes (?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})|\*)/(?P<size>[0-9]{1,18})"
)


def content_length(text: str | None) -> int:
    """A number of bytes, or of what else a header counts.

    Raises:
        DecodeError: it is none.
    """
    if text is None or not _LENGTH.fullmatch(text):
        raise DecodeError("malformed answer: no Content-Length")
    return int(text)


def content_range(headers: Mapping[str, str]) -> tuple[int, int]:
    """Where in the blob a partial answer begins, and the size of the whole, in bytes.

    Raises:
        DecodeError: there is no such header, or it cannot be.
    """
    match = _RANGE.fullmatch(headers.get("Content-Range") or "")
    if match is None or match["first"] is None:
        raise DecodeError("malformed answer: no Content-Range")
    first, size = int(match["first"]), int(match["size"])
    if int(match["last"]) >= size or first > size:
        raise DecodeError("malformed answer: a Content-Range past the blob's end")
    return first, size


def size_of_unsatisfiable(error: HttpResponseError) -> int | None:
    """The blob's size in bytes out of a 416 answer; None where the service did not say it."""
    headers = getattr(error.response, "headers", {})
    match = _RANGE.fullmatch(headers.get("Content-Range") or "")
    return None if match is None else int(match["size"])
