"""Contents: small blobs, read and written whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, DecodeError, HttpResponseError
from azure.storage.blob import BlobType

from azdriver.azureblob.blobs import (
    MAX_LOOKS,
    WRITE_ID,
    delete_if_unchanged,
    file_info,
    is_changed,
    new_write_id,
    same_etag,
    unanswered_deletion,
)
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lane import BlobHead
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.rangedownload import RangeDownload
from azdriver.azureblob.translate import error_code, quoted
from azdriver.contract import FileInfo
from azdriver.errors import BackendError, ConcurrentWriteError, PreconditionFailedError
from azdriver.paths import StoragePath

__all__ = ["Upload", "get_content", "put_content"]


async def get_content(clients: Clients, path: StoragePath, name: BlobName) -> bytes:
    """One Get Blob; a body that was cut goes on where it stopped, if it is still that version."""
    for attempt in range(MAX_LOOKS):
        try:
            return b"".join(await _chunks(clients, path, name))
        except ConcurrentWriteError:
            # Cut, and overwritten before it could go on: a fresh read is what the caller wants.
            await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "overwritten whenever it is read")


async def _chunks(clients: Clients, path: StoragePath, name: BlobName) -> list[bytes]:
    try:
        stream = await clients.lane.get(name)
    except HttpResponseError as error:
        if error.status_code != 416:
            raise
        return []  # an empty blob has no byte, not even for a request of all
    chunks = []
    try:
        async with stream:
            async for chunk in stream:
                chunks.append(chunk)
        return chunks
    except AzureError as error:
        received = sum(map(len, chunks))
        rest = RangeDownload(clients, path, name, first=received, end=stream.size, etag=stream.etag)
        await rest.consider(error)
    try:
        while chunk := await rest.next_chunk():
            chunks.append(chunk)
    finally:
        await rest.close()
    return chunks


async def put_content(
    clients: Clients,
    path: StoragePath,
    name: BlobName,
    content: bytes,
    if_match: str | None,
    if_absent: bool,
) -> FileInfo:
    """HEAD, delete first if it is not a BlockBlob, one atomic ``upload_blob``.

    Put Blob over an append blob is refused by the service (409 InvalidBlobType), so a legacy
    blob has to go first; only the one that was seen (If-Match), since another client may have
    migrated it meanwhile, and its content must not be deleted.

    Raises:
        PreconditionFailedError: ``if_match`` or ``if_absent`` did not hold; nothing was written.
        ConcurrentWriteError: the answer was lost, and others write here at the same time: ours
            was applied just before theirs, or not at all.
    """
    was_lost = False
    for attempt in range(MAX_LOOKS):
        seen = await clients.lane.head(name)
        if seen is not None or not was_lost:
            _require(path, seen, if_match, if_absent)
        # Else it is gone by our own deletion, whose answer was lost: the condition did hold.
        if seen is not None and seen.blob_type != BlobType.BLOCKBLOB:
            deleted = await delete_if_unchanged(clients, name, seen.etag)
            if not deleted:
                was_lost = was_lost or deleted is None
                if deleted is None and attempt >= clients.options.retry.retries:
                    raise unanswered_deletion(path, "put_content")
                await clients.retrier.pause(attempt)
                continue
            seen = None
        upload = Upload(clients, path, name, content, seen)
        if if_match is not None:
            upload.require("if_match")
        elif if_absent:
            upload.require("if_absent")
        try:
            return await upload.run()
        except HttpResponseError as error:
            # An old client made it an append blob again, between our look and our upload.
            if error.status_code != 409 or error_code(error) != "InvalidBlobType":
                raise
            await clients.retrier.pause(attempt)
    raise ConcurrentWriteError(DRIVER_NAME, path, "another client keeps changing the blob's type")


def _require(
    path: StoragePath, seen: BlobHead | None, if_match: str | None, if_absent: bool
) -> None:
    if if_absent and seen is not None:
        raise PreconditionFailedError(DRIVER_NAME, path, "if_absent")
    if if_match is not None and (seen is None or not same_etag(seen.etag, if_match)):
        raise PreconditionFailedError(DRIVER_NAME, path, "if_match")


class Upload:
    """One Put Blob, sent until it is known what became of it.

    It is first sent on the condition that what is there is still what was seen: of requests over
    the same version at most one is ever applied, however late they arrive, so sending it again
    after a lost answer is safe. Only when a rival was quicker, and the caller has set no
    condition, it is sent without one; and then never again.
    """

    def __init__(
        self,
        clients: Clients,
        path: StoragePath,
        name: BlobName,
        content: bytes,
        seen: BlobHead | None,
        *,
        write_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            clients: what to talk through.
            path: for errors.
            name: which blob.
            content: all of it.
            seen: what was there.
            write_id: by which it is recognised; None for a new one.
            metadata: further metadata.
            arguments: further ones of the SDK's ``upload_blob``.
        """
        self._clients = clients
        self._path = path
        self._name = name
        self._content = content
        self._seen_etag = None if seen is None else seen.etag
        self._write_id = write_id or new_write_id()
        self._metadata = {**(metadata or {}), WRITE_ID: self._write_id}
        self._arguments = dict(arguments or {})
        self._caller_condition: str | None = None
        self._is_conditional = True
        self._resent = False

    def require(self, condition: str) -> None:
        """The caller wants what was seen to be still there: ``if_match`` or ``if_absent``."""
        self._caller_condition = condition

    async def run(self) -> FileInfo:
        return await self._clients.retrier.settle(self._send, self._look)

    async def _send(self) -> FileInfo:
        try:
            return await self._put()
        except HttpResponseError as error:
            exists = error.status_code == 409 and error_code(error) == "BlobAlreadyExists"
            if not self._is_conditional or (not exists and not is_changed(error)):
                raise
            if self._resent:
                # The first one may have been applied late, and be what is in the way.
                applied = await self._look()
                if applied is not None:
                    return applied
                raise self._unsure() from error
            if self._caller_condition is not None:
                raise PreconditionFailedError(
                    DRIVER_NAME, self._path, self._caller_condition
                ) from error
        self._is_conditional = False
        return await self._put()

    async def _put(self) -> FileInfo:
        conditions: dict[str, Any] = {"overwrite": True}
        if self._is_conditional and self._seen_etag is None:
            conditions = {"overwrite": False}
        elif self._is_conditional:
            conditions["etag"] = self._seen_etag or ""
            conditions["match_condition"] = MatchConditions.IfNotModified
        answer = await self._clients.blob(self._name).upload_blob(
            self._content, metadata=self._metadata, **self._arguments, **conditions
        )
        if answer["last_modified"] is None:
            raise DecodeError("malformed answer: no Last-Modified")
        return FileInfo(
            self._path, len(self._content), answer["last_modified"], etag=quoted(answer["etag"])
        )

    async def _look(self) -> FileInfo | None:
        """What became of an upload whose answer was lost; None to send it again."""
        now = await self._clients.lane.head(self._name)
        if now is not None and now.metadata.get(WRITE_ID) == self._write_id:
            return file_info(self._path, now)
        if self._is_conditional and (
            now is None
            if self._seen_etag is None
            else now is not None and same_etag(now.etag, self._seen_etag)
        ):
            # Nothing happened; or where nothing was, it was applied and deleted at once, which
            # cannot be told apart.
            if now is None and self._clients.options.retry.raise_if_unsure:
                raise BackendError(
                    DRIVER_NAME,
                    self._path,
                    "put_content",
                    reason="the answer was lost, and nothing is there: never written, or deleted",
                )
            self._resent = True
            return None
        # Someone wrote or deleted since our look. Ours came just before that, or not at all; and
        # if theirs was conditional, or looked first, the difference can be seen.
        raise self._unsure()

    def _unsure(self) -> ConcurrentWriteError:
        return ConcurrentWriteError(
            DRIVER_NAME, self._path, "the answer was lost, and another write is there now"
        )
