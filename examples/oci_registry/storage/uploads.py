"""Uploads: streams that grow request by request, and become blobs when their digest is right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

from azdriver import (
    ConcurrentWriteError,
    FileInfo,
    FileWriter,
    NotAppendableError,
    PathNotFoundError,
    StorageDriver,
    StorageDriverError,
)
from oci_registry import layout
from oci_registry.errors import (
    BodyInterruptedError,
    ErrorCode,
    OffsetError,
    RegistryError,
    too_large,
)
from oci_registry.names import Digest, RepositoryName
from oci_registry.settings import RegistrySettings
from oci_registry.storage.blobs import BlobStore
from oci_registry.storage.concurrency import Turn, TurnOverError, Turns
from oci_registry.storage.hashed import HashedStream, HashedStreams
from oci_registry.storage.links import refresh_link
from oci_registry.storage.verified import VerifiedStream

__all__ = ["UploadStore"]

# For a few requests to the storage, of a request that was cut.
GIVE_BACK_SECONDS: Final = 5.0


class UploadStore:
    """The uploads of all repositories.

    What is known of an upload is in storage, so any instance can go on with it. Kept in memory
    is only its hash; without it, what earlier requests wrote is read once, at the end.

    The stream is made when the upload begins, and from then on is only appended to or deleted.
    So a hash of its first bytes stays right, whatever other instances do.
    """

    def __init__(self, driver: StorageDriver, settings: RegistrySettings, blobs: BlobStore) -> None:
        self._driver = driver
        self._settings = settings
        self._blobs = blobs
        self._turns = Turns()
        self._hashed = HashedStreams(settings.max_hashers)

    async def start(self, name: RepositoryName, algorithm: str) -> str:
        """Begin an upload; returns its identifier."""
        identifier = str(uuid4())
        async with self._driver.writer(layout.upload_data(name, identifier)) as writer:
            await writer.commit()
        started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        await self._driver.put_content(layout.upload_started(name, identifier), started.encode())
        self._hashed.keep(identifier, HashedStream(algorithm))
        return identifier

    async def size(self, name: RepositoryName, identifier: str) -> int:
        """How many bytes an upload has.

        Raises:
            RegistryError: ``BLOB_UPLOAD_UNKNOWN``.
        """
        async with self._session(name, identifier):
            return await self._stored(name, identifier)

    async def append(
        self,
        name: RepositoryName,
        identifier: str,
        body: AsyncIterator[bytes],
        *,
        offset: int | None = None,
    ) -> int:
        """Write a chunk at the end; returns the new size.

        If the body is interrupted, what came of it is kept.

        Args:
            name: the repository.
            identifier: the upload.
            body: the chunk.
            offset: where the client believes that the upload ends; None if it does not say.

        Raises:
            OffsetError: the upload ends elsewhere; nothing was read of ``body``.
            RegistryError: ``BLOB_UPLOAD_UNKNOWN``.
        """
        async with self._session(name, identifier, goes_on=True) as turn:
            # Kept again only if it is known to be of what was stored.
            hashed = self._hashed.take(identifier)
            try:
                with _explained(identifier):
                    size = await self._write(name, identifier, turn, body, offset, hashed)
                # A stream that shows when it is committed can be written after it was deleted.
                await self._require(name, identifier)
                return size
            finally:
                if hashed is not None and hashed.is_exact:
                    self._hashed.keep(identifier, hashed)

    async def finish(
        self,
        name: RepositoryName,
        identifier: str,
        digest: Digest,
        body: AsyncIterator[bytes],
        *,
        offset: int | None = None,
    ) -> None:
        """Write the last chunk, verify the digest, and make the upload a blob.

        Raises:
            OffsetError: as ``append``.
            RegistryError: ``BLOB_UPLOAD_UNKNOWN``; ``DIGEST_INVALID``, the upload is gone.
        """
        async with self._session(name, identifier, goes_on=True) as turn:
            hashed = self._hashed.take(identifier)
            if hashed is None or hashed.algorithm != digest.algorithm:
                hashed = HashedStream(digest.algorithm)
            try:
                with _explained(identifier):
                    size = await self._write(
                        name, identifier, turn, body, offset, hashed, last=True
                    )
            except RegistryError:
                if hashed.is_exact:
                    self._hashed.keep(identifier, hashed)
                raise
            await self._verify(name, identifier, digest, hashed, size)
            verified = VerifiedStream(self._driver, name, identifier, size)

            async def take() -> str:
                with _explained(identifier):
                    return await verified.take()

            try:
                await self._blobs.publish(name, digest, size, take)
            except BaseException as error:
                # If the request is cut as well: the client may go on, here or elsewhere.
                with suppress(TimeoutError):
                    async with asyncio.timeout(GIVE_BACK_SECONDS):
                        await verified.give_back()
                if not isinstance(error, RegistryError | StorageDriverError):
                    raise
                self._hashed.keep(identifier, hashed)
                # It may have been cancelled at another instance.
                await self._require(name, identifier)
                raise
            await self._discard(name, identifier)

    async def store(self, name: RepositoryName, digest: Digest, body: AsyncIterator[bytes]) -> None:
        """Make a blob out of one body, without an upload that a client could go on with.

        Raises:
            RegistryError: ``DIGEST_INVALID``; nothing was stored.
        """
        identifier = str(uuid4())
        path = layout.upload_data(name, identifier)
        hashed = HashedStream(digest.algorithm)
        try:
            async with self._driver.writer(path) as writer:
                size = await self._copy(Turn(), body, writer, hashed, last=True)
            await self._verify(name, identifier, digest, hashed, size)

            async def take() -> str:
                return path  # which no client knows, and none could append to

            await self._blobs.publish(name, digest, size, take)
        finally:
            await self._discard(name, identifier)

    async def cancel(self, name: RepositoryName, identifier: str) -> None:
        """Throw an upload away.

        Raises:
            RegistryError: ``BLOB_UPLOAD_UNKNOWN``.
        """
        async with self._session(name, identifier):
            await self._discard(name, identifier)

    @asynccontextmanager
    async def _session(
        self, name: RepositoryName, identifier: str, *, goes_on: bool = False
    ) -> AsyncIterator[Turn]:
        """An upload, for one request at a time in this process.

        One that waits for its client ends when a newer one comes: the client has given it up.
        """
        async with self._turns.taking((name, identifier)) as turn:
            started = await self._require(name, identifier)
            if goes_on and not self._blobs.is_young(started):
                # Garbage collection looks at this: a stream may show nothing until it is committed.
                await refresh_link(self._driver, started.path, started)
            try:
                yield turn
            except OffsetError as error:
                if error.size is None:
                    error.size = await self._stored(name, identifier)
                raise

    async def _stored(self, name: RepositoryName, identifier: str) -> int:
        path = layout.upload_data(name, identifier)
        with _explained(identifier):
            # Not ``stat``: a stream that shows when it is committed would be empty.
            async with self._driver.writer(path, append=True) as writer:
                return writer.size

    async def _verify(
        self, name: RepositoryName, identifier: str, digest: Digest, hashed: HashedStream, size: int
    ) -> None:
        """Check the digest of a stream that is whole; if it is another one, the upload is gone."""
        found = Digest(digest.algorithm, hashed.hexdigest())
        if found != digest or hashed.size != size:
            await self._discard(name, identifier)
            raise RegistryError(
                ErrorCode.DIGEST_INVALID,
                "the content does not have this digest",
                {"digest": str(digest), "content": str(found)},
            )

    async def _write(
        self,
        name: RepositoryName,
        identifier: str,
        turn: Turn,
        body: AsyncIterator[bytes],
        offset: int | None,
        hashed: HashedStream | None,
        *,
        last: bool = False,
    ) -> int:
        """Append a body; with ``last``, the stream is committed, and ``hashed`` is of all of it.

        Otherwise ``hashed`` goes on if it has come to the end of what is there; else it stays
        as it is, a hash of the beginning.
        """
        path = layout.upload_data(name, identifier)
        async with self._driver.writer(path, append=True) as writer:
            size = writer.size
            if offset is not None and offset != size:
                raise OffsetError(
                    f"the chunk starts at {offset}, and the upload ends at {size}", size
                )
            if not last or hashed is None or hashed.size >= size:
                return await self._copy(turn, body, writer, hashed, last=last)
            # In block mode nothing can be read before a commit.
            await writer.commit()
        await self._catch_up(path, hashed, size)
        async with self._driver.writer(path, append=True) as writer:
            return await self._copy(turn, body, writer, hashed, last=True)

    async def _copy(
        self,
        turn: Turn,
        body: AsyncIterator[bytes],
        writer: FileWriter,
        hashed: HashedStream | None,
        *,
        last: bool,
    ) -> int:
        """Write a body through; returns the size of the stream."""
        limit = self._settings.max_upload_bytes
        if hashed is not None and hashed.size != writer.size:
            hashed = None
        if hashed is not None:
            hashed.is_exact = False
        try:
            while (chunk := await turn.next(body)) is not None:
                if limit is not None and writer.size + len(chunk) > limit:
                    raise too_large(limit)
                await writer.write(chunk)
                if hashed is not None:
                    hashed.update(chunk)
        except (BodyInterruptedError, TurnOverError) as error:
            # The client is gone, and the driver is well: there is time to store what came.
            await writer.close()
            if hashed is not None:
                hashed.is_exact = True
            if isinstance(error, TurnOverError):
                raise OffsetError("a newer request ended this one", writer.size) from None
            raise
        if last:
            await writer.commit()
        else:
            await writer.close()
        if hashed is not None:
            hashed.is_exact = True
        return writer.size

    async def _catch_up(self, path: str, hashed: HashedStream, size: int) -> None:
        """Hash what earlier requests wrote, and nobody here has hashed."""
        async with self._driver.reader(path, hashed.size, length=size - hashed.size) as reader:
            async for chunk in reader:
                hashed.update(chunk)

    async def _require(self, name: RepositoryName, identifier: str) -> FileInfo:
        try:
            if str(UUID(identifier)) != identifier:
                raise ValueError("not as this registry writes them")
            return await self._driver.stat(layout.upload_started(name, identifier))
        except (ValueError, PathNotFoundError):
            raise _unknown(identifier) from None

    async def _discard(self, name: RepositoryName, identifier: str) -> None:
        self._hashed.take(identifier)
        with suppress(PathNotFoundError):
            await self._driver.delete(layout.upload(name, identifier))


@contextmanager
def _explained(identifier: str) -> Iterator[None]:
    """What another instance may do to an upload, as the client is to see it."""
    try:
        yield
    except (ConcurrentWriteError, NotAppendableError):
        raise OffsetError("another request writes this upload; ask for its status") from None
    except PathNotFoundError:
        raise _unknown(identifier) from None


def _unknown(identifier: str) -> RegistryError:
    return RegistryError(
        ErrorCode.BLOB_UPLOAD_UNKNOWN, "blob upload unknown to the registry", identifier
    )
