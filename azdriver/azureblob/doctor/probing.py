"""What the credential may do, found out by requests that cannot succeed.

The service looks at the permission first: who may not, gets 403; who may, gets an error about a
blob that is not there, or about a condition that never holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError

from azdriver.azureblob.client import Clients
from azdriver.azureblob.doctor.diagnosis import Answer
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import Anonymous, SasToken, SharedKey
from azdriver.azureblob.translate import error_code, status_of

__all__ = ["NAMES", "probe"]

NAMES: Final = (
    "read",
    "list",
    "write",
    "append",
    "delete",
    "tags",
    "create_container",
    "sign",
)

# No path has the tilde: no driver has written such a blob, nor will.
_NOWHERE: Final = BlobName("~azdriver-doctor/not-there")
_NEVER: Final = '"0x0000000000000"'


async def probe(clients: Clients, *, is_there: bool, may_list: Answer) -> dict[str, Answer]:
    """
    Args:
        clients: what to talk through.
        is_there: whether the container certainly is: else it would be created.
        may_list: whether it could be listed, which was tried already.
    """
    may: dict[str, Answer] = dict.fromkeys(NAMES, "unknown")
    may["list"] = may_list
    if isinstance(clients.options.credential, Anonymous):
        # Nobody may more; and the service says 404 to those as well that may not read.
        may.update(dict.fromkeys(("write", "append", "delete", "tags", "create_container"), "no"))
        may["read"] = await _may_anyone_read(clients)
        may["sign"] = "no"
        return may
    blob = clients.blob(_NOWHERE)
    never: dict[str, Any] = {"etag": _NEVER, "match_condition": MatchConditions.IfNotModified}
    if is_there:
        may["read"] = await _may(lambda: clients.lane.head(_NOWHERE))
        may["write"] = await _may(lambda: blob.upload_blob(b"", overwrite=True, **never))
        may["append"] = await _may(lambda: blob.append_block(b"x", **never))
        may["delete"] = await _may(lambda: blob.delete_blob(**never))
        may["tags"] = await _may(blob.get_blob_tags)
        may["create_container"] = await _may(clients.container.create_container)
    may["sign"] = await _may_sign(clients)
    return may


async def _may_anyone_read(clients: Clients) -> Answer:
    try:
        await clients.blob(_NOWHERE).get_blob_properties()
    except AzureError as error:
        if error_code(error) == "BlobNotFound":
            return "yes"
        return "unknown" if status_of(error) is None else "no"
    return "yes"


async def _may_sign(clients: Clients) -> Answer:
    credential = clients.options.credential
    if isinstance(credential, SharedKey):
        return "yes"
    if isinstance(credential, SasToken):
        return "no"
    now = datetime.now(UTC)
    return await _may(
        lambda: clients.service.get_user_delegation_key(
            now - timedelta(minutes=15), now + timedelta(hours=1)
        )
    )


async def _may(send: Callable[[], Awaitable[object]]) -> Answer:
    try:
        await send()
    except HttpResponseError as error:
        if status_of(error) in (401, 403):
            return "no"
        # Not there, or another version: it was let through. Anything else says nothing.
        return "yes" if status_of(error) in (404, 409, 412) else "unknown"
    except AzureError:
        return "unknown"
    return "yes"
