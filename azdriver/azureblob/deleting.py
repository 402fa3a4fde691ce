"""Deleting a blob and the tree below it: pages and batches overlapped."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import AzureError

from azdriver.azureblob.blobs import MAX_LOOKS, is_changed, same_etag
from azdriver.azureblob.client import Clients
from azdriver.azureblob.evidence import Evidence
from azdriver.azureblob.lane import ListedBlob
from azdriver.azureblob.listing import pages_of
from azdriver.azureblob.naming import BlobName, BlobNames
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.retry import is_ambiguous
from azdriver.azureblob.translate import error_code, is_missing, status_of, translated
from azdriver.errors import PartialDeleteError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["delete_tree"]

# https://learn.microsoft.com/rest/api/storageservices/blob-batch
MAX_BATCH: Final = 256
BATCHES_IN_FLIGHT: Final = 4
# Where batches are not understood, blobs are deleted one by one, so many at once.
SINGLES_IN_FLIGHT: Final = 32
GONE_STATUSES: Final = frozenset({202, 404})


async def delete_tree(clients: Clients, names: BlobNames, path: StoragePath) -> None:
    """Delete the blob at ``path`` and all below it.

    Raises:
        PathNotFoundError: there is neither.
        PartialDeleteError: some are left.
    """
    deletion = _Deletion(clients)
    own = asyncio.create_task(deletion.one(names.of(path)))
    try:
        with translated(path, "delete"):
            found_below = await deletion.below(names.prefix(path))
            found = await own or found_below
    finally:
        await deletion.stop(own)
    if deletion.left:
        left = tuple((names.path_of(name) or name, code) for name, code in deletion.left.items())
        raise PartialDeleteError(DRIVER_NAME, path, left)
    if not found:
        raise PathNotFoundError(DRIVER_NAME, path)


class _Deletion:
    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._batches = asyncio.Semaphore(BATCHES_IN_FLIGHT)
        self._singles = asyncio.Semaphore(SINGLES_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.left: dict[str, str] = {}
        """The names that could not be deleted, with the error code of each."""

    async def below(self, prefix: str) -> bool:
        """Delete every blob with this prefix; whether there was one."""
        found = False
        async for page in pages_of(self._clients.lane, prefix):
            blobs = [blob for blob in page.blobs if self._can_be_asked_for(blob.name)]
            found = found or bool(page.blobs)
            for start in range(0, len(blobs), MAX_BATCH):
                # Waiting here keeps the listing from running ahead of the deletions.
                await self._batches.acquire()
                task = asyncio.create_task(self._batch(blobs[start : start + MAX_BATCH]))
                self._tasks.add(task)
                task.add_done_callback(self._finished)
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failures:
            raise self._failures[0]
        return found

    def _can_be_asked_for(self, name: str) -> bool:
        # A dot segment would be folded into another blob's name, or another container's.
        if {".", ".."}.isdisjoint(name.split("/")):
            return True
        self.left[name] = "it has a dot segment"
        return False

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._batches.release()
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._failures.append(failure)

    async def stop(self, own: asyncio.Task[bool]) -> None:
        """Leave no task behind when the deletion is cancelled or failed."""
        tasks: list[asyncio.Task[Any]] = [own, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _batch(self, batch: Sequence[ListedBlob]) -> None:
        statuses, was_lost = ([], False) if len(batch) == 1 else await self._send_batch(batch)
        # Fewer answers than requests: the batch was misread (Azurite up to 3.35 misreads the
        # SDK's own), and nothing can be said of any of its members.
        if len(statuses) != len(batch):
            statuses = [0] * len(batch)
        rest = [
            blob
            for blob, status in zip(batch, statuses, strict=True)
            if status not in GONE_STATUSES
        ]
        await asyncio.gather(*(self._last_try(blob, was_lost) for blob in rest))

    async def _send_batch(self, batch: Sequence[ListedBlob]) -> tuple[list[int], bool]:
        """The status of each member, nothing where that is not known; and whether any of them
        may have been deleted without our knowing it.

        Each is deleted only as it was listed: sent again, the batch takes nothing of a rival's
        that came after the first one.
        """
        was_lost = False

        async def send() -> list[int]:
            return await self._clients.lane.delete_batch(batch)

        async def look() -> None:
            nonlocal was_lost
            was_lost = True  # a member that is gone by then is no error

        try:
            return await self._clients.retrier.settle(send, look), was_lost
        except (AzureError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return [], True  # the others where the answer cannot be read: one by one tells more

    async def _last_try(self, blob: ListedBlob, was_lost: bool) -> None:
        async with self._singles:
            name = BlobName(blob.name)
            try:
                if was_lost:
                    await _Single(self._clients, name, listed=blob.etag).run()
                else:
                    await self.one(name)  # a newer version goes as well
            except AzureError as error:
                self.left[name] = error_code(error) or str(status_of(error) or "no answer")

    async def one(self, name: BlobName) -> bool:
        """Delete one blob; whether it was there, as far as can be known."""
        return await _Single(self._clients, name).run()


class _Single:
    """The deletion of one blob, sent until it is known what became of it."""

    def __init__(self, clients: Clients, name: BlobName, *, listed: str | None = None) -> None:
        """
        Args:
            clients: what to talk through.
            name: which blob.
            listed: the ETag of the version that may have been deleted already: what came after
                it is kept. None to delete whatever is there.
        """
        self._clients = clients
        self._name = name
        self._evidence = Evidence(clients, name)
        self._keeps_newer = listed is not None
        self._only = listed  # the ETag of the version to delete; None for any
        self._failure: AzureError | None = None  # by which an answer was lost

    async def run(self) -> bool:
        return await self._clients.retrier.settle(self._send, self._look)

    async def _send(self) -> bool:
        for attempt in itertools.count():
            conditions: dict[str, Any] = {}
            if self._only is not None:
                conditions["etag"] = self._only
                conditions["match_condition"] = MatchConditions.IfNotModified
            try:
                await self._clients.blob(self._name).delete_blob(
                    delete_snapshots="include", **conditions
                )
            except AzureError as error:
                if is_ambiguous(error):
                    self._failure = error
                if self._only is not None and is_changed(error) and attempt < MAX_LOOKS:
                    # Not applied: what is there now is a rival's, and goes as well.
                    now, _ = await self._evidence.look()
                    if now is None:
                        return self._found_nothing()
                    if self._keeps_newer:
                        raise
                    self._only = now.etag
                    await self._clients.retrier.pause(attempt)
                    continue
                if is_missing(error):
                    return False
                raise
            return True
        raise AssertionError("unreachable")

    async def _look(self) -> bool | None:
        """What became of a deletion whose answer was lost; None to send it again."""
        if not self._clients.options.retry.retries:
            return None  # nothing is sent again, and nothing guessed
        now, was_there = await self._evidence.look()
        if now is None:
            return self._found_nothing()
        if self._only is not None:
            was_there = same_etag(now.etag, self._only)
        if not was_there:
            # It may have been written after a deletion that was applied, and is not ours to undo.
            assert self._failure is not None
            raise self._failure
        self._only = now.etag
        return None

    def _found_nothing(self) -> bool:
        """After a lost answer nothing is there: most probably by that deletion."""
        if self._clients.options.retry.raise_if_unsure and self._failure is not None:
            raise self._failure
        return True
