"""The SDK lane: the same requests through the SDK's own calls.

For comparison, and for whoever needs what only the SDK does on the way. It takes several times
the CPU of the lean lane, a GET holds a whole range in memory, and the SDK reads a body that was
cut up to three times before it says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from azure.core import MatchConditions
from azure.core.exceptions import DecodeError, HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, BlobPrefix, ContainerClient, StorageStreamDownloader

from azdriver.azureblob.lane import BlobHead, BlobStream, ListedBlob, ListPage, date_of
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.translate import is_missing, quoted

__all__ = ["SdkLane"]


class SdkLane:
    """The requests of :class:`azdriver.azureblob.lane.Lane`."""

    def __init__(self, container: ContainerClient, blob: Callable[[BlobName], BlobClient]) -> None:
        self._container = container
        self._blob = blob

    async def get(
        self,
        name: BlobName,
        *,
        first: int = 0,
        last: int | None = None,
        etag: str | None = None,
    ) -> SdkStream:
        conditions: dict[str, Any] = {}
        if etag is not None:
            conditions = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        if first or last is not None:
            conditions["offset"] = first
        if last is not None:
            conditions["length"] = last - first + 1
        answers: list[Any] = []
        try:
            downloader = await self._blob(name).download_blob(
                max_concurrency=1, raw_response_hook=answers.append, **conditions
            )
        except asyncio.CancelledError:
            await _close(answers)
            raise
        return SdkStream(downloader, first, answers)

    async def head(self, name: BlobName) -> BlobHead | None:
        answers: list[Any] = []
        try:
            blob = await self._blob(name).get_blob_properties(raw_response_hook=answers.append)
        except HttpResponseError as error:
            if is_missing(error):
                return None
            raise
        etag, size, last_modified = _checked(blob)
        return BlobHead(
            size=size,
            etag=etag,
            last_modified=last_modified,
            blob_type=str(getattr(blob.blob_type, "value", blob.blob_type)),
            metadata=dict(blob.metadata),
            committed_blocks=blob.append_blob_committed_block_count or 0,
            copy_id=blob.copy.id,
            copy_status=blob.copy.status,
            date=date_of(answers[-1].http_response.headers),
        )

    async def list_page(
        self, prefix: str, *, marker: str = "", delimiter: str = "", limit: int | None = None
    ) -> ListPage:
        arguments: dict[str, Any] = {"name_starts_with": prefix}
        if limit is not None:
            arguments["results_per_page"] = limit
        pages: Any
        if delimiter:
            pages = self._container.walk_blobs(delimiter=delimiter, **arguments)
        else:
            pages = self._container.list_blobs(**arguments)
        pages = pages.by_page(marker or None)
        blobs: list[ListedBlob] = []
        prefixes: list[str] = []
        async for page in pages:
            async for item in page:
                if isinstance(item, BlobPrefix):
                    prefixes.append(_name(item.name))
                else:
                    etag, size, last_modified = _checked(item)
                    blobs.append(ListedBlob(_name(item.name), size, last_modified, etag))
            break
        return ListPage(blobs, prefixes, pages.continuation_token or "")

    async def delete_batch(self, blobs: Sequence[ListedBlob]) -> list[int]:
        deletions: list[Any] = [
            {
                "name": blob.name,
                "etag": blob.etag,
                "match_condition": MatchConditions.IfNotModified,
                "delete_snapshots": "include",
            }
            for blob in blobs
        ]
        answers = await self._container.delete_blobs(*deletions, raise_on_any_failure=False)
        return [answer.status_code async for answer in answers]


def _checked(blob: BlobProperties) -> tuple[str, int, Any]:
    if not isinstance(blob.size, int) or blob.size < 0:
        raise DecodeError("malformed answer: no size")
    if blob.last_modified is None:
        raise DecodeError("malformed answer: no Last-Modified")
    return quoted(blob.etag), blob.size, blob.last_modified


async def _close(answers: list[Any]) -> None:
    # The SDK leaves the body of a cancelled download open, and with it the connection.
    while answers:
        await answers.pop().http_response.close()


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise DecodeError("malformed answer: no name")
    return name


class SdkStream(BlobStream):
    """The :class:`azdriver.azureblob.lane.BlobStream` of an SDK download."""

    def __init__(
        self, downloader: StorageStreamDownloader[bytes], first: int, answers: list[Any]
    ) -> None:
        """
        Args:
            downloader: what the SDK returned.
            first: the first byte that was asked for.
            answers: where the download's hook puts each answer.
        """
        # The whole blob's size is nowhere else: ``properties.size`` is that of the range.
        size = str(downloader.properties.content_range).rpartition("/")[2]
        if not size.isdecimal():
            raise DecodeError("malformed answer: no Content-Range")
        self.size = int(size)
        self.etag = quoted(downloader.properties.etag)
        self.first = first
        self.length = downloader.size
        self._chunks = cast(Any, downloader.chunks())
        self._answers = answers

    async def __anext__(self) -> bytes:
        return cast(bytes, await anext(self._chunks))

    async def close(self) -> None:
        """Release the connection of a chunk whose download was cancelled."""
        await _close(self._answers)
