"""Blobs: bytes that are stored once, and the links by which repositories show them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from azdriver import ConcurrentWriteError, FileInfo, PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.names import Digest, RepositoryName
from oci_registry.settings import RegistrySettings
from oci_registry.storage.concurrency import KeyedLocks, each
from oci_registry.storage.condemned import Condemned
from oci_registry.storage.links import read_link, refresh_link, write_link

__all__ = ["Blob", "BlobStore"]

# How often a blob may be written anew, by pushes of the same bytes, while it is read.
MAX_REOPENS: Final = 20
PUBLISH_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob as a repository shows it.

    Attributes:
        digest: by which it was asked for.
        target: by which its bytes are stored. The Go registry stores what was pushed by its
            SHA-512 under its SHA-256, and links it.
        size: in bytes.
    """

    digest: Digest
    target: Digest
    size: int

    @property
    def path(self) -> str:
        """Where its bytes are."""
        return layout.blob_data(self.target)


class BlobStore:
    """The blobs of all repositories."""

    def __init__(self, driver: StorageDriver, settings: RegistrySettings) -> None:
        self._driver = driver
        self._settings = settings
        self._condemned = Condemned(driver)
        self._publishing = KeyedLocks()

    async def find(self, name: RepositoryName, digest: Digest) -> Blob:
        """A blob of a repository.

        Raises:
            RegistryError: ``BLOB_UNKNOWN``.
        """
        # Both at once: nearly always the bytes are where the digest says.
        target, size = await asyncio.gather(self._target(name, digest), self._size(digest))
        if target is not None and target != digest:
            size = await self._size(target)
        if target is None or size is None:
            raise _unknown(digest)
        return Blob(digest, target, size)

    async def claim(self, name: RepositoryName, digest: Digest) -> Blob:
        """``find`` for who is going to rely on the blob: to mount it, or not to push it again.

        Nothing may refer to it yet. Garbage collection leaves alone what has a young link, so an
        old one is written again, before it is checked that the bytes are there. A young one may
        have been written in this moment, by another push that has not asked for a reprieve yet.
        """
        with suppress(PathNotFoundError):
            link = await self._driver.stat(layout.layer_link(name, digest))
            if not self.is_young(link):
                await refresh_link(self._driver, link.path, link)
            target = await self._target(name, digest)
            if target is not None:
                await self._condemned.reprieve(layout.blob_condemned(target))
        return await self.find(name, digest)

    async def chunks(self, blob: Blob, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes of a blob from ``offset``.

        If another push writes the same bytes anew meanwhile, it goes on with those.
        """
        end = offset + length
        for attempt in range(MAX_REOPENS + 1):
            try:
                async with self._driver.reader(blob.path, offset, length=end - offset) as reader:
                    async for chunk in reader:
                        offset += len(chunk)
                        yield chunk
                    return
            except (ConcurrentWriteError, PathNotFoundError):
                if attempt == MAX_REOPENS:
                    raise

    async def mount(self, name: RepositoryName, digest: Digest, source: RepositoryName) -> bool:
        """Show a blob of one repository in another; whether ``source`` has it."""
        try:
            blob = await self.claim(source, digest)
            await self._link(name, digest, blob.target)
            await self.find(name, digest)
        except RegistryError:
            return False
        return True

    async def holders(
        self, digest: Digest, candidates: list[RepositoryName]
    ) -> list[RepositoryName]:
        """Which of some repositories have a link of a blob."""

        async def holds(name: RepositoryName) -> bool:
            return await self._target(name, digest) is not None

        found = await each(holds, candidates, at_once=self._settings.max_requests_in_flight)
        return [name for name, has in zip(candidates, found, strict=True) if has]

    async def exists_anywhere(self, digest: Digest) -> bool:
        """Whether the bytes are there, in whatever repository."""
        return await self._size(digest) is not None

    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Take a blob out of a repository; garbage collection takes the bytes.

        Raises:
            RegistryError: ``BLOB_UNKNOWN``.
        """
        try:
            await self._driver.delete(layout.layer(name, digest))
        except PathNotFoundError:
            raise _unknown(digest) from None

    async def publish(
        self,
        name: RepositoryName,
        digest: Digest,
        size: int,
        take: Callable[[], Awaitable[str]],
    ) -> None:
        """Make a stream, whose digest was verified, a blob of a repository.

        On return the blob can be read. If the same bytes are there, and young enough that no
        garbage collection is about to take them, they are kept, and the stream is not taken.

        Args:
            name: the repository.
            digest: of the stream.
            size: of the stream.
            take: called once at most, to say where the stream is. What is there has the digest,
                and nobody writes there any more.

        Raises:
            RegistryError: ``UNAVAILABLE``, the bytes went away in that moment.
        """
        path = layout.blob_data(digest)
        taken = None
        for _ in range(PUBLISH_ATTEMPTS):
            # One after the other, so that of many pushes of one blob one is moved.
            async with self._publishing.holding(digest):
                if not await self._is_kept(digest, size):
                    taken = taken or await take()
                    # With PathNotFoundError it was moved already, in an attempt before, or is
                    # lost; with ConcurrentWriteError another instance moves the same bytes.
                    with suppress(PathNotFoundError, ConcurrentWriteError):
                        await self._driver.move(taken, path)
            await self._link(name, digest, digest)
            # What was not condemned before this link was written is not swept any more.
            await self._condemned.reprieve(layout.blob_condemned(digest))
            found, target = await asyncio.gather(self._size(digest), self._target(name, digest))
            if found == size and target is not None:
                return
        raise RegistryError(ErrorCode.UNAVAILABLE, "the blob went away meanwhile; push it again")

    def is_young(self, info: FileInfo) -> bool:
        """Whether garbage collection leaves this alone for a good while yet."""
        assert info.mod_time is not None
        return datetime.now(UTC) - info.mod_time < self._settings.grace_period / 2

    async def _is_kept(self, digest: Digest, size: int) -> bool:
        """Whether the bytes are there and stay; if not, they may be written."""
        try:
            found = await self._driver.stat(layout.blob_data(digest))
        except PathNotFoundError:
            return False
        if found.is_dir:
            return False
        if found.size == size and self.is_young(found):
            return True
        # A sweep that has begun would take what is moved there now, and nobody has it twice.
        await self._condemned.reprieve(layout.blob_condemned(digest))
        return False

    async def _size(self, digest: Digest) -> int | None:
        try:
            found = await self._driver.stat(layout.blob_data(digest))
        except PathNotFoundError:
            return None
        return None if found.is_dir else found.size

    async def _target(self, name: RepositoryName, digest: Digest) -> Digest | None:
        return await read_link(self._driver, layout.layer_link(name, digest))

    async def _link(self, name: RepositoryName, digest: Digest, target: Digest) -> None:
        await write_link(self._driver, layout.layer_link(name, digest), target)


def _unknown(digest: Digest) -> RegistryError:
    return RegistryError(ErrorCode.BLOB_UNKNOWN, "blob unknown to the repository", str(digest))
