"""What there is: tags, repositories, referrers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from aiohttp import web

from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.mediatypes import OCI_INDEX
from oci_registry.names import parse_digest
from oci_registry.web.context import (
    SETTINGS,
    STORAGE,
    digest_in_path,
    link_to_next,
    page_size,
    repository_in_path,
)

__all__ = ["get_referrers", "list_repositories", "list_tags"]


async def list_tags(request: web.Request) -> web.StreamResponse:
    """The tags of a repository: all of them, unless the client says how many."""
    name = repository_in_path(request)
    wanted = page_size(request)
    storage = request.app[STORAGE]
    tags = await storage.tags.all(name)
    if not tags and not await storage.catalog.knows(name):
        raise RegistryError(ErrorCode.NAME_UNKNOWN, "repository unknown to the registry", name)
    page, headers = _page(request, tags, wanted)
    return web.json_response({"name": name, "tags": page}, headers=headers)


async def list_repositories(request: web.Request) -> web.StreamResponse:
    """The repositories, at most a page of them."""
    largest = request.app[SETTINGS].max_page_entries
    wanted = page_size(request)
    wanted = largest if wanted is None else min(wanted, largest)
    repositories = await request.app[STORAGE].catalog.sorted()
    page, headers = _page(request, repositories, wanted)
    return web.json_response({"repositories": page}, headers=headers)


async def get_referrers(request: web.Request) -> web.StreamResponse:
    """An index of the manifests that have a subject; it is empty for one that nobody knows."""
    name, subject = repository_in_path(request), digest_in_path(request)
    last = request.query.get("last")
    wanted = request.query.getall("artifactType", [])
    page = await request.app[STORAGE].referrers.page(
        name,
        subject,
        after=None if last is None else parse_digest(last),
        artifact_types=wanted or None,
    )
    headers = {"Content-Type": OCI_INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    if page.last is not None:
        query = [*(("artifactType", kind) for kind in wanted), ("last", str(page.last))]
        headers["Link"] = link_to_next(request, query)
    return web.Response(body=page.index(), headers=headers)


def _page(
    request: web.Request, entries: Sequence[str], wanted: int | None
) -> tuple[Sequence[str], dict[str, str]]:
    """Up to ``wanted`` entries after ``last``, and the link to the next, if there are more."""
    begin = bisect_right(entries, request.query.get("last", ""))
    if wanted is None:
        return entries[begin:], {}
    page = entries[begin : begin + wanted]
    if not page or begin + wanted >= len(entries):
        return page, {}
    return page, {"Link": link_to_next(request, [("n", str(wanted)), ("last", page[-1])])}
