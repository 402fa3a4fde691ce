"""Uploads of blobs: at once, in one stream, chunk by chunk; and mounts, which need none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlencode

from aiohttp import web

from oci_registry.errors import (
    BodyInterruptedError,
    ErrorCode,
    OffsetError,
    RegistryError,
    too_large,
)
from oci_registry.names import (
    DEFAULT_ALGORITHM,
    Digest,
    RepositoryName,
    parse_algorithm,
    parse_digest,
    parse_repository,
)
from oci_registry.web.body import read_chunks
from oci_registry.web.context import (
    DIGEST_HEADER,
    MAY_READ,
    SETTINGS,
    STORAGE,
    repository_in_path,
)
from oci_registry.web.ranges import ByteRange, parse_content_range

__all__ = ["append_chunk", "cancel_upload", "finish_upload", "start_upload", "upload_status"]


async def start_upload(request: web.Request) -> web.StreamResponse:
    """Mount a blob, take it whole, or begin an upload; by what the query says."""
    name = repository_in_path(request)
    uploads = request.app[STORAGE].uploads
    algorithm = _algorithm(request)
    if "mount" in request.query:
        digest = parse_digest(request.query["mount"])
        if await _mount(request, name, digest):
            return _created(name, digest)
    elif "digest" in request.query:
        digest = parse_digest(request.query["digest"])
        async with aclosing(_chunks(request, None)) as body:
            await uploads.store(name, digest, body)
        return _created(name, digest)
    identifier = await uploads.start(name, algorithm)
    return web.Response(status=202, headers=_progress(name, identifier, 0, algorithm))


async def append_chunk(request: web.Request) -> web.StreamResponse:
    """A chunk of an upload, or all of it in a stream."""
    name, identifier = _upload_in_path(request)
    algorithm = _algorithm(request)
    declared = _declared(request)
    try:
        async with aclosing(_chunks(request, declared)) as body:
            size = await request.app[STORAGE].uploads.append(
                name, identifier, body, offset=None if declared is None else declared.begin
            )
    except OffsetError as error:
        raise _with_progress(request, name, identifier, error) from None
    return web.Response(status=202, headers=_progress(name, identifier, size, algorithm))


async def finish_upload(request: web.Request) -> web.StreamResponse:
    """The end of an upload, with its last chunk, with all of it, or with nothing more."""
    name, identifier = _upload_in_path(request)
    if "digest" not in request.query:
        raise RegistryError(ErrorCode.DIGEST_INVALID, "digest is missing")
    digest = parse_digest(request.query["digest"])
    declared = _declared(request)
    try:
        async with aclosing(_chunks(request, declared)) as body:
            await request.app[STORAGE].uploads.finish(
                name,
                identifier,
                digest,
                body,
                offset=None if declared is None else declared.begin,
            )
    except OffsetError as error:
        raise _with_progress(request, name, identifier, error) from None
    return _created(name, digest)


async def upload_status(request: web.Request) -> web.StreamResponse:
    """How far an upload is."""
    name, identifier = _upload_in_path(request)
    size = await request.app[STORAGE].uploads.size(name, identifier)
    headers = _progress(name, identifier, size, _algorithm(request))
    return web.Response(status=204, headers=headers)


async def cancel_upload(request: web.Request) -> web.StreamResponse:
    """Throw an upload away."""
    name, identifier = _upload_in_path(request)
    await request.app[STORAGE].uploads.cancel(name, identifier)
    return web.Response(status=204)


async def _mount(request: web.Request, name: RepositoryName, digest: Digest) -> bool:
    """Whether the blob could be had from another repository that the client may read."""
    storage = request.app[STORAGE]
    may_read = request.app[MAY_READ]
    if "from" in request.query:
        source = parse_repository(request.query["from"])
        return may_read(request, source) and await storage.blobs.mount(name, digest, source)
    if not await storage.blobs.exists_anywhere(digest):
        return False
    at_once = request.app[SETTINGS].max_requests_in_flight
    candidates = [name] if may_read(request, name) else []
    async with aclosing(storage.catalog.repositories()) as repositories:
        async for candidate in repositories:
            if may_read(request, candidate):
                candidates.append(candidate)
            if len(candidates) >= at_once:
                if await _mount_from(request, name, digest, candidates):
                    return True
                candidates = []
    return await _mount_from(request, name, digest, candidates)


async def _mount_from(
    request: web.Request, name: RepositoryName, digest: Digest, candidates: list[RepositoryName]
) -> bool:
    blobs = request.app[STORAGE].blobs
    for source in await blobs.holders(digest, candidates):
        if await blobs.mount(name, digest, source):
            return True
    return False


async def _chunks(request: web.Request, declared: ByteRange | None) -> AsyncGenerator[bytes, None]:
    """The body, which is to be as long as Content-Range says, if it says."""
    left = None if declared is None else declared.length
    settings = request.app[SETTINGS]
    limit = settings.max_upload_bytes
    if limit is not None and (request.content_length or 0) > limit:
        raise too_large(limit)
    async for chunk in read_chunks(request, idle_seconds=settings.body_idle_seconds):
        if left is not None:
            left -= len(chunk)
            if left < 0:
                raise _wrong_length()
        yield chunk
    if left:
        raise _wrong_length()


def _declared(request: web.Request) -> ByteRange | None:
    """Which bytes of the upload the body is said to be."""
    declared = parse_content_range(request.headers.get("Content-Range"))
    length = request.content_length
    if declared is not None and length is not None and length != declared.length:
        raise RegistryError(ErrorCode.SIZE_INVALID, "Content-Range and Content-Length do not agree")
    return declared


def _wrong_length() -> BodyInterruptedError:
    # What came is kept, as from a connection that was cut: the client asks how far it got.
    return BodyInterruptedError("the body is not as long as Content-Range says")


def _algorithm(request: web.Request) -> str:
    """The algorithm of the digest to come; the upload's URL carries it if it is not the usual."""
    return parse_algorithm(request.query.get("digest-algorithm", DEFAULT_ALGORITHM))


def _upload_in_path(request: web.Request) -> tuple[RepositoryName, str]:
    return repository_in_path(request), request.match_info["upload"]


def _with_progress(
    request: web.Request, name: RepositoryName, identifier: str, error: OffsetError
) -> RegistryError:
    """The error, with where the upload is: the client can go on from there."""
    if error.size is None:
        return error
    headers = _progress(name, identifier, error.size, _algorithm(request))
    return RegistryError(error.code, error.message, {"size": error.size}, headers=headers)


def _progress(name: RepositoryName, identifier: str, size: int, algorithm: str) -> dict[str, str]:
    location = f"/v2/{name}/blobs/uploads/{identifier}"
    if algorithm != DEFAULT_ALGORITHM:
        location += "?" + urlencode({"digest-algorithm": algorithm})
    return {
        "Location": location,
        # An empty upload looks like one of a byte; so it does in every registry.
        "Range": f"0-{max(0, size - 1)}",
        "Docker-Upload-UUID": identifier,
    }


def _created(name: RepositoryName, digest: Digest) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", DIGEST_HEADER: str(digest)}
    return web.Response(status=201, headers=headers)
