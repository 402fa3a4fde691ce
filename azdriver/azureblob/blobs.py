"""What several operations do with one blob: look at it, recognise it, delete what was seen."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import AzureError

from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import BlobHead, ListedBlob
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.retry import is_ambiguous
from azdriver.azureblob.translate import error_code, is_missing, status_of
from azdriver.contract import FileInfo
from azdriver.errors import BackendError
from azdriver.paths import StoragePath

__all__ = [
    "MAX_LOOKS",
    "WRITE_ID",
    "delete_if_unchanged",
    "file_info",
    "is_changed",
    "new_write_id",
    "same_etag",
    "unanswered_deletion",
]

MAX_LOOKS: Final = 20
"""Looks at a blob that other clients keep changing whenever it is to be read, replaced or deleted;
each but the first after a pause. Reached only under a steady fight."""

WRITE_ID: Final = "azdriver_write_id"
"""The metadata by which a write whose answer was lost is recognised: no other write has it."""


def new_write_id() -> str:
    """An identity for one write."""
    return uuid4().hex


def same_etag(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.strip('"') == other.strip('"')


def is_changed(error: AzureError) -> bool:
    """Whether a conditional request failed because the blob is another version, or gone.

    A deletion with If-Match of a blob that is gone is 412 on Azurite, 404 elsewhere. A lease's
    412 is no statement about the version.
    """
    if is_missing(error):
        return True
    return status_of(error) == 412 and not error_code(error).startswith("Lease")


def file_info(path: StoragePath, blob: BlobHead | ListedBlob) -> FileInfo:
    """What the contract says of a blob."""
    return FileInfo(path, blob.size, blob.last_modified, etag=blob.etag)


async def delete_if_unchanged(clients: Clients, name: BlobName, etag: str) -> bool | None:
    """Delete a blob only if it is still the version that was seen.

    Returns:
        Whether it was deleted: False if it is another version or gone; None if the answer was
        lost. Unless it is True, look again.

    Raises:
        HttpResponseError: it is leased, or has snapshots; nothing was deleted.
    """
    try:
        await clients.blob(name).delete_blob(
            etag=etag, match_condition=MatchConditions.IfNotModified
        )
    except AzureError as error:
        if is_changed(error):
            return False
        if is_ambiguous(error):
            return None
        raise
    return True


def unanswered_deletion(path: StoragePath, operation: str) -> BackendError:
    """For a deletion that was sent as often as the options allow, and never answered."""
    return BackendError(DRIVER_NAME, path, operation, reason="a deletion was not answered")
