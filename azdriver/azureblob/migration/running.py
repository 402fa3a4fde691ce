"""A migration: the listing, and the tasks that work on what it finds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, Literal, NamedTuple

import aiohttp
from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients, WrapTransport
from azdriver.azureblob.inventory import blob_type_of, inventory, inventory_of_blobs
from azdriver.azureblob.migration.backups import (
    BACKUPS,
    backup_name,
    convert_in_place,
    drop_superseded,
    finish_backup,
    is_superseded,
    name_of_backup,
)
from azdriver.azureblob.migration.outcome import Outcome
from azdriver.azureblob.migration.relocating import relocate
from azdriver.azureblob.migration.report import (
    COUNTS,
    HAS_SNAPSHOTS,
    MAX_INCIDENTS,
    NO_BACKUP,
    SUPERSEDED,
    Incident,
    Kind,
    MigrationProgress,
    MigrationReport,
)
from azdriver.azureblob.migration.routes import NoRoute, Route, Routes
from azdriver.azureblob.migration.settings import MigrationSettings
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import AzureBlobOptions
from azdriver.azureblob.tokens import NoTokenError
from azdriver.azureblob.translate import translated
from azdriver.errors import BackendError, StorageDriverError
from azdriver.paths import StoragePath

__all__ = ["migrate"]

# What would end every further step as well.
_FATAL_STATUSES: Final = frozenset({401, 403})
_FATAL_CODES: Final = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "AccountIsDisabled"})


async def migrate(
    options: AzureBlobOptions,
    settings: MigrationSettings | None = None,
    *,
    progress: Callable[[MigrationProgress], None] | None = None,
    session: aiohttp.ClientSession | None = None,
    wrap_transport: WrapTransport | None = None,
) -> MigrationReport:
    """Give the blobs of a container the names, and the types, that drivers of today expect.

    It may be killed, or cancelled, at any point; the next run finishes what this one began. It
    may run beside readers and writers, and beside another migration: nothing is deleted that is
    not what was copied, and nothing overwritten but a copy that a killed run has left of an older
    version, if nobody has written it since. A blob that becomes a block blob under its own name
    is gone for a moment. Writers of the old layout are best stopped: what they write meanwhile
    waits for another run, and an upload that moves cannot be gone on with under its old name.

    Args:
        options: the layout that the blobs are to get.
        settings: the layout that they have, and what is to be converted.
        progress: is called after each blob.
        session: as the driver's.
        wrap_transport: as the driver's.

    Returns:
        What was done, and what was left and why.

    Raises:
        ConfigurationError: the container does not exist.
        StorageDriverError: the container could not be listed.
    """
    clients = Clients(options, session, wrap_transport)
    try:
        with translated("", "migrate"):
            await clients.require_container()
        return await _Run(clients, settings or MigrationSettings(), progress).run()
    finally:
        await clients.close()


class _Job(NamedTuple):
    """One blob to be worked on."""

    name: str
    dest: str
    size: int
    kind: Literal["move", "convert", "finish", "drop"]
    is_converted: bool
    work: Callable[[], Awaitable[Outcome]]


class _Run:
    def __init__(
        self,
        clients: Clients,
        settings: MigrationSettings,
        progress: Callable[[MigrationProgress], None] | None,
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._routes = Routes(clients.options, settings)
        self._progress = progress
        # Short, so that the listing does not run ahead of the work.
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue(settings.parallel)
        self._counts: Counter[str] = Counter()
        self._incidents: list[Incident] = []
        # Blobs whose earlier content an earlier run has kept.
        self._superseded: set[str] = set()
        self._listed = self._found = self._done = self._done_bytes = 0
        self._is_listed = False
        self._stopped: str | None = None

    async def run(self) -> MigrationReport:
        # What an earlier run has left comes first, and to its end: the listing may find it.
        await self._phase(self._list_backups)
        await self._phase(self._list_blobs)
        self._is_listed = True
        self._tell()
        return MigrationReport(
            **self._counts, incidents=tuple(self._incidents), stopped=self._stopped
        )

    async def _phase(self, list_jobs: Callable[[], Awaitable[None]]) -> None:
        failure: StorageDriverError | None = None
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.parallel):
                group.create_task(self._work())
            try:
                with translated("", "migrate"):
                    await list_jobs()
            except StorageDriverError as error:
                failure = error
            for _ in range(self._settings.parallel):
                await self._jobs.put(None)
        if failure is not None:
            raise failure

    async def _list_backups(self) -> None:
        async for page in inventory(self._clients, BACKUPS):
            for backup in page.blobs:
                name = name_of_backup(backup)
                if name is None:
                    self._left("skipped", backup.name, "", NO_BACKUP)
                elif not is_superseded(backup):
                    await self._add(self._finish(name, backup))
                elif self._settings.drop_superseded:
                    await self._add(self._drop(name, backup))
                else:
                    self._superseded.add(name)
                    self._left("conflict", name, backup.name, SUPERSEDED)

    async def _list_blobs(self) -> None:
        for prefix in self._routes.prefixes():
            blobs = inventory_of_blobs(self._clients, prefix)
            async with aclosing(blobs):
                async for blob, has_snapshots in blobs:
                    if self._stopped is not None:
                        return
                    self._listed += 1
                    await self._consider(blob, has_snapshots=has_snapshots)

    async def _consider(self, blob: BlobProperties, *, has_snapshots: bool) -> None:
        route = self._routes.of(blob.name)
        if route is None:
            return
        if isinstance(route, NoRoute):
            self._left("failed" if route.is_path else "skipped", blob.name, "", route.reason)
            return
        convert = self._routes.is_converted(
            route.path, blob_type_of(blob), blob.size, blob.metadata
        )
        if not route.is_move and not convert:
            self._counts["in_place"] += 1
        elif not route.is_move and route.source in self._superseded:
            pass  # its earlier content is in the way, which was told of
        elif has_snapshots:
            # The service would not delete it; to delete the snapshots is not ours to decide.
            self._left("failed", route.source, route.dest, HAS_SNAPSHOTS)
        else:
            await self._add(self._migration(route, blob.size, convert=convert))

    def _finish(self, name: BlobName, backup: BlobProperties) -> _Job:
        async def work() -> Outcome:
            # For errors; by the layout alone, which may be another one, it has no path.
            return await finish_backup(self._clients, StoragePath(name), name) or "gone"

        return _Job(name, backup.name, backup.size, "finish", True, work)

    def _drop(self, name: BlobName, backup: BlobProperties) -> _Job:
        async def work() -> Outcome:
            return await drop_superseded(self._clients, StoragePath(name), backup)

        return _Job(name, backup.name, backup.size, "drop", False, work)

    def _migration(self, route: Route, size: int, *, convert: bool) -> _Job:
        async def work() -> Outcome:
            if route.is_move:
                return await relocate(self._clients, route, convert=convert)
            return await convert_in_place(self._clients, route.path, route.source)

        dest = route.dest if route.is_move else backup_name(route.source)
        return _Job(route.source, dest, size, "move" if route.is_move else "convert", convert, work)

    async def _add(self, job: _Job) -> None:
        self._found += 1
        await self._jobs.put(job)

    async def _work(self) -> None:
        while (job := await self._jobs.get()) is not None:
            if self._stopped is not None:
                continue
            await self._do(job)
            self._done += 1
            self._done_bytes += job.size
            self._tell()

    async def _do(self, job: _Job) -> None:
        try:
            with translated(job.name, "migrate"):
                outcome = await job.work()
        except StorageDriverError as error:
            self._left("failed", job.name, job.dest, str(error))
            if _is_fatal(error):
                self._stopped = str(error)
            return
        match outcome:
            case "done":
                self._counts["moved"] += job.kind == "move"
                self._counts["finished"] += job.kind == "finish"
                self._counts["converted"] += job.is_converted
                self._counts["migrated_bytes"] += job.size
            case "in place":
                self._counts["in_place"] += 1
            case "gone" | "dropped":
                self._counts[outcome] += 1
            case "changed":
                self._left("changed", job.name, job.dest, "others keep writing it")
            case "conflict" if job.kind == "move":
                self._left("conflict", job.name, job.dest, "another content is at its new name")
            case "conflict":
                self._superseded.add(job.name)
                self._left("conflict", job.name, job.dest, SUPERSEDED)

    def _left(
        self,
        kind: Kind,
        name: str,
        dest: str,
        reason: str,
    ) -> None:
        self._counts[COUNTS[kind]] += 1
        if self._counts[COUNTS[kind]] <= MAX_INCIDENTS:
            self._incidents.append(Incident(kind, name, dest, reason))

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(
                MigrationProgress(
                    listed=self._listed,
                    found=self._found,
                    is_listed=self._is_listed,
                    done=self._done,
                    done_bytes=self._done_bytes,
                    incidents=sum(self._counts[count] for count in COUNTS.values()),
                )
            )


def _is_fatal(error: StorageDriverError) -> bool:
    return isinstance(error, BackendError) and (
        error.status in _FATAL_STATUSES
        or error.error_code in _FATAL_CODES
        or isinstance(error.__cause__, NoTokenError)
    )
