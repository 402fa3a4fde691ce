"""The stream of an upload between its verification and the blob, where nobody else writes to it."""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from azdriver import PathNotFoundError, StorageDriver, StorageDriverError
from oci_registry import layout
from oci_registry.errors import OffsetError
from oci_registry.names import RepositoryName

__all__ = ["VerifiedStream"]


class VerifiedStream:
    """The first ``size`` bytes of an upload, which were verified.

    Other instances may append to an upload until it is gone. So its stream is moved away first, to
    a path that is made for this one attempt, and so is opened by nobody else; if it has its size
    there, it is what was verified, since a stream is only appended to. From there it can become a
    blob: what is stored there does not change any more.
    """

    def __init__(
        self, driver: StorageDriver, name: RepositoryName, identifier: str, size: int
    ) -> None:
        self._driver = driver
        self._data = layout.upload_data(name, identifier)
        self._path = layout.upload_verified(name, identifier, uuid4().hex)
        self._size = size

    async def take(self) -> str:
        """Move it away; returns where it is.

        Raises:
            OffsetError: more was appended.
            ConcurrentWriteError: it is being appended to; it was left.
            PathNotFoundError: the upload is gone.
        """
        await self._driver.move(self._data, self._path)
        # From here on there is nothing to append to, and nobody begins the stream anew.
        if (await self._driver.stat(self._path)).size != self._size:
            raise OffsetError("another request went on with this upload; ask for its status")
        return self._path

    async def give_back(self) -> None:
        """Let the upload go on, if it became no blob; if that fails, it is begun anew."""
        with suppress(StorageDriverError):
            # A move that failed may have been made all the same: storage says where the stream is.
            try:
                await self._driver.stat(self._data)
            except PathNotFoundError:
                await self._driver.move(self._path, self._data)
            else:
                # A copy, of what others have written over meanwhile.
                await self._driver.delete(self._path)
