"""Taking a PUT's body into a driver: all of it, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import anyio

from azdriver import FileInfo, FileWriter, PathNotFoundError, StorageDriver, StorageDriverError
from web_common.answers import RequestRefused
from web_common.conditions import failed_condition, has_conditions

__all__ = ["MAX_CONTENT_BYTES", "MAX_UPLOAD_BYTES", "UPLOADS", "store"]

MAX_UPLOAD_BYTES: Final = 10 * 1024**3
# What is gathered in memory and written by one put_content; so is each conditional upload.
MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024
# Not below what is served. What a killed server has left here can be deleted.
UPLOADS: Final = "/uploads"
# How long a server that is stopping waits for what was begun to be taken back.
_CLEANUP_SECONDS: Final = 10


async def store(
    driver: StorageDriver,
    path: str,
    headers: Mapping[str, str],
    body: AsyncIterable[bytes],
    *,
    max_bytes: int = MAX_UPLOAD_BYTES,
) -> tuple[HTTPStatus, dict[str, str]]:
    """Store an upload; the status and the headers of the answer to it.

    The file appears whole and at once, or not at all. The next chunk is asked for when the driver
    has taken the one before: a web server that then stops reading from its client's connection
    holds a few blocks in memory, however large the upload.

    Args:
        driver: where to.
        path: which file.
        headers: of the request, whatever the case of their names.
        body: its chunks; it has to raise if the client hangs up before the end.
        max_bytes: the largest body.

    Raises:
        RequestRefused: 400, 409 for a directory, 412, 413, 415.
        StorageDriverError: nothing was stored, or of a ``BackendError`` it is not known.
    """
    declared = _declared_bytes(headers, max_bytes)
    found = await _found(driver, path)
    if found is not None and found.is_dir:
        raise RequestRefused(HTTPStatus.CONFLICT, "a directory")
    if failed := failed_condition("PUT", headers, found):
        raise RequestRefused(failed)
    conditional = has_conditions(headers)
    answer: dict[str, str] = {}
    if conditional or (declared is not None and declared <= MAX_CONTENT_BYTES):
        # The only write that the contract has a condition for: what was judged is still there.
        stored = await driver.put_content(
            path,
            await _gathered(body, declared, min(max_bytes, MAX_CONTENT_BYTES)),
            if_match=found.etag if conditional and found is not None else None,
            if_absent=conditional and found is None,
        )
        if stored.etag is not None:
            answer["ETag"] = stored.etag
    else:
        await _store_stream(driver, path, body, declared, max_bytes)
    return (HTTPStatus.NO_CONTENT if found else HTTPStatus.CREATED), answer


def _declared_bytes(headers: Mapping[str, str], max_bytes: int) -> int | None:
    """The length that the client tells in advance; None if it does not.

    Raises:
        RequestRefused: more than ``max_bytes``, or not a whole file as it is.
    """
    if headers.get("Content-Encoding", "identity") != "identity":
        raise RequestRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no content coding, please")
    if "Content-Range" in headers:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "a whole file, please, not a range of it")
    declared = headers.get("Content-Length")
    if declared is None:
        return None
    _require_at_most(max_bytes, int(declared))  # which the web server has checked to be a number
    return int(declared)


async def _found(driver: StorageDriver, path: str) -> FileInfo | None:
    try:
        return await driver.stat(path)
    except PathNotFoundError:
        return None


async def _gathered(body: AsyncIterable[bytes], declared: int | None, max_bytes: int) -> bytearray:
    _require_at_most(max_bytes, declared or 0)
    content = bytearray()
    async for chunk in body:
        _require_at_most(max_bytes, len(content) + len(chunk))
        content += chunk
    _require_complete(len(content), declared)
    return content


async def _store_stream(
    driver: StorageDriver,
    path: str,
    body: AsyncIterable[bytes],
    declared: int | None,
    max_bytes: int,
) -> None:
    # A stream at ``path`` itself would truncate what is there, and could be read half written.
    temporary = f"{UPLOADS}/{uuid4().hex}"
    async with driver.writer(temporary) as writer, _cancelled_unless_committed(writer):
        async for chunk in body:
            _require_at_most(max_bytes, writer.size + len(chunk))
            await writer.write(chunk)
        _require_complete(writer.size, declared)
        await writer.commit()
    try:
        await driver.move(temporary, path)
    except BaseException:
        with anyio.move_on_after(_CLEANUP_SECONDS, shield=True), suppress(StorageDriverError):
            await driver.delete(temporary)
        raise


@asynccontextmanager
async def _cancelled_unless_committed(writer: FileWriter) -> AsyncIterator[None]:
    """Throw away what was written if the block is left by an exception, a cancellation included.

    Leaving the writer's own block keeps it, to be resumed; nobody will resume this one.
    """
    try:
        yield
    except BaseException:
        with anyio.move_on_after(_CLEANUP_SECONDS, shield=True), suppress(StorageDriverError):
            await writer.cancel()
        raise


def _require_at_most(max_bytes: int, size: int) -> None:
    if size > max_bytes:
        raise RequestRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {max_bytes} bytes, the limit here"
        )


def _require_complete(size: int, declared: int | None) -> None:
    if declared is not None and size != declared:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"{size} bytes came, not {declared}")
