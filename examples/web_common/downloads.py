"""Answering GET and HEAD out of a driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from azdriver import (
    ConcurrentWriteError,
    FileInfo,
    FileReader,
    StorageDriver,
    UnsupportedMethodError,
)
from web_common.answers import RequestRefused
from web_common.conditions import failed_condition, last_modified, wanted_range

__all__ = ["Download", "open_download"]

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Download:
    """An answer: its head, and what its body is read from; None if it has no body.

    A web server that waits for its client before it takes the next chunk keeps the reader waiting
    too: no more than the driver's own read-ahead is in memory.
    """

    status: int
    headers: Mapping[str, str]
    reader: FileReader | None = None


@asynccontextmanager
async def open_download(
    driver: StorageDriver,
    path: str,
    method: str,
    headers: Mapping[str, str],
    *,
    redirect: bool = False,
) -> AsyncIterator[Download]:
    """Open what answers a GET or HEAD, and close it at the end of the block.

    However the block is left, when the client has hung up above all, the reader's connection is
    released.

    Args:
        driver: where the file is.
        path: which file.
        method: of the request.
        headers: of the request, whatever the case of their names.
        redirect: answer by a signed URL where the driver can sign.

    Raises:
        RequestRefused: 404 for a directory, 412, 416.
        StorageDriverError: before the block is entered; within it, the body ends early.
    """
    for _ in range(_TRIES):
        # The head of the answer is that of a version, so that version is asked for first.
        found = await driver.stat(path)
        if found.is_dir:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "a directory; it is listed with a slash")
        failed = failed_condition(method, headers, found)
        if failed is HTTPStatus.PRECONDITION_FAILED:
            raise RequestRefused(failed)
        if failed is not None:
            yield Download(failed, _version(found))
            return
        # The service reads some ranges otherwise than HTTP says, or not at all.
        whole = "Range" not in headers
        url = await _signed_url(driver, path, method) if redirect and whole else None
        if url is not None:
            # The URL ends in minutes, and holds a signature: no cache is to keep it.
            location = {"Location": url, "Cache-Control": "no-store", "Content-Length": "0"}
            yield Download(HTTPStatus.TEMPORARY_REDIRECT, location)
            return
        span = wanted_range(headers, found) if method == "GET" else None  # of a GET alone
        offset, length = span or (0, found.size)
        head = {
            **_version(found),
            "Accept-Ranges": "bytes",
            "Content-Length": str(length),
            # What anyone may have uploaded is never a page of this site.
            "Content-Type": "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
        }
        status = HTTPStatus.OK
        if span is not None:
            head["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{found.size}"
            status = HTTPStatus.PARTIAL_CONTENT
        if method == "HEAD" or not length:
            yield Download(status, head)
            return
        async with driver.reader(path, offset, length=length) as reader:
            if (reader.size, reader.etag) == (found.size, found.etag):
                yield Download(status, head, reader)
                return
        # Overwritten between the two requests: the head has to be that of the new version.
    raise ConcurrentWriteError(driver.name, path, "overwritten whenever it is read")


def _version(found: FileInfo) -> dict[str, str]:
    fields = {"Last-Modified": last_modified(found)}
    if found.etag is not None:
        fields["ETag"] = found.etag
    return fields


async def _signed_url(driver: StorageDriver, path: str, method: str) -> str | None:
    try:
        return await driver.url_for(path, method=method)
    except UnsupportedMethodError:
        return None  # the bytes go through this server then
