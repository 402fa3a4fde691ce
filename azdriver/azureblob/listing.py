"""Listings: one level by hierarchical paging, a whole tree by flat paging."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast

from azure.core.async_paging import AsyncItemPaged, AsyncPageIterator
from azure.core.exceptions import DecodeError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobPrefix

from azdriver.azureblob.blobs import file_info
from azdriver.azureblob.client import Clients
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


async def pages_of(
    items: AsyncItemPaged[Any], prefix: str
) -> AsyncGenerator[tuple[Sequence[Any], bool], None]:
    """The pages of a listing, each with whether another one follows.

    They are taken one by one, since an iteration over items recurses through a row of empty
    pages that have a continuation.

    Args:
        items: names, or what has a ``name``.
        prefix: what was asked for.

    Raises:
        DecodeError: the listing holds what was not asked for, or has no end.
    """
    pages = cast("AsyncPageIterator[Any]", items.by_page())
    marker: str | None = None
    furthest = ""
    idle = 0
    async for page in pages:
        found = [item async for item in page]
        names: list[str] = []
        for item in found:
            name = item if isinstance(item, str) else getattr(item, "name", None)
            if not isinstance(name, str) or not name.startswith(prefix):
                raise DecodeError("malformed answer: a listing of other names than asked for")
            names.append(name)
        yield found, bool(pages.continuation_token)
        last = max(names, default="")
        idle = 0 if last > furthest else idle + 1
        furthest = max(furthest, last)
        if pages.continuation_token and pages.continuation_token == marker:
            raise DecodeError("malformed answer: a listing that goes round in a circle")
        if idle > MAX_EMPTY_PAGES:
            raise DecodeError(f"malformed answer: {idle} pages that bring a listing no further")
        marker = pages.continuation_token


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
            items = self._clients.container.walk_blobs(name_starts_with=prefix, delimiter="/")
            async for page, _ in pages_of(items, prefix):
                for item in page:
                    found = True
                    path = self._names.path_of(_name(item))
                    if path is not None:
                        children.add(path)
        if not found and directory != ROOT:
            raise PathNotFoundError(DRIVER_NAME, directory)
        return sorted(children)

    async def exists_below(self, directory: StoragePath) -> bool:
        """Whether any blob is below; lists at most one."""
        prefix = self._names.prefix(directory)
        names = self._clients.container.list_blob_names(name_starts_with=prefix, results_per_page=1)
        async for page, _ in pages_of(names, prefix):
            if page:
                return True
        return False

    async def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        """Every blob below, a request per 5,000 of them."""
        with translated(directory, "walk"):
            prefix = self._names.prefix(directory)
            blobs = self._clients.container.list_blobs(name_starts_with=prefix)
            async for page, more in pages_of(blobs, prefix):
                entries: list[FileInfo] = []
                for blob in page:
                    path = self._names.path_of(blob.name)
                    if path is not None:
                        entries.append(file_info(path, blob))
                yield FlatPage(entries, more, bool(page))

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        """The blobs and directories one level below, in the walk's order."""
        with translated(directory, "walk"):
            prefix = self._names.prefix(directory)
            items = self._clients.container.walk_blobs(name_starts_with=prefix, delimiter="/")
            async for page, _ in pages_of(items, prefix):
                # A page has its directories before its blobs; the pages are in order.
                for item in sorted(page, key=lambda item: str(item.name)):
                    path = self._names.path_of(_name(item))
                    if path is None:
                        continue
                    if isinstance(item, BlobPrefix):
                        yield FileInfo(path, is_dir=True)
                    else:
                        yield file_info(path, item)


def _name(item: BlobProperties | BlobPrefix) -> str:
    # A blob's name keeps its trailing slash: such a blob has no path.
    name = str(item.name)
    return name.removesuffix("/") if isinstance(item, BlobPrefix) else name
