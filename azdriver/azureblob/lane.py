"""What the two lanes have in common: the requests that both can send, and what comes back.

The lean lane sends them by itself, the SDK lane through the SDK's own calls. The operations know
only this, so that one can be put in the place of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from azure.core.exceptions import DecodeError

from azdriver.azureblob.httpdate import parse_http_date
from azdriver.azureblob.naming import BlobName

__all__ = ["BlobHead", "BlobStream", "Lane", "ListPage", "ListedBlob", "date_of"]

_BLOB_TYPES: Final = frozenset({"BlockBlob", "AppendBlob", "PageBlob"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobHead:
    """What Get Blob Properties says.

    Attributes:
        size: bytes.
        etag: the version, quotes included.
        last_modified: in UTC, whole seconds.
        blob_type: ``BlockBlob``, ``AppendBlob`` or ``PageBlob``.
        metadata: by names as they were written.
        committed_blocks: of an append blob, how many blocks it has.
        copy_id: of the last copy onto it.
        copy_status: ``pending``, ``success``, ``aborted`` or ``failed``.
        date: the service's clock when it answered; None if it did not say.
    """

    size: int
    etag: str
    last_modified: datetime
    blob_type: str
    metadata: Mapping[str, str]
    committed_blocks: int = 0
    copy_id: str | None = None
    copy_status: str | None = None
    date: datetime | None = None

    def __post_init__(self) -> None:
        # Anything else would be taken for a legacy blob, and deleted by the next put.
        if self.blob_type not in _BLOB_TYPES:
            raise DecodeError("malformed answer: no blob type")


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The service's clock out of an answer's headers."""
    try:
        return parse_http_date(headers.get("Date"))
    except DecodeError:
        return None


class ListedBlob(NamedTuple):
    """A blob as a listing has it; ``etag`` with quotes, ``size`` in bytes."""

    name: str
    size: int
    last_modified: datetime
    etag: str


class ListPage(NamedTuple):
    """One answer to List Blobs.

    Attributes:
        blobs: in the order of the names.
        prefixes: the virtual directories, each with the delimiter at its end.
        marker: what to ask the next page with; ``""`` at the end.
    """

    blobs: Sequence[ListedBlob]
    prefixes: Sequence[str]
    marker: str


class BlobStream(ABC):
    """The body of one Get Blob, and what its headers say; has to be closed.

    Attributes:
        size: bytes of the whole blob.
        etag: its version, quotes included.
        first: where in the blob the body begins.
        length: bytes of the body.
    """

    size: int
    etag: str
    first: int
    length: int

    @abstractmethod
    async def __anext__(self) -> bytes: ...

    @abstractmethod
    async def close(self) -> None: ...

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()


class Lane(Protocol):
    """Requests to one container. What fails raises ``AzureError``, as the SDK does."""

    async def get(
        self,
        name: BlobName,
        *,
        first: int = 0,
        last: int | None = None,
        etag: str | None = None,
    ) -> BlobStream:
        """One Get Blob; the body is read from what is returned, which has to be closed.

        Args:
            name: which blob.
            first: the first byte.
            last: the last byte, itself included; None for the rest.
            etag: only if this is still the blob's version.

        Raises:
            HttpResponseError: 404, 412 (another version), 416 (``first`` is at the end or
                past it), or whatever else is not 200 or 206.
        """
        ...

    async def head(self, name: BlobName) -> BlobHead | None:
        """Get Blob Properties; None if there is no such blob.

        Raises:
            HttpResponseError: whatever else is not 200.
        """
        ...

    async def list_page(
        self, prefix: str, *, marker: str = "", delimiter: str = "", limit: int | None = None
    ) -> ListPage:
        """One List Blobs.

        Args:
            prefix: what the names have to start with.
            marker: of the page before.
            delimiter: to get one level only; ``""`` for all below.
            limit: at most so many; None for as many as the service puts on a page (5,000).

        Raises:
            HttpResponseError: whatever is not 200.
            DecodeError: the answer is not a listing.
        """
        ...

    async def delete_batch(self, blobs: Sequence[ListedBlob]) -> list[int]:
        """One Blob Batch that deletes these, with their snapshots, if they are as listed.

        Returns:
            The status of each, 412 for another version; fewer where the answer does not tell.

        Raises:
            HttpResponseError: the batch as a whole was refused.
        """
        ...
