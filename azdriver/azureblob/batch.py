"""The body of a Blob Batch of deletions, and what its answer says of each.

The SDK builds every member through a pipeline of its own, and lets ``email`` write and read the
parts: a hundred times the work.

Source: https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import uuid4

__all__ = ["batch_body", "batch_statuses"]

_CRLF: Final = "\r\n"
_BOUNDARY: Final = re.compile(
    r"multipart/mixed\s*;.*?\bboundary=(?:\"([^\"]{1,100})\"|([^\s;\"]{1,100}))", re.IGNORECASE
)
_ID: Final = re.compile(rb"^content-id:[ \t]*([0-9]{1,3})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_STATUS: Final = re.compile(rb"^HTTP/1\.[01] ([0-9]{3})\b", re.MULTILINE)


def batch_body(deletions: Iterable[tuple[str, Mapping[str, str]]]) -> tuple[str, bytes]:
    """A batch that deletes these.

    Args:
        deletions: of each its path and query, percent-encoded and signed, and its headers.

    Returns:
        The Content-Type, and the body.
    """
    boundary = f"batch_{uuid4()}"
    parts = [
        f"--{boundary}\r\n"
        "Content-Type: application/http\r\n"
        "Content-Transfer-Encoding: binary\r\n"
        f"Content-ID: {number}\r\n"
        "\r\n"
        f"DELETE {path} HTTP/1.1\r\n"
        f"{''.join(f'{key}: {value}{_CRLF}' for key, value in headers.items())}"
        "Content-Length: 0\r\n"
        "\r\n"
        "\r\n"
        for number, (path, headers) in enumerate(deletions)
    ]
    parts.append(f"--{boundary}--\r\n")
    return f"multipart/mixed; boundary={boundary}", "".join(parts).encode("ascii")


def batch_statuses(content_type: str, body: bytes, count: int) -> list[int]:
    """The status of each member, in the order of the request.

    Returns:
        Nothing, unless there is exactly one for each.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        return []
    boundary = (found[1] or found[2]).encode()
    statuses: dict[int, int] = {}
    parts = body.split(b"--" + boundary)[1:-1]
    for part in parts:
        number, status = _ID.search(part), _STATUS.search(part)
        if number is None or status is None:
            return []
        statuses[int(number[1])] = int(status[1])
    if len(parts) != count or sorted(statuses) != list(range(count)):
        return []
    return [statuses[number] for number in range(count)]
