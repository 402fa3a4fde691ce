"""Garbage collection: what no manifest names any more is deleted, beside pushes that go on.

It marks by walking, looks twice, and sweeps; :mod:`oci_registry.storage.condemned` says why no
push loses what it relies on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from azdriver import FileInfo, PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.names import Digest, RepositoryName
from oci_registry.settings import RegistrySettings
from oci_registry.storage.concurrency import each
from oci_registry.storage.condemned import ABANDONED_AFTER, SWEEP_SECONDS, Condemned
from oci_registry.storage.inventory import (
    Inventory,
    Revision,
    take_blob_inventory,
    take_inventory,
)
from oci_registry.storage.reach import Reach

__all__ = ["Collected", "GarbageCollector"]

PROGRESS_EVERY: Final = 1000


@dataclass(slots=True)
class Collected:
    """What was deleted, or would have been by a run that is not dry.

    Attributes:
        manifests: without a tag, taken out of their repositories.
        blobs: layers, configs and manifests whose bytes were deleted.
        blob_bytes: their size.
        uploads: those that nobody goes on with.
        reprieved: blobs and manifests that a push came to rely on meanwhile.
    """

    manifests: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    uploads: int = 0
    reprieved: int = 0


class GarbageCollector:
    """One run. Any number of registries may serve the same storage meanwhile."""

    def __init__(
        self,
        driver: StorageDriver,
        settings: RegistrySettings,
        *,
        dry_run: bool = False,
        delete_untagged: bool = False,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Make a run.

        Args:
            driver: open.
            settings: ``grace_period`` is to be that of the registries.
            dry_run: delete nothing, and only say what would be.
            delete_untagged: delete manifests that no tag leads to, directly or through an index
                or a subject.
            report: takes a line of progress at a time.
        """
        self._driver = driver
        self._at_once = settings.max_requests_in_flight
        self._dry_run = dry_run
        self._delete_untagged = delete_untagged
        self._report = report
        self._now = datetime.now(UTC)
        self._older_than = self._now - settings.grace_period
        self._condemned = Condemned(driver)
        self._reach = Reach(
            driver,
            at_once=self._at_once,
            max_manifest_bytes=settings.max_stored_manifest_bytes,
        )
        self._collected = Collected()
        # Marks by which nothing was begun: whatever happens, they are taken away at the end.
        self._pending: dict[str, str] = {}

    async def collect(self) -> Collected:
        """Do it; returns what was done."""
        try:
            untagged = await self._sweep_untagged() if self._delete_untagged else set()
            await self._sweep_blobs(untagged)
            return self._collected
        finally:
            await each(self._condemned.clear, list(self._pending), at_once=self._at_once)

    async def _sweep_untagged(self) -> set[tuple[RepositoryName, Digest]]:
        """Delete manifests without a tag; returns those that a dry run would have deleted."""
        doomed = await self._untagged()
        self._report(f"{len(doomed)} manifests have no tag")
        if self._dry_run:
            self._collected.manifests = len(doomed)
            return set(doomed)
        await self._condemn([layout.revision_condemned(*key) for key in doomed])
        still = await self._untagged() if doomed else {}

        async def sweep(key: tuple[RepositoryName, Digest]) -> None:
            mark = layout.revision_condemned(*key)
            if mark in self._pending:
                revision = still.get(key)
                if await self._sweep(mark, lambda: self._delete_revision(revision)):
                    self._collected.manifests += 1

        await each(sweep, doomed, at_once=self._at_once)
        return set()

    async def _untagged(self) -> dict[tuple[RepositoryName, Digest], Revision]:
        inventory = await self._inventory(set(), with_tags=True)
        kept = await self._reach.kept(inventory)
        return {
            (revision.name, revision.digest): revision
            for revision in inventory.revisions
            if (revision.name, revision.digest) not in kept
        }

    async def _delete_revision(self, revision: Revision | None) -> bool:
        if revision is None:
            return False
        name, digest = revision.name, revision.digest
        if not await self._is_old(layout.revision_link(name, digest)):
            return False
        subject = self._reach.subject(revision)
        if subject is not None:
            await self._delete(layout.referrer(name, subject, digest))
        await self._delete(layout.revision(name, digest))
        return True

    async def _sweep_blobs(self, gone: set[tuple[RepositoryName, Digest]]) -> None:
        found = await take_blob_inventory(self._driver, older_than=self._older_than)
        self._report(f"{found.count} blobs, {len(found.old)} of them older than the grace period")
        inventory = await self._inventory(found.old)
        self._report(f"{len(inventory.revisions)} manifests to read")
        if not self._dry_run:
            await self._clear_abandoned([*found.marks, *inventory.marks])
        await self._sweep_uploads(inventory)
        doomed = found.old.keys() - await self._marked(inventory, gone)
        self._report(f"{len(doomed)} blobs are garbage")
        if self._dry_run:
            self._count(found.old[digest] for digest in doomed)
            return
        await self._condemn([layout.blob_condemned(digest) for digest in doomed])
        if not doomed:
            return
        inventory = await self._inventory(doomed)
        still = doomed - await self._marked(inventory, gone)

        async def sweep(digest: Digest) -> None:
            mark = layout.blob_condemned(digest)
            if mark in self._pending:
                names = inventory.old_layers.get(digest, []) if digest in still else None
                if await self._sweep(mark, lambda: self._delete_blob(digest, names)):
                    self._count([found.old[digest]])

        await each(sweep, doomed, at_once=self._at_once)

    async def _marked(
        self, inventory: Inventory, gone: set[tuple[RepositoryName, Digest]]
    ) -> set[Digest]:
        """What stays."""
        revisions = [
            revision
            for revision in inventory.revisions
            if (revision.name, revision.digest) not in gone
        ]
        return await self._reach.contents(revisions) | inventory.young_layers

    async def _delete_blob(self, digest: Digest, names: list[RepositoryName] | None) -> bool:
        path = layout.blob_data(digest)
        if names is None or not await self._is_old(path):
            return False
        # The links first: a push that comes now writes its own after the bytes.
        for name in names:
            await self._delete(layout.layer(name, digest))
        await self._delete(path)
        return True

    async def _sweep_uploads(self, inventory: Inventory) -> None:
        """Delete uploads in which nothing was written for the grace period."""

        async def sweep(path: str) -> None:
            if not self._dry_run:
                if await self._is_written(path):
                    return
                await self._delete(path)
            self._collected.uploads += 1

        await each(sweep, inventory.old_uploads, at_once=self._at_once)
        self._report(f"{self._collected.uploads} uploads were given up")

    async def _condemn(self, marks: list[str]) -> None:
        async def condemn(mark: str) -> None:
            etag = await self._condemned.condemn(mark)
            if etag is not None:
                self._pending[mark] = etag

        await each(condemn, marks, at_once=self._at_once)

    async def _sweep(self, mark: str, delete: Callable[[], Awaitable[bool]]) -> bool:
        """Delete what a mark is on, if it is to be; whether it was."""
        begun = await self._condemned.begin(mark, self._pending.pop(mark))
        # If this fails, the mark stays: a request may be on its way yet.
        async with asyncio.timeout(SWEEP_SECONDS):
            deleted = begun and await delete()
        await self._condemned.clear(mark)
        if not deleted:
            self._collected.reprieved += 1
        return deleted

    async def _clear_abandoned(self, marks: list[FileInfo]) -> None:
        """Take away what a killed collector left."""
        abandoned = [
            mark.path
            for mark in marks
            if mark.mod_time is not None and self._now - mark.mod_time > ABANDONED_AFTER
        ]
        await each(self._condemned.clear, abandoned, at_once=self._at_once)

    async def _is_old(self, path: str) -> bool:
        try:
            found = await self._driver.stat(path)
        except PathNotFoundError:
            return False
        return found.mod_time is not None and found.mod_time < self._older_than

    async def _is_written(self, upload: str) -> bool:
        """Whether someone went on with an upload since it was looked at."""
        try:
            async with aclosing(self._driver.walk(upload)) as walk:
                async for info in walk:
                    if info.mod_time is not None and info.mod_time >= self._older_than:
                        return True
        except PathNotFoundError:
            pass
        return False

    async def _delete(self, path: str) -> None:
        with suppress(PathNotFoundError):
            await self._driver.delete(path)

    def _count(self, blobs: Iterable[FileInfo]) -> None:
        for blob in blobs:
            self._collected.blobs += 1
            self._collected.blob_bytes += blob.size
            if self._collected.blobs % PROGRESS_EVERY == 0:
                self._report(f"{self._collected.blobs} blobs")

    async def _inventory(
        self, candidates: set[Digest] | dict[Digest, FileInfo], *, with_tags: bool = False
    ) -> Inventory:
        return await take_inventory(
            self._driver,
            older_than=self._older_than,
            with_tags=with_tags,
            candidates=candidates,
            at_once=self._at_once,
        )
