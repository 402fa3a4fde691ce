"""Listings with all that the service tells of a blob: type, metadata, lease, snapshots.

By the SDK's models, which take a hundred times the CPU of the driver's own listings: for looking
at a container and for migrating it, not for serving from it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from azure.core.exceptions import DecodeError, HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobPrefix

from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.translate import is_missing

__all__ = ["InventoryPage", "blob_type_of", "inventory", "inventory_of_blobs", "look_at"]


class InventoryPage(NamedTuple):
    """One answer to List Blobs.

    Attributes:
        blobs: in the order of the names.
        prefixes: the virtual directories, each with the delimiter at its end.
        is_last: whether nothing comes after it.
    """

    blobs: Sequence[BlobProperties]
    prefixes: Sequence[str]
    is_last: bool


async def inventory(
    clients: Clients,
    prefix: str,
    *,
    delimiter: str = "",
    include: Sequence[str] = ("metadata",),
    page_blobs: int | None = None,
) -> AsyncGenerator[InventoryPage, None]:
    """The pages of a listing.

    Args:
        clients: what to talk through.
        prefix: what the names have to start with.
        delimiter: to get one level only.
        include: what to tell besides, as the SDK's ``list_blobs`` names it.
        page_blobs: how many blobs on a page; None for as many as the service puts there (5,000).

    Raises:
        AzureError: it could not be asked for, or holds what was not asked for.
    """
    arguments: dict[str, Any] = {"name_starts_with": prefix, "include": list(include)}
    if page_blobs is not None:
        arguments["results_per_page"] = page_blobs
    listing: Any
    if delimiter:
        listing = clients.container.walk_blobs(delimiter=delimiter, **arguments)
    else:
        listing = clients.container.list_blobs(**arguments)
    pages = listing.by_page()
    async for page in pages:
        blobs: list[BlobProperties] = []
        prefixes: list[str] = []
        async for item in page:
            if not isinstance(item.name, str) or not item.name.startswith(prefix):
                raise DecodeError("malformed answer: a listing of other names than asked for")
            if isinstance(item, BlobPrefix):
                prefixes.append(item.name)
            else:
                blobs.append(item)
        yield InventoryPage(blobs, prefixes, not pages.continuation_token)


async def inventory_of_blobs(
    clients: Clients, prefix: str
) -> AsyncGenerator[tuple[BlobProperties, bool], None]:
    """The blobs of a listing, each with whether it has snapshots.

    These are listed beside their blob: before it, but Azurite has them after it, too.

    Raises:
        AzureError: as :func:`inventory`.
    """
    blob: BlobProperties | None = None
    name = ""
    has_snapshots = False
    async for page in inventory(clients, prefix, include=("metadata", "snapshots")):
        for item in page.blobs:
            if item.name != name:
                if blob is not None:
                    yield blob, has_snapshots
                blob, name, has_snapshots = None, item.name, False
            if item.snapshot:
                has_snapshots = True
            else:
                blob = item
    if blob is not None:
        yield blob, has_snapshots


async def look_at(clients: Clients, name: BlobName) -> BlobProperties | None:
    """Get Blob Properties, all of them; None if there is no such blob."""
    try:
        return await clients.blob(name).get_blob_properties()
    except HttpResponseError as error:
        if is_missing(error):
            return None
        raise


def blob_type_of(blob: BlobProperties) -> str:
    """``BlockBlob``, ``AppendBlob`` or ``PageBlob``."""
    return str(getattr(blob.blob_type, "value", blob.blob_type))
