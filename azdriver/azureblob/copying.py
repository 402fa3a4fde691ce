"""Moving a blob: a server-side copy, looked after to its end, then the source goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError

from azdriver.azureblob.blobs import (
    MAX_LOOKS,
    WRITE_ID,
    delete_if_unchanged,
    is_changed,
    new_write_id,
    same_etag,
    unanswered_deletion,
)
from azdriver.azureblob.client import Clients
from azdriver.azureblob.evidence import Evidence
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.translate import error_code, status_of, translated
from azdriver.errors import BackendError, ConcurrentWriteError, PathNotFoundError
from azdriver.paths import StoragePath

__all__ = ["BlobCopy", "delete_source", "move"]


async def move(
    clients: Clients,
    source: tuple[StoragePath, BlobName],
    dest: tuple[StoragePath, BlobName],
) -> None:
    """Copy Blob, then delete the source if it is still what was copied.

    Raises:
        PathNotFoundError: of the source.
        ConcurrentWriteError: the source was overwritten meanwhile; it was kept.
        BackendError: the copy failed, was aborted, or did not end in time; the source was kept.
    """
    source_path, source_name = source
    dest_path, dest_name = dest
    with translated(source_path, "move"):
        seen = await clients.lane.head(source_name)
        if seen is None:
            raise PathNotFoundError(DRIVER_NAME, source_path)
        if source_name == dest_name:
            return
        copy = BlobCopy(clients, source_path, source_name, seen.etag, seen.metadata, dest_name)
        with translated(dest_path, "move"):
            await copy.run()
        await delete_source(clients, source_path, source_name, seen.etag)


async def delete_source(clients: Clients, path: StoragePath, name: BlobName, copied: str) -> None:
    """Delete a blob that was copied, if its ETag is still that of what was copied.

    Raises:
        ConcurrentWriteError: it is another version by now, and was kept.
        AzureError: it is leased or has snapshots, or its deletion was refused.
    """
    for attempt in range(MAX_LOOKS):
        deleted = await delete_if_unchanged(clients, name, copied)
        if deleted:
            return
        now = await clients.lane.head(name)
        if now is None:
            return
        if not same_etag(now.etag, copied):
            raise ConcurrentWriteError(
                DRIVER_NAME, path, "overwritten while it was moved; copied and kept"
            )
        if deleted is None and attempt >= clients.options.retry.retries:
            raise unanswered_deletion(path, "move")
        await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "copied, but it could not be deleted")


class BlobCopy:
    """One copy within the container, sent until it is known what became of it."""

    def __init__(
        self,
        clients: Clients,
        source_path: StoragePath,
        source_name: BlobName,
        source_etag: str,
        metadata: Mapping[str, str],
        dest_name: BlobName,
        *,
        write_id: str | None = None,
        only_if_absent: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            clients: what to talk through.
            source_path: for errors.
            source_name: what to copy.
            source_etag: which version of it.
            metadata: the copy's.
            dest_name: where to.
            write_id: by which the copy is recognised; None for a new one.
            only_if_absent: where anything is there, the service's refusal is raised.
            arguments: further ones of the SDK's ``start_copy_from_url``.
        """
        self._clients = clients
        self._source_path = source_path
        self._source_url = clients.blob(source_name).url
        self._source_etag = source_etag
        self._write_id = write_id or new_write_id()
        # With metadata of its own a copy does not take the source's: hand those on.
        self._metadata = {**metadata, WRITE_ID: self._write_id}
        self._arguments = dict(arguments or {})
        self._dest_name = dest_name
        self._dest = clients.blob(dest_name)
        self._evidence = Evidence(clients, dest_name)
        self._only_if_absent = only_if_absent
        # The conditions on the destination.
        self._onto: dict[str, Any] = (
            {"match_condition": MatchConditions.IfMissing} if only_if_absent else {}
        )
        self._resent = False

    async def run(self) -> None:
        """Raises: AzureError or StorageDriverError; the source is untouched then."""
        for attempt in range(MAX_LOOKS):
            try:
                copy_id, status = await self._clients.retrier.settle(self._send, self._look)
            except HttpResponseError as error:
                # The service wants the same type of a blob that is overwritten (Azurite does
                # not). The source is known to be there, so what is in the way can go.
                is_type = error.status_code == 409 and error_code(error) == "InvalidBlobType"
                if self._only_if_absent or not is_type:
                    raise
                in_the_way = await self._clients.lane.head(self._dest_name)
                if in_the_way is not None and not await delete_if_unchanged(
                    self._clients, self._dest_name, in_the_way.etag
                ):
                    await self._clients.retrier.pause(attempt)
                self._onto = {}
                continue
            await self._finished(copy_id, status)
            return
        raise ConcurrentWriteError(
            DRIVER_NAME, self._source_path, "another client keeps changing the destination's type"
        )

    async def _send(self) -> tuple[str, str]:
        try:
            answer: dict[str, Any] = await self._dest.start_copy_from_url(
                self._source_url,
                metadata=self._metadata,
                source_etag=self._source_etag,
                source_match_condition=MatchConditions.IfNotModified,
                **self._onto,
                **self._arguments,
            )
        except HttpResponseError as error:
            # CannotVerifyCopySource is 404 where there is no source. The service says the same
            # with 500 where it could not look in time, and with 403 and 409 where it may not.
            is_gone = status_of(error) == 404
            exists = error_code(error) == "BlobAlreadyExists"
            if self._resent and (is_gone or exists or is_changed(error)):
                # The first one may have been applied all the same.
                applied = await self._look()
                if applied is not None:
                    return applied
                raise self._unsure() from error
            if is_gone:
                raise PathNotFoundError(DRIVER_NAME, self._source_path) from error
            if is_changed(error):
                raise ConcurrentWriteError(
                    DRIVER_NAME, self._source_path, "overwritten before it was copied"
                ) from error
            raise
        return str(answer["copy_id"]), str(answer["copy_status"])

    async def _look(self) -> tuple[str, str] | None:
        """What became of a copy whose answer was lost; None to send it again."""
        now, was_there = await self._evidence.look()
        if now is not None and now.metadata.get(WRITE_ID) == self._write_id:
            return str(now.copy_id), str(now.copy_status)
        # Again, but only onto what is there now: what comes later is not to be undone.
        if now is None:
            if self._clients.options.retry.raise_if_unsure:
                raise self._failed("the copy's answer was lost, and nothing is there")
            self._onto = {"match_condition": MatchConditions.IfMissing}
        elif self._only_if_absent:
            raise self._unsure()
        elif was_there or same_etag(now.etag, self._onto.get("etag")):
            self._onto = {
                "etag": now.etag,
                "match_condition": MatchConditions.IfNotModified,
            }
        else:
            raise self._unsure()
        self._resent = True
        return None

    def _unsure(self) -> ConcurrentWriteError:
        return ConcurrentWriteError(
            DRIVER_NAME,
            self._source_path,
            "the copy's answer was lost, and another write may have followed it; "
            "the source is kept",
        )

    async def _finished(self, copy_id: str, status: str) -> None:
        """Wait for a copy that the service has accepted."""
        options = self._clients.options
        deadline = time.monotonic() + options.copy_timeout_seconds
        while status == "pending":
            if time.monotonic() >= deadline:
                await self._abort(copy_id)
                raise self._failed(f"no end within {options.copy_timeout_seconds:g} s, aborted")
            await asyncio.sleep(options.copy_poll_seconds)
            now = await self._clients.lane.head(self._dest_name)
            if now is None or now.copy_id != copy_id:
                raise self._failed("another write took the destination")
            status = str(now.copy_status)
        if status != "success":
            raise self._failed(f"the copy's status is {status}")

    async def _abort(self, copy_id: str) -> None:
        with suppress(AzureError):  # it may have ended this moment; the source is kept anyway
            await self._dest.abort_copy(copy_id)

    def _failed(self, reason: str) -> BackendError:
        return BackendError(
            DRIVER_NAME, self._source_path, "move", reason=f"{reason}; the source is kept"
        )
