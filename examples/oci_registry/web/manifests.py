"""Manifests: put by tag or digest, read, deleted."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.names import Digest, Reference, Tag, digest_of, parse_reference, parse_tag
from oci_registry.storage.manifests import StoredManifest
from oci_registry.web.body import read_whole
from oci_registry.web.context import DIGEST_HEADER, SETTINGS, STORAGE, repository_in_path

__all__ = ["delete_manifest", "get_manifest", "put_manifest"]

MAX_TAGS = 100


async def get_manifest(request: web.Request) -> web.StreamResponse:
    """A manifest by tag or digest, as it was pushed, whatever the client would like best."""
    name = repository_in_path(request)
    reference = _reference_to_read(request)
    stored = await request.app[STORAGE].manifests.get(name, reference)
    headers = _headers(stored)
    for known in request.if_none_match or ():
        if known.value in ("*", str(stored.digest)):
            return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(stored.content))
        return web.Response(headers=headers)
    return web.Response(body=stored.content, headers=headers)


async def put_manifest(request: web.Request) -> web.StreamResponse:
    """Store a manifest, and the tags by which it is pushed."""
    name = repository_in_path(request)
    reference = parse_reference(request.match_info["reference"])
    tags = _tags(request, reference)
    settings = request.app[SETTINGS]
    content = await read_whole(
        request, limit=settings.max_manifest_bytes, idle_seconds=settings.body_idle_seconds
    )
    digest = digest_of(content)
    if isinstance(reference, Digest):
        digest = digest_of(content, reference.algorithm)
        if digest != reference:
            raise RegistryError(
                ErrorCode.DIGEST_INVALID,
                "the manifest does not have this digest",
                {"digest": str(reference), "content": str(digest)},
            )
    media_type = request.headers.get("Content-Type", "").partition(";")[0]
    manifest = await request.app[STORAGE].manifests.put(name, digest, content, media_type, tags)
    headers = CIMultiDict(
        {"Location": f"/v2/{name}/manifests/{digest}", DIGEST_HEADER: str(digest)}
    )
    if manifest.subject is not None:
        headers["OCI-Subject"] = str(manifest.subject)
    for tag in request.query.getall("tag", []):
        headers.add("OCI-Tag", tag)
    return web.Response(status=201, headers=headers)


async def delete_manifest(request: web.Request) -> web.StreamResponse:
    """Delete a tag, or a manifest with all its tags."""
    name = repository_in_path(request)
    reference = _reference_to_read(request)
    storage = request.app[STORAGE]
    if isinstance(reference, Digest):
        await storage.manifests.delete(name, reference)
    else:
        await storage.tags.delete(name, reference)
    return web.Response(status=202)


def _reference_to_read(request: web.Request) -> Reference:
    """What is asked for. A tag that could not have been pushed is one that is not there."""
    try:
        return parse_reference(request.match_info["reference"])
    except RegistryError as error:
        if error.code is not ErrorCode.TAG_INVALID:
            raise
        raise RegistryError(
            ErrorCode.MANIFEST_UNKNOWN, "manifest unknown to the repository", error.detail
        ) from None


def _tags(request: web.Request, reference: Reference) -> list[Tag]:
    """The tags that a push sets: the one in its path, and those in its query."""
    given = [parse_tag(tag) for tag in request.query.getall("tag", [])]
    if len(given) > MAX_TAGS:
        raise RegistryError(ErrorCode.UNSUPPORTED, f"at most {MAX_TAGS} tags at once", status=414)
    if not isinstance(reference, Digest):
        given.append(reference)
    return list(dict.fromkeys(given))


def _headers(stored: StoredManifest) -> dict[str, str]:
    return {
        "Content-Type": stored.media_type,
        DIGEST_HEADER: str(stored.digest),
        "ETag": f'"{stored.digest}"',
    }
