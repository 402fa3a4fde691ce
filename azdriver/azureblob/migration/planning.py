"""What a migration would do, from listings alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

import aiohttp
from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients, WrapTransport
from azdriver.azureblob.inventory import blob_type_of, inventory, inventory_of_blobs
from azdriver.azureblob.migration.backups import BACKUPS, is_superseded, name_of_backup
from azdriver.azureblob.migration.comparing import differ_for_certain
from azdriver.azureblob.migration.marks import Mark
from azdriver.azureblob.migration.relocating import is_outdated
from azdriver.azureblob.migration.report import (
    COUNTS,
    HAS_SNAPSHOTS,
    MAX_INCIDENTS,
    NO_BACKUP,
    SUPERSEDED,
    Incident,
    Kind,
    MigrationPlan,
)
from azdriver.azureblob.migration.routes import NoRoute, Route, Routes
from azdriver.azureblob.migration.settings import MigrationSettings
from azdriver.azureblob.options import AzureBlobOptions
from azdriver.azureblob.translate import translated

__all__ = ["plan_migration"]


async def plan_migration(
    options: AzureBlobOptions,
    settings: MigrationSettings | None = None,
    *,
    progress: Callable[[int], None] | None = None,
    session: aiohttp.ClientSession | None = None,
    wrap_transport: WrapTransport | None = None,
) -> MigrationPlan:
    """What :func:`migrate` would do; a request per 5,000 blobs, which changes nothing.

    Args:
        options: the layout that the blobs are to get.
        settings: the layout that they have, and what is to be converted.
        progress: is told how many blobs were looked at.
        session: as the driver's.
        wrap_transport: as the driver's.

    Raises:
        ConfigurationError: the container does not exist.
        StorageDriverError: the container could not be listed.
    """
    clients = Clients(options, session, wrap_transport)
    try:
        with translated("", "plan_migration"):
            await clients.require_container()
            return await _Planning(clients, settings or MigrationSettings(), progress).run()
    finally:
        await clients.close()


class _Found(NamedTuple):
    """A blob that a listing has."""

    route: Route
    blob: BlobProperties
    has_snapshots: bool


class _Planning:
    def __init__(
        self,
        clients: Clients,
        settings: MigrationSettings,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._routes = Routes(clients.options, settings)
        self._progress = progress
        self._listed = 0
        self._counts: Counter[str] = Counter()
        self._incidents: list[Incident] = []
        # Blobs that have a backup: to be finished, or kept.
        self._unfinished: set[str] = set()
        self._superseded: set[str] = set()

    async def run(self) -> MigrationPlan:
        await self._look_at_backups()
        routes = self._routes
        is_one = routes.source_prefix == routes.dest_prefix
        in_place = self._of_layout(routes.dest_prefix, moves=False)
        moving = self._of_layout(routes.source_prefix, moves=True)
        async with aclosing(in_place), aclosing(moving):
            # Both in the order of the paths, so that what meets at a name is found in passing.
            there = await anext(in_place, None)
            if not is_one:
                async for found in moving:
                    while there is not None and there.route.path < found.route.path:
                        self._stays(there)
                        there = await anext(in_place, None)
                    is_there = there is not None and there.route.path == found.route.path
                    self._moves(found, there.blob if there is not None and is_there else None)
            while there is not None:
                self._stays(there)
                there = await anext(in_place, None)
        return MigrationPlan(**self._counts, incidents=tuple(self._incidents))

    async def _look_at_backups(self) -> None:
        async for page in inventory(self._clients, BACKUPS):
            for backup in page.blobs:
                name = name_of_backup(backup)
                if name is None:
                    self._incident("skipped", backup.name, "", NO_BACKUP)
                elif not is_superseded(backup):
                    self._counts["unfinished"] += 1
                    self._unfinished.add(name)
                elif self._settings.drop_superseded:
                    self._counts["drops"] += 1
                else:
                    self._superseded.add(name)
                    self._incident("conflict", name, backup.name, SUPERSEDED)

    async def _of_layout(self, prefix: str, *, moves: bool) -> AsyncGenerator[_Found, None]:
        blobs = inventory_of_blobs(self._clients, prefix)
        async with aclosing(blobs):
            async for blob, has_snapshots in blobs:
                self._listed += 1
                if self._progress is not None:
                    self._progress(self._listed)
                route = self._routes.of(blob.name)
                if isinstance(route, Route):
                    if route.is_move is moves:
                        yield _Found(route, blob, has_snapshots)
                elif isinstance(route, NoRoute) and (
                    moves or self._routes.source_prefix == self._routes.dest_prefix
                ):
                    kind: Kind = "failed" if route.is_path else "skipped"
                    self._incident(kind, blob.name, "", route.reason)

    def _stays(self, found: _Found) -> None:
        if not self._is_converted(found):
            self._counts["in_place"] += 1
        elif found.blob.name in self._superseded | self._unfinished:
            pass  # its backup is counted
        elif found.has_snapshots:
            self._incident("failed", found.blob.name, "", HAS_SNAPSHOTS)
        else:
            self._converts(found.blob)
            self._counts["leased"] += found.blob.lease.state == "leased"

    def _moves(self, found: _Found, there: BlobProperties | None) -> None:
        route, blob, has_snapshots = found
        if has_snapshots:
            self._incident("failed", blob.name, route.dest, HAS_SNAPSHOTS)
            return
        if there is not None:
            if Mark.on(there) == Mark.of(blob) or is_outdated(there, blob):
                self._counts["unfinished"] += 1
            elif differ_for_certain(blob, there):
                reason = "another content is at its new name"
                self._incident("conflict", blob.name, route.dest, reason)
                return
            else:
                self._counts["to_compare"] += 1
        elif route.dest in self._unfinished:
            self._counts["to_compare"] += 1  # with the backup, once it is back
        self._counts["moves"] += 1
        self._counts["move_bytes"] += blob.size
        self._counts["leased"] += blob.lease.state == "leased"
        if self._is_converted(found):
            self._converts(blob)

    def _is_converted(self, found: _Found) -> bool:
        blob = found.blob
        return self._routes.is_converted(
            found.route.path, blob_type_of(blob), blob.size, blob.metadata
        )

    def _converts(self, blob: BlobProperties) -> None:
        self._counts["conversions"] += 1
        self._counts["conversion_bytes"] += blob.size

    def _incident(self, kind: Kind, name: str, dest: str, reason: str) -> None:
        self._counts[COUNTS[kind]] += 1
        if self._counts[COUNTS[kind]] <= MAX_INCIDENTS:
            self._incidents.append(Incident(kind, name, dest, reason))
