"""An append blob becomes a block blob under its own name.

The service has no request for that: what is there has to be deleted first. So the content is
written as a block blob under a reserved name, the blob is deleted if it is still what was read,
and the backup is copied to its name, within the service. Between the two a reader finds nothing.
A process that is killed at any point leaves either the blob or a backup that says whose it is.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Final

from azure.storage.blob import BlobProperties

from azdriver.azureblob.blobs import delete_if_unchanged
from azdriver.azureblob.client import Clients
from azdriver.azureblob.copying import delete_source
from azdriver.azureblob.inventory import blob_type_of, look_at
from azdriver.azureblob.migration.content import (
    copy_blob,
    is_same_content,
    require_deletable,
    require_right,
    settled_copy,
    write_block_blob,
)
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.migration.outcome import ATTEMPTS, Outcome
from azdriver.azureblob.naming import BlobName
from azdriver.errors import ConcurrentWriteError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["BACKUPS", "backup_name", "convert_in_place", "finish_backup", "name_of_backup"]

BACKUPS: Final = "~azdriver-migration/"
"""What the names of backups start with: no path of any driver has the tilde, so none is shown."""

# The metadata of a backup: whose it is, and when that blob was created, by which it is known
# again. Not part of what is restored.
_NAME: Final = "azdriver_migrated_name"
_CREATED: Final = "azdriver_migrated_created"

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


async def convert_in_place(clients: Clients, path: StoragePath, name: BlobName) -> Outcome:
    """Make a block blob of an append blob.

    Raises:
        AzureError, StorageDriverError: refused; nothing is lost.
    """
    backup = backup_name(name)
    for attempt in range(ATTEMPTS):
        if attempt:
            await clients.retrier.pause(attempt - 1)
        there = await look_at(clients, backup)
        if there is not None:
            # Of another process, or of an earlier run.
            outcome = await finish_backup(clients, path, name, there)
            if outcome != "changed":
                return outcome
            continue
        found = await look_at(clients, name)
        if found is None:
            return "gone"
        if blob_type_of(found) != "AppendBlob":
            return "in place"
        require_deletable(found)
        metadata = {**found.metadata, _NAME: name, _CREATED: str(found.creation_time)}
        with suppress(ConcurrentWriteError):  # the next look tells
            write_id = Mark.of(found).write_id
            await write_block_blob(clients, path, found, backup, write_id, metadata)
    return "changed"


async def finish_backup(
    clients: Clients, path: StoragePath, name: BlobName, backup: BlobProperties
) -> Outcome:
    """Go on where a backup was written, in this process or in one that was killed since.

    Where nothing is at the blob's name, the backup goes there: any process may have deleted the
    blob for it. A blob that someone else deletes in this moment appears again.

    Raises:
        AzureError, StorageDriverError: refused; the backup is kept.
    """
    finish = _Finish(clients, path, name, backup)
    for attempt in range(MAX_STEPS):
        try:
            outcome = await finish.step()
        except ConcurrentWriteError:
            outcome = None
        except PathNotFoundError:
            return "gone"  # the backup: another process has finished
        if outcome is not None:
            return outcome
        if attempt:
            await clients.retrier.pause(attempt - 1)
    return "changed"


class _Finish:
    """From the backup on. The backup goes only where nobody can need it any more."""

    def __init__(
        self, clients: Clients, path: StoragePath, name: BlobName, backup: BlobProperties
    ) -> None:
        self._clients = clients
        self._path = path
        self._name = name
        self._backup = backup
        self._mark = Mark.on(backup)
        self._may_be_deleted = False  # by this process

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
        assert self._mark is not None
        metadata = {k: v for k, v in self._backup.metadata.items() if k not in (_NAME, _CREATED)}
        await copy_blob(
            self._clients, self._path, self._backup, self._name, self._mark.write_id, metadata
        )

    async def _delete(self, now: BlobProperties) -> Outcome | None:
        """The blob as it was saved."""
        require_deletable(now)
        if not await is_same_content(self._clients, self._path, now, self._backup):
            await self._drop()
            return "changed"
        deleted = await delete_if_unchanged(self._clients, self._name, now.etag)
        self._may_be_deleted = self._may_be_deleted or deleted is not False
        return None

    async def _judge(self, now: BlobProperties) -> Outcome:
        """The blob as others went on with it; or another one, written since it was deleted."""
        # The time of creation alone has whole seconds only. But what was gone came back by a copy
        # or a put, as another type; or as a new stream, which does not begin as long as the old.
        was_never_gone = (
            not self._may_be_deleted
            and str(now.creation_time) == (self._backup.metadata or {}).get(_CREATED)
            and blob_type_of(now) == "AppendBlob"
            and (now.size or 0) >= (self._backup.size or 0)
        )
        if was_never_gone or await is_same_content(self._clients, self._path, now, self._backup):
            await self._drop()
            return "changed" if blob_type_of(now) == "AppendBlob" else "in place"
        return "conflict"

    async def _drop(self) -> None:
        backup = BlobName(self._backup.name)
        await delete_source(self._clients, self._path, backup, self._backup.etag)
