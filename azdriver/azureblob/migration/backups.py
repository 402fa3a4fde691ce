"""An append blob becomes a block blob under its own name.

The service has no request for that: what is there has to be deleted first. So the content is
written as a block blob under a reserved name, the blob is deleted if it is still what was read,
and the backup is copied to its name, within the service. Between the two a reader finds nothing.
A process that is killed at any point leaves either the blob or a backup that says whose it is.

A blob that others put there in between wins. The backup is kept, with a mark that it is never to
be copied back, until a run is told to delete such ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties

from azdriver.azureblob.blobs import delete_if_unchanged, is_changed
from azdriver.azureblob.client import Clients
from azdriver.azureblob.copying import delete_source
from azdriver.azureblob.inventory import blob_type_of, look_at
from azdriver.azureblob.migration.comparing import begins_with, is_same_content, require_right
from azdriver.azureblob.migration.copies import (
    copy_blob,
    require_deletable,
    settled_copy,
    write_block_blob,
)
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.migration.outcome import ATTEMPTS, Outcome
from azdriver.azureblob.migration.tags import take_tags
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import quoted
from azdriver.errors import BackendError, ConcurrentWriteError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = [
    "BACKUPS",
    "backup_name",
    "backup_of",
    "convert_in_place",
    "drop_superseded",
    "finish_backup",
    "is_superseded",
    "name_of_backup",
]

BACKUPS: Final = "~azdriver-migration/"
"""What the names of backups start with: no path of any driver has the tilde, so none is shown."""

# The metadata of a backup: whose it is, when that blob was created, by which it is known again,
# and whether another content has taken its place. Not part of what is restored.
_NAME: Final = "azdriver_migrated_name"
_CREATED: Final = "azdriver_migrated_created"
_SUPERSEDED: Final = "azdriver_migrated_superseded"
_OF_BACKUP: Final = frozenset({_NAME, _CREATED, _SUPERSEDED})

MAX_STEPS: Final = 12  # four would do where nobody else is about


def backup_name(name: str) -> BlobName:
    """Of one length, however long the blob's own name is."""
    return BlobName(BACKUPS + hashlib.sha256(name.encode()).hexdigest())


def name_of_backup(backup: BlobProperties) -> BlobName | None:
    """The blob that a backup is of; None if it is no backup of ours."""
    name = (backup.metadata or {}).get(_NAME, "")
    if Mark.on(backup) is None or backup_name(name) != backup.name:
        return None
    return BlobName(name)


def _of_blob(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _OF_BACKUP}


def is_superseded(backup: BlobProperties) -> bool:
    """Whether another content was found at the blob's name, so that this one never goes back."""
    return _SUPERSEDED in (backup.metadata or {})


async def backup_of(clients: Clients, path: StoragePath, name: BlobName) -> BlobProperties | None:
    """The backup of a blob, if there is one.

    Raises:
        BackendError: a foreign blob has its name.
    """
    found = await look_at(clients, backup_name(name))
    if found is not None and name_of_backup(found) != name:
        reason = f"{found.name!r} is in the way: it is no backup of it"
        raise BackendError(DRIVER_NAME, path, "migrate", reason=reason)
    return found


