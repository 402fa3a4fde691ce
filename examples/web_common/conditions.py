"""What a request asks of the stored version: conditions, and a range of bytes.

Werkzeug parses the headers; what follows from them is decided here, as RFC 9110 has it in its
sections 13 and 14. The headers are a mapping in which case does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Final

from werkzeug.http import http_date, parse_date, parse_etags, parse_range_header

from azdriver import FileInfo
from web_common.answers import RequestRefused

__all__ = ["failed_condition", "has_conditions", "last_modified", "wanted_range"]

_CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")
_READS: Final = ("GET", "HEAD")


def has_conditions(headers: Mapping[str, str]) -> bool:
    """Whether a write is to happen on a condition only."""
    return any(name in headers for name in _CONDITIONS)


def failed_condition(
    method: str, headers: Mapping[str, str], found: FileInfo | None
) -> HTTPStatus | None:
    """304 or 412 if a condition does not hold for what was found; None to go on.

    Args:
        method: of the request: to a GET or HEAD, "you have it" is an answer.
        headers: of the request.
        found: the file; None if there is none.
    """
    etag = (found.etag or "").strip('"') if found else ""
    changed = _whole_seconds(found)
    if "If-Match" in headers:
        wanted = parse_etags(headers["If-Match"])
        if found is None or etag not in wanted:
            return HTTPStatus.PRECONDITION_FAILED
    elif changed and (limit := parse_date(headers.get("If-Unmodified-Since"))) and changed > limit:
        return HTTPStatus.PRECONDITION_FAILED
    if "If-None-Match" in headers:
        known = parse_etags(headers["If-None-Match"])
        if found is not None and known.contains_weak(etag):
            is_read = method in _READS
            return HTTPStatus.NOT_MODIFIED if is_read else HTTPStatus.PRECONDITION_FAILED
    elif changed and (since := parse_date(headers.get("If-Modified-Since"))) and changed <= since:
        return HTTPStatus.NOT_MODIFIED if method in _READS else None
    return None


def wanted_range(headers: Mapping[str, str], found: FileInfo) -> tuple[int, int] | None:
    """The first byte of a GET's range, and how many; None for the whole file.

    What is no single range of bytes is ignored, several ranges included, as a server may do;
    so is a range of another version than the ETag in ``If-Range`` names. A date in there counts as
    another version: two within one second have the same.

    Raises:
        RequestRefused: the range begins behind the end (416).
    """
    asked = parse_range_header(headers.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    if headers.get("If-Range", found.etag) != found.etag:
        return None
    start, end = asked.ranges[0]
    if start < 0:  # so many at the end
        start = max(0, found.size + start)
    if start >= found.size:
        raise RequestRefused(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            headers={"Content-Range": f"bytes */{found.size}"},
        )
    return start, min(found.size, end or found.size) - start


def last_modified(found: FileInfo) -> str:
    assert found.mod_time is not None  # a directory's alone is
    return http_date(found.mod_time)


def _whole_seconds(found: FileInfo | None) -> datetime | None:
    """When it was changed, as exact as a header says it."""
    return found.mod_time.replace(microsecond=0) if found and found.mod_time else None
