"""Index tags, which go along with a blob; no condition tells that they were changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import is_missing
from azdriver.errors import PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["has_same_tags", "tags_of", "take_tags"]


async def tags_of(clients: Clients, path: StoragePath, blob: BlobProperties) -> dict[str, str]:
    """Those of a blob, if it has any that this credential may know of.

    Raises:
        PathNotFoundError: it is gone.
    """
    if not blob.tag_count:
        return {}
    with _missing_as_path_error(path):
        return dict(await clients.blob(BlobName(blob.name)).get_blob_tags())


async def has_same_tags(
    clients: Clients, path: StoragePath, one: BlobProperties, other: BlobProperties
) -> bool:
    """Whether two blobs have the same index tags; asks only if one of them had any.

    Raises:
        PathNotFoundError: one of them is gone.
    """
    return await tags_of(clients, path, one) == await tags_of(clients, path, other)


async def take_tags(
    clients: Clients, path: StoragePath, source: BlobProperties, copy: BlobProperties
) -> bool:
    """Give a copy the index tags that its source has by now, if they are other ones.

    A change of tags changes no ETag, so that no condition tells of it. The copy is not made anew:
    another migration may delete the source for it at any moment.

    Returns:
        Whether they were other ones.

    Raises:
        PathNotFoundError: one of them is gone.
    """
    tags = await tags_of(clients, path, source)
    if tags == await tags_of(clients, path, copy):
        return False
    blob = clients.blob(BlobName(copy.name))

    async def send() -> bool:
        await blob.set_blob_tags(tags)
        return True

    async def look() -> bool | None:
        return None  # again: they are the same tags

    with _missing_as_path_error(path):
        return await clients.retrier.settle(send, look)


@contextmanager
def _missing_as_path_error(path: StoragePath) -> Iterator[None]:
    try:
        yield
    except HttpResponseError as error:
        if is_missing(error):
            raise PathNotFoundError(DRIVER_NAME, path) from error
        raise
