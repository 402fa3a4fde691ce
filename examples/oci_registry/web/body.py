"""The body of a request, as a stream that knows how it may end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11

from oci_registry.errors import BodyInterruptedError, too_large

__all__ = ["expect_nothing_yet", "read_chunks", "read_whole", "write_chunk"]

# Little enough that also a slow client takes it within the time for which it may do nothing.
WRITE_BYTES: Final = 256 * 1024


async def expect_nothing_yet(request: web.Request) -> None:
    """The handler of ``Expect`` for all routes: who reads the body answers ``100 Continue``.

    aiohttp would answer it before the first middleware, and the client would send a gigabyte to
    be told that it may not.
    """


async def read_chunks(request: web.Request, *, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body, chunk by chunk as it arrives.

    Raises:
        BodyInterruptedError: it ended before its end, or nothing came for ``idle_seconds``.
    """
    await _answer_expect(request)
    content = request.content
    try:
        while True:
            async with asyncio.timeout(idle_seconds):
                chunk = await content.readany()
            if not chunk:
                return
            yield chunk
    except TimeoutError:
        raise BodyInterruptedError("nothing came for too long", status=408) from None
    except (
        aiohttp.ClientError,
        ConnectionError,
        HttpProcessingError,
        web.RequestPayloadError,
    ) as error:
        raise BodyInterruptedError("the body ended before its end") from error


async def read_whole(request: web.Request, *, limit: int, idle_seconds: float) -> bytes:
    """The body, if it has at most ``limit`` bytes.

    Raises:
        RegistryError: ``SIZE_INVALID`` with 413, it is larger.
        BodyInterruptedError: as ``read_chunks``.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise too_large(limit)
    content = bytearray()
    async for chunk in read_chunks(request, idle_seconds=idle_seconds):
        if len(content) + len(chunk) > limit:
            raise too_large(limit)
        content += chunk
    return bytes(content)


async def write_chunk(
    request: web.Request, response: web.StreamResponse, chunk: bytes, *, idle_seconds: float
) -> None:
    """Send a chunk of an answer.

    Raises:
        ConnectionResetError: the client took less than ``WRITE_BYTES`` for ``idle_seconds``.
    """
    view = memoryview(chunk)
    for begin in range(0, len(view), WRITE_BYTES):
        try:
            async with asyncio.timeout(idle_seconds):
                await response.write(view[begin : begin + WRITE_BYTES])
        except TimeoutError:
            if request.transport is not None:
                # What is in its buffer would be waited for.
                request.transport.abort()
            raise ConnectionResetError("the client took nothing for too long") from None


async def _answer_expect(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() != "100-continue":
        return
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The answer itself has not begun.
        request.writer.output_size = 0
