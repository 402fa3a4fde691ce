"""Blobs: read whole or in part, looked for, deleted."""

from __future__ import annotations

from contextlib import aclosing, suppress

from aiohttp import web

from azdriver import UnsupportedMethodError
from oci_registry.storage.blobs import Blob
from oci_registry.web.body import write_chunk
from oci_registry.web.context import (
    DIGEST_HEADER,
    SETTINGS,
    STORAGE,
    digest_in_path,
    repository_in_path,
)
from oci_registry.web.ranges import ByteRange, has_first_byte, parse_range

__all__ = ["delete_blob", "get_blob", "head_blob"]


async def head_blob(request: web.Request) -> web.StreamResponse:
    """Whether a blob is there. A client that asks may go on to rely on it."""
    name, digest = repository_in_path(request), digest_in_path(request)
    blob = await request.app[STORAGE].blobs.claim(name, digest)
    if _is_known(request, blob):
        return web.Response(status=304, headers=_headers(blob))
    return web.Response(headers=_headers(blob) | {"Content-Length": str(blob.size)})


async def get_blob(request: web.Request) -> web.StreamResponse:
    """A blob, or one range of it."""
    name, digest = repository_in_path(request), digest_in_path(request)
    storage = request.app[STORAGE]
    blob = await storage.blobs.find(name, digest)
    headers = _headers(blob)
    if _is_known(request, blob):
        return web.Response(status=304, headers=headers)
    wanted = _wanted(request, blob)
    settings = request.app[SETTINGS]
    if settings.redirect_blobs and _is_for_storage(request):
        # A driver that cannot sign: the blob is served as if it were not set.
        with suppress(UnsupportedMethodError):
            url = await storage.driver.url_for(blob.path, expiry=settings.redirect_expiry)
            # The URL ends sooner than the digest does.
            headers["Cache-Control"] = "no-store"
            return web.Response(status=307, headers=headers | {"Location": url})
    if wanted is None:
        wanted = ByteRange(0, blob.size)
        response = web.StreamResponse(headers=headers)
    else:
        content_range = f"bytes {wanted.begin}-{wanted.end - 1}/{blob.size}"
        response = web.StreamResponse(
            status=206, headers=headers | {"Content-Range": content_range}
        )
    response.content_length = wanted.length
    idle_seconds = settings.body_idle_seconds
    await response.prepare(request)
    if wanted.length:
        async with aclosing(storage.blobs.chunks(blob, wanted.begin, wanted.length)) as chunks:
            async for chunk in chunks:
                await write_chunk(request, response, chunk, idle_seconds=idle_seconds)
    await response.write_eof()
    return response


async def delete_blob(request: web.Request) -> web.StreamResponse:
    """Take a blob out of the repository."""
    name, digest = repository_in_path(request), digest_in_path(request)
    await request.app[STORAGE].blobs.delete(name, digest)
    return web.Response(status=202)


def _headers(blob: Blob) -> dict[str, str]:
    return {
        DIGEST_HEADER: str(blob.digest),
        "ETag": f'"{blob.digest}"',
        "Accept-Ranges": "bytes",
        # What a digest names never changes.
        "Cache-Control": "max-age=31536000",
        "Content-Type": "application/octet-stream",
    }


def _is_known(request: web.Request, blob: Blob) -> bool:
    """Whether the client has it, as it says by If-None-Match."""
    return any(known.value in ("*", str(blob.digest)) for known in request.if_none_match or ())


def _wanted(request: web.Request, blob: Blob) -> ByteRange | None:
    if_range = request.headers.get("If-Range")
    if if_range is not None and if_range.strip() != f'"{blob.digest}"':
        return None
    return parse_range(request.headers.get("Range"), blob.size)


def _is_for_storage(request: web.Request) -> bool:
    """Whether the storage answers what the registry would: the client sends on its headers.

    Azure knows neither ``bytes=-5`` nor the entity tag in ``If-Range``.
    """
    wanted = request.headers.get("Range")
    return wanted is None or (has_first_byte(wanted) and "If-Range" not in request.headers)
