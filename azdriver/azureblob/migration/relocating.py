"""A blob gets a new name, and becomes a block blob on the way if it is to."""

from __future__ import annotations

from azure.storage.blob import BlobProperties

from azdriver.azureblob.blobs import delete_if_unchanged
from azdriver.azureblob.client import Clients
from azdriver.azureblob.copying import delete_source
from azdriver.azureblob.inventory import blob_type_of, look_at
from azdriver.azureblob.migration.backups import backup_of, is_superseded
from azdriver.azureblob.migration.comparing import begins_with, is_same_content, require_right
from azdriver.azureblob.migration.copies import (
    copy_blob,
    require_deletable,
    settled_copy,
    write_block_blob,
)
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.migration.outcome import ATTEMPTS, Outcome
from azdriver.azureblob.migration.routes import Route
from azdriver.azureblob.migration.tags import has_same_tags, take_tags
from azdriver.errors import ConcurrentWriteError, PathNotFoundError

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
        except (ConcurrentWriteError, PathNotFoundError):
            continue  # the source or what is at its new name is another version, or gone
        if done is not None:
            return done
    there = await look_at(clients, route.dest)
    source = await look_at(clients, route.source)
    if there is not None and source is not None:
        await _Relocation(clients, route, source, convert=convert).drop_if_outdated(there)
    return "changed"


def is_outdated(there: BlobProperties, source: BlobProperties) -> bool:
    """Whether a blob is our copy of what the source once was, which nobody has written since.

    Not that of a move that was done, after which the source was written anew: that one was created
    later than the copy. In the same second, which is all that the times tell, it may be either.
    """
    return _may_be_outdated(there, source) and source.creation_time < there.creation_time


def _may_be_outdated(there: BlobProperties, source: BlobProperties) -> bool:
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
                return None
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
        elif await self.drop_if_outdated(there):
            return None
        else:
            is_right = False
        if not is_right and not await self._is_same(there):
            return "conflict"
        path = self._route.path
        if Mark.on(there) == self._mark:
            if await take_tags(self._clients, path, self._source, there):
                return None
        elif not await has_same_tags(self._clients, path, self._source, there):
            return "conflict"
        await delete_source(self._clients, path, self._route.source, self._source.etag)
        return "done"

    async def drop_if_outdated(self, there: BlobProperties) -> bool:
        """Delete what is at the new name if it is an earlier version of the source, and no more."""
        is_dropped = is_outdated(there, self._source) or (
            _may_be_outdated(there, self._source)
            and await begins_with(self._clients, self._route.path, self._source, there)
        )
        if is_dropped:
            await delete_if_unchanged(self._clients, self._route.dest, there.etag)
        return is_dropped

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