async def convert_in_place(clients: Clients, path: StoragePath, name: BlobName) -> Outcome:
    """Make a block blob of an append blob.

    Raises:
        AzureError, StorageDriverError: refused; nothing is lost.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            await clients.retrier.pause(attempt - 1)
        # Of another process, or of an earlier run.
        outcome = await finish_backup(clients, path, name)
        if outcome is None:
            found = await look_at(clients, name)
            if found is None:
                return "gone"
            if blob_type_of(found) != "AppendBlob":
                return "in place"
            require_deletable(found)
            metadata = {
                **_of_blob(found.metadata),
                _NAME: name,
                _CREATED: str(found.creation_time),
            }
            # Then there is another backup, or none, or no blob any more.
            with suppress(ConcurrentWriteError, PathNotFoundError):
                write_id = Mark.of(found).write_id
                await write_block_blob(clients, path, found, backup_name(name), write_id, metadata)
            outcome = await finish_backup(clients, path, name)
        if outcome is not None and outcome != "changed":
            return outcome
    return "changed"


async def finish_backup(clients: Clients, path: StoragePath, name: BlobName) -> Outcome | None:
    """Go on where a backup was written, in this process or in one that was killed since.

    Where nothing is at the blob's name, the backup goes there: any process may have deleted the
    blob for it. A blob that someone else deletes in this moment appears again.

    Returns:
        None if there is no backup.

    Raises:
        AzureError, StorageDriverError: refused; the backup is kept.
    """
    backup = await backup_of(clients, path, name)
    if backup is None:
        return None
    for attempt in range(MAX_STEPS):
        if is_superseded(backup):
            return "conflict"
        try:
            outcome = await _Finish(clients, path, name, backup).step()
        except (ConcurrentWriteError, PathNotFoundError):
            outcome = None
            backup = await backup_of(clients, path, name)
            if backup is None:
                return "gone"  # another process has finished
        if outcome is not None:
            return outcome
        if attempt:
            await clients.retrier.pause(attempt - 1)
    return "changed"


async def drop_superseded(clients: Clients, path: StoragePath, backup: BlobProperties) -> Outcome:
    """Delete a backup, as a listing had it, whose place another content has taken.

    Raises:
        AzureError, StorageDriverError: refused; it is kept.
    """
    try:
        await delete_source(clients, path, BlobName(backup.name), quoted(backup.etag))
    except ConcurrentWriteError:
        return "changed"
    return "dropped"


class _Finish:
    """From the backup on. The backup goes only where nobody can need it any more."""

    def __init__(
        self, clients: Clients, path: StoragePath, name: BlobName, backup: BlobProperties
    ) -> None:
        self._clients = clients
        self._path = path
        self._name = name
        self._backup = backup
        self._backup_name = BlobName(backup.name)
        mark = Mark.on(backup)
        assert mark is not None  # as of every backup
        self._mark = mark

    async def step(self) -> Outcome | None:
        """None to look again."""
        now = await look_at(self._clients, self._name)
        if now is None:
            await self._restore()
            return None
        if Mark.on(now) == self._mark and blob_type_of(now) == "BlockBlob":
            copied = await settled_copy(self._clients, now)
            if copied is not None:
                require_right(copied, self._backup)
                await self._drop()
                return "done"
            return None
        if Mark.of(now) == self._mark:
            return await self._delete(now)
        return await self._judge(now)

    async def _restore(self) -> None:
        await copy_blob(
            self._clients,
            self._path,
            self._backup,
            self._name,
            self._mark.write_id,
            _of_blob(self._backup.metadata),
        )

    async def _delete(self, now: BlobProperties) -> Outcome | None:
        """The blob as it was saved."""
        require_deletable(now)
        if not await is_same_content(self._clients, self._path, now, self._backup):
            await self._drop()
            return "changed"
        if await take_tags(self._clients, self._path, now, self._backup):
            raise ConcurrentWriteError(DRIVER_NAME, self._path, "its tags were changed")
        await delete_if_unchanged(self._clients, self._name, now.etag)
        return None

    async def _judge(self, now: BlobProperties) -> Outcome:
        """The blob as others went on with it; or another one, written since it was deleted."""
        if self._was_never_gone(now) or await begins_with(
            self._clients, self._path, now, self._backup
        ):
            await self._drop()
            return "changed" if blob_type_of(now) == "AppendBlob" else "in place"
        await self._supersede()
        return "conflict"

    def _was_never_gone(self, now: BlobProperties) -> bool:
        """It is deleted after the backup was written, so that what comes then was created later.

        Times of creation have whole seconds only: in the backup's own second they say nothing.
        """
        return (
            str(now.creation_time) == self._backup.metadata.get(_CREATED)
            and now.creation_time < self._backup.creation_time
        )

    async def _supersede(self) -> None:
        """From now on it is not copied back, even if the other content is deleted.

        Raises:
            ConcurrentWriteError: the backup is another version by now, or gone.
        """
        blob = self._clients.blob(self._backup_name)

        async def send() -> bool:
            try:
                await blob.set_blob_metadata(
                    {**self._backup.metadata, _SUPERSEDED: "true"},
                    etag=self._backup.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except HttpResponseError as error:
                if not is_changed(error):
                    raise
                raise ConcurrentWriteError(DRIVER_NAME, self._path, "its backup changed") from error
            return True

        async def look() -> bool | None:
            return None  # again: what it has done already refuses it, and the next step tells

        await self._clients.retrier.settle(send, look)

    async def _drop(self) -> None:
        await delete_source(self._clients, self._path, self._backup_name, self._backup.etag)
