"""A blob gets a new name, and becomes a block blob on the way if it is to."""

from __future__ import annotations

from azure.storage.blob import BlobProperties

from azdriver.azureblob.blobs import delete_if_unchanged
from azdriver.azureblob.client import Clients
from azdriver.azureblob.copying import delete_source
from azdriver.azureblob.inventory import blob_type_of, look_at
from azdriver.azureblob.migration.backups import backup_of, is_superseded
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
from azdriver.azureblob.migration.routes import Route
from azdriver.errors import ConcurrentWriteError

__all__ = ["relocate"]


async def relocate(clients: Clients, route: Route, *, convert: bool) -> Outcome:
    """Copy a blob to its new name, look whether the copy is right, and delete the source.

    The copy goes onto nothing, and the source goes only as it was copied. Whatever is killed in
    between, the next run finds: a copy is known by its mark.

    Raises:
        AzureError, StorageDriverError: refused; the source is kept.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            await clients.retrier.pause(attempt - 1)
        # In this order: where a copy of another version of the source is found, that version is
        # no more by the time the source is looked at, so that no other process can delete it
        # for that copy.
        there = await look_at(clients, route.dest)
        source = await look_at(clients, route.source)
        if source is None:
            return "gone"
        require_deletable(source)
        try:
            done = await _Relocation(clients, route, source, convert=convert).run(there)
        except ConcurrentWriteError:
            continue  # the source or what is at its new name is another version
        if done is not None:
            return done
    there = await look_at(clients, route.dest)
    source = await look_at(clients, route.source)
    if there is not None and source is not None and _is_outdated(there, source):
        await delete_if_unchanged(clients, route.dest, there.etag)
    return "changed"


def _is_outdated(there: BlobProperties, source: BlobProperties) -> bool:
    """Whether a blob is our copy of what the source once was, which nobody has written since."""
    mark, now = Mark.on(there), Mark.of(source)
    return mark is not None and mark.name == now.name and mark != now and there.size == mark.size


class _Relocation:
    """Of one version of a blob."""

    def __init__(
        self, clients: Clients, route: Route, source: BlobProperties, *, convert: bool
    ) -> None:
        self._clients = clients
        self._route = route
        self._source = source
        self._convert = convert
        self._mark = Mark.of(source)

    async def run(self, there: BlobProperties | None) -> Outcome | None:
        """
        Args:
            there: what is at the new name.

        Returns:
            None to begin anew.
        """
        found = there
        if there is None:
            # Nothing is there, or what is there is being converted: it is in its backup then, which
            # is written before the blob goes and dropped after it is back.
            backup = await backup_of(self._clients, self._route.path, self._route.dest)
            if backup is not None and not is_superseded(backup):
                return "changed"
            await self._write()
            there = await look_at(self._clients, self._route.dest)
        if there is None:
            return None
        mark = Mark.on(there)
        if mark is not None and mark.name == self._mark.name:
            there = await settled_copy(self._clients, there)
            if there is None:
                return None
        if Mark.on(there) == self._mark:
            require_right(there, self._source)
            is_right = found is None or blob_type_of(there) == blob_type_of(self._source)
        elif there is not found:
            return None  # of a look behind that at the source, which says nothing of versions
        elif _is_outdated(there, self._source):
            await delete_if_unchanged(self._clients, self._route.dest, there.etag)
            return None
        else:
            is_right = False
        if not is_right and not await self._is_same(there):
            return "conflict"
        await delete_source(self._clients, self._route.path, self._route.source, self._source.etag)
        return "done"

    async def _write(self) -> None:
        write = write_block_blob if self._convert else copy_blob
        await write(
            self._clients,
            self._route.path,
            self._source,
            self._route.dest,
            self._mark.write_id,
            self._source.metadata,
        )

    async def _is_same(self, there: BlobProperties) -> bool:
        return await is_same_content(self._clients, self._route.path, self._source, there)
