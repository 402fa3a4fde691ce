"""Listings: one level by hierarchical paging, a whole tree by flat paging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from azure.core.exceptions import DecodeError

from azdriver.azureblob.blobs import file_info
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import Lane, ListPage
from azdriver.azureblob.naming import BlobNames
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import translated
from azdriver.contract import FileInfo
from azdriver.errors import PathNotFoundError
from azdriver.paths import ROOT, StoragePath
from azdriver.tree import FlatPage

__all__ = ["Listing", "pages_of"]

# Pages in a row that bring a listing no further. The service sends empty ones, but at some point
# it has to come to a blob.
MAX_EMPTY_PAGES: Final = 10_000
# Blobs of a page between two turns of the event loop: about 10 ms of work.
SLICE: Final = 1000


async def pages_of(
    lane: Lane, prefix: str, *, delimiter: str = "", limit: int | None = None
) -> AsyncGenerator[ListPage, None]:
    """The pages of a listing.

    Args:
        lane: what to ask.
        prefix: what the names have to start with.
        delimiter: to get one level only.
        limit: of the names on a page.

    Raises:
        AzureError: it could not be asked for.
        DecodeError: the listing holds what was not asked for, or has no end.
    """
    marker = ""
    furthest = ""
    idle = 0
    while True:
        page = await lane.list_page(prefix, marker=marker, delimiter=delimiter, limit=limit)
        names = [*(blob.name for blob in page.blobs), *page.prefixes]
        if not all(name.startswith(prefix) for name in names) or not all(
            name.endswith(delimiter) for name in page.prefixes
        ):
            raise DecodeError("malformed answer: a listing of other names than asked for")
        yield page
        if not page.marker:
            return
        last = max(names, default="")
        idle = 0 if last > furthest else idle + 1
        furthest = max(furthest, last)
        if page.marker == marker:
            raise DecodeError("malformed answer: a listing that goes round in a circle")
        if idle > MAX_EMPTY_PAGES:
            raise DecodeError(f"malformed answer: {idle} pages that bring a listing no further")
        marker = page.marker


class Listing:
    """The listings of one container in one layout; the ``TreeSource`` of the walk."""

    def __init__(self, clients: Clients, names: BlobNames) -> None:
        self._clients = clients
        self._names = names

    async def children(self, directory: StoragePath) -> Sequence[str]:
        """The direct descendants, by List Blobs with a delimiter: a request per 5,000 of them.

        Raises:
            PathNotFoundError: nothing is below; never for the root.
        """
        prefix = self._names.prefix(directory)
        found = False
        children: set[str] = set()
        with translated(directory, "list"):
            async for page in pages_of(self._clients.lane, prefix, delimiter="/"):
                found = found or bool(page.blobs or page.prefixes)
                # A blob's name keeps its trailing slash: such a blob has no path.
                names = [*(blob.name for blob in page.blobs), *(n[:-1] for n in page.prefixes)]
                children.update(path for name in names if (path := self._names.path_of(name)))
        if not found and directory != ROOT:
            raise PathNotFoundError(DRIVER_NAME, directory)
        return sorted(children)

    async def exists_below(self, directory: StoragePath) -> bool:
        """Whether any blob is below; lists at most one."""
        prefix = self._names.prefix(directory)
        async for page in pages_of(self._clients.lane, prefix, limit=1):
            if page.blobs:
                return True
        return False

    async def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        """Every blob below, a request per 5,000 of them."""
        with translated(directory, "walk"):
            async for page in pages_of(self._clients.lane, self._names.prefix(directory)):
                entries: list[FileInfo] = []
                for start in range(0, len(page.blobs), SLICE):
                    for name, size, last_modified, etag in page.blobs[start : start + SLICE]:
                        path = self._names.path_of(name)
                        if path is not None:
                            entries.append(FileInfo(path, size, last_modified, False, etag))
                    await asyncio.sleep(0)
                yield FlatPage(entries, bool(page.marker), bool(page.blobs))

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        """The blobs and directories one level below, in the walk's order."""
        with translated(directory, "walk"):
            prefix = self._names.prefix(directory)
            async for page in pages_of(self._clients.lane, prefix, delimiter="/"):
                found: list[tuple[str, FileInfo]] = []
                for blob in page.blobs:
                    if (path := self._names.path_of(blob.name)) is not None:
                        found.append((blob.name, file_info(path, blob)))
                for name in page.prefixes:
                    if (path := self._names.path_of(name[:-1])) is not None:
                        found.append((name, FileInfo(path, is_dir=True)))
                # A page has both in an order of the service's own; the pages are in order.
                for _, info in sorted(found, key=lambda one: one[0]):
                    yield info
