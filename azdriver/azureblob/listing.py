"""Listings: one level by hierarchical paging, a whole tree by flat paging."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import cast

from azure.core.async_paging import AsyncPageIterator
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

__all__ = ["Listing"]


class Listing:
    """The listings of one container in one layout; the ``TreeSource`` of the walk.

    The service sends empty pages that have a continuation: pages are taken one by one, since an
    iteration over items would recurse through a long row of them.
    """

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
            pages = self._clients.container.walk_blobs(name_starts_with=prefix, delimiter="/")
            async for page in pages.by_page():
                async for item in page:
                    found = True
                    path = self._names.path_of(_name(item))
                    if path is not None:
                        children.add(path)
        if not found and directory != ROOT:
            raise PathNotFoundError(DRIVER_NAME, directory)
        return sorted(children)

    async def exists_below(self, directory: StoragePath) -> bool:
        """Whether any blob is below; lists at most one."""
        names = self._clients.container.list_blob_names(
            name_starts_with=self._names.prefix(directory), results_per_page=1
        )
        async for page in names.by_page():
            async for _ in page:
                return True
        return False

    async def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        """Every blob below, a request per 5,000 of them."""
        with translated(directory, "walk"):
            blobs = self._clients.container.list_blobs(
                name_starts_with=self._names.prefix(directory)
            )
            pages = cast("AsyncPageIterator[BlobProperties]", blobs.by_page())
            async for page in pages:
                entries: list[FileInfo] = []
                found = False
                async for blob in page:
                    found = True
                    path = self._names.path_of(blob.name)
                    if path is not None:
                        entries.append(file_info(path, blob))
                yield FlatPage(entries, bool(pages.continuation_token), found)

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        """The blobs and directories one level below, in the walk's order."""
        with translated(directory, "walk"):
            pages = self._clients.container.walk_blobs(
                name_starts_with=self._names.prefix(directory), delimiter="/"
            )
            async for page in pages.by_page():
                # A page has its directories before its blobs; the pages are in order.
                items = [item async for item in page]
                for item in sorted(items, key=lambda item: str(item.name)):
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
