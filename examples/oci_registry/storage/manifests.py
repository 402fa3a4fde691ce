"""Manifests: put, found, deleted; in an order in which no tag ever points to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from azdriver import PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.manifest import Descriptor, Manifest, media_type_within, parse_manifest
from oci_registry.mediatypes import OCI_INDEX
from oci_registry.names import Digest, Reference, RepositoryName, Tag, digest_of
from oci_registry.settings import MissingReferences, RegistrySettings
from oci_registry.storage.blobs import BlobStore
from oci_registry.storage.concurrency import each
from oci_registry.storage.condemned import Condemned
from oci_registry.storage.contents import read_content
from oci_registry.storage.links import read_link, refresh_link, write_link
from oci_registry.storage.referrers import ReferrerStore
from oci_registry.storage.tags import TagStore

__all__ = ["ManifestStore", "StoredManifest"]

# Between the revision and its tags, another instance may delete it: this often it is put again.
PUT_ATTEMPTS: Final = 3
# So often a tag may move, and what it pointed to be deleted, while it is read.
GET_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it is served."""

    digest: Digest
    media_type: str
    content: bytes


class ManifestStore:
    """The manifests of all repositories."""

    def __init__(
        self,
        driver: StorageDriver,
        settings: RegistrySettings,
        blobs: BlobStore,
        tags: TagStore,
        referrers: ReferrerStore,
    ) -> None:
        self._driver = driver
        self._settings = settings
        self._blobs = blobs
        self._condemned = Condemned(driver)
        self._tags = tags
        self._referrers = referrers

    async def get(self, name: RepositoryName, reference: Reference) -> StoredManifest:
        """A manifest of a repository.

        For old clients, the tag ``sha256-<64 digits>`` is an index of the referrers of that
        digest, if nobody pushed one; of the first page of them, if they are many.

        Raises:
            RegistryError: ``MANIFEST_UNKNOWN``.
        """
        if isinstance(reference, Digest):
            return await self._by_digest(name, reference)
        digest = await self._tags.resolve(name, reference)
        for _ in range(GET_ATTEMPTS):
            if digest is None:
                break
            try:
                return await self._by_digest(name, digest)
            except RegistryError:
                # It may have been deleted since the tag moved on.
                before, digest = digest, await self._tags.resolve(name, reference)
                if digest == before:
                    raise
        subject = await self._referrers.subject_of(name, reference)
        if subject is not None:
            page = await self._referrers.page(name, subject)
            if page.descriptors:
                content = page.index()
                return StoredManifest(digest_of(content), OCI_INDEX, content)
        raise _unknown(reference)

    async def put(
        self,
        name: RepositoryName,
        digest: Digest,
        content: bytes,
        media_type: str,
        tags: Sequence[Tag],
    ) -> Manifest:
        """Store a manifest, whose digest was verified, and let tags point to it.

        Raises:
            RegistryError: ``MANIFEST_INVALID``, ``MANIFEST_BLOB_UNKNOWN``.
        """
        manifest = parse_manifest(content, media_type)
        await self._check_references(name, manifest)
        for _ in range(PUT_ATTEMPTS):
            await self._driver.put_content(layout.blob_data(digest), content)
            if not manifest.says_media_type:
                await self._driver.put_content(
                    layout.revision_media_type(name, digest), manifest.media_type.encode()
                )
            await write_link(self._driver, layout.revision_link(name, digest), digest)
            if manifest.subject is not None:
                await self._referrers.add(name, digest, manifest, len(content))
            for tag in tags:
                await self._tags.point(name, tag, digest)
            # Who deletes a manifest deletes its revision first, and then the tags that point to
            # it. If it is there now, none of these tags is going to point to nothing.
            if await self._is_kept(name, digest, digest):
                return manifest
        raise RegistryError(
            ErrorCode.UNAVAILABLE, "the manifest was deleted meanwhile; push it again"
        )

    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Delete a manifest and all tags that point to it.

        Raises:
            RegistryError: ``MANIFEST_UNKNOWN``.
        """
        subject = await self._subject(digest)
        # What leads to it goes first, so that a DELETE that was cut off leaves nothing that points
        # to nothing, and is finished by the next one. Then goes what came meanwhile.
        await self._unlist(name, digest, subject)
        try:
            await self._driver.delete(layout.revision_link(name, digest))
        except PathNotFoundError:
            raise _unknown(digest) from None
        with suppress(PathNotFoundError):
            await self._driver.delete(layout.revision(name, digest))
        await self._unlist(name, digest, subject, is_last=True)

    async def _unlist(
        self,
        name: RepositoryName,
        digest: Digest,
        subject: Digest | None,
        *,
        is_last: bool = False,
    ) -> None:
        """Delete what leads to a manifest: its tags, and its entry among the referrers.

        With ``is_last`` it is gone, and what leads to it stays if it was pushed again meanwhile.
        """

        async def is_back() -> bool:
            return is_last and await self._has_revision(name, digest)

        await self._tags.delete_all(name, digest, unless=is_back)
        if subject is not None:
            await self._referrers.remove(name, subject, digest)
            if await is_back():
                # Its entry may have been the new one.
                with suppress(RegistryError):
                    found = await self._by_digest(name, digest)
                    manifest = parse_manifest(found.content, found.media_type)
                    await self._referrers.add(name, digest, manifest, len(found.content))

    async def _by_digest(self, name: RepositoryName, digest: Digest) -> StoredManifest:
        # Both at once: nearly always the bytes are where the digest says.
        target, content = await asyncio.gather(
            read_link(self._driver, layout.revision_link(name, digest)), self._content(digest)
        )
        if target is not None and (target != digest or content is None):
            # However large: it was taken for a manifest, under the limit that there was then.
            content = await read_content(self._driver, layout.blob_data(target))
        if target is None or content is None:
            raise _unknown(digest)
        return StoredManifest(digest, await self._media_type(name, digest, content), content)

    async def _subject(self, digest: Digest) -> Digest | None:
        """What a manifest is about; None also if it is not there, or cannot be read."""
        content = await self._content(digest)
        try:
            return None if content is None else parse_manifest(content).subject
        except RegistryError:
            return None

    async def _content(self, digest: Digest) -> bytes | None:
        """What may be a manifest; None also if it is too large for one."""
        return await read_content(
            self._driver,
            layout.blob_data(digest),
            limit_bytes=self._settings.max_stored_manifest_bytes,
        )

    async def _media_type(self, name: RepositoryName, digest: Digest, content: bytes) -> str:
        """What a manifest was pushed as: stored beside, for those that do not say it."""
        media_type, is_said = media_type_within(content)
        if is_said:
            return media_type
        try:
            stored = await self._driver.get_content(layout.revision_media_type(name, digest))
        except PathNotFoundError:  # pushed by the Go registry
            return media_type
        return stored.decode("ascii", "replace")

    async def _claim(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether a manifest is there, for who is going to refer to it.

        As with the link of a blob, garbage collection leaves a young one alone, but who wrote that
        may not have asked for a reprieve yet.
        """
        try:
            link = await self._driver.stat(layout.revision_link(name, digest))
        except PathNotFoundError:
            return False
        if not self._blobs.is_young(link):
            await refresh_link(self._driver, link.path, link)
        target = await read_link(self._driver, link.path)
        return target is not None and await self._is_kept(name, digest, target)

    async def _is_kept(self, name: RepositoryName, digest: Digest, target: Digest) -> bool:
        """Whether a manifest, whose link was just written, is there and is not swept."""
        await asyncio.gather(
            self._condemned.reprieve(layout.revision_condemned(name, digest)),
            self._condemned.reprieve(layout.blob_condemned(target)),
        )
        try:
            await self._driver.stat(layout.blob_data(target))
        except PathNotFoundError:
            return False
        return await self._has_revision(name, digest)

    async def _has_revision(self, name: RepositoryName, digest: Digest) -> bool:
        return await read_link(self._driver, layout.revision_link(name, digest)) is not None

    async def _check_references(self, name: RepositoryName, manifest: Manifest) -> None:
        async def check(item: Descriptor) -> Digest | None:
            return None if await self._is_there(name, manifest, item) else item.digest

        # Each once, however often a manifest names it.
        wanted = list(dict.fromkeys(manifest.references))
        found = await each(check, wanted, at_once=self._settings.max_requests_in_flight)
        missing = [str(digest) for digest in found if digest is not None]
        missing_are = self._settings.missing_references
        if missing_are is MissingReferences.ACCEPT or (
            missing_are is MissingReferences.SPARSE_INDEXES and manifest.is_index
        ):
            return  # but what is there was claimed, so it stays
        if missing:
            raise RegistryError(
                ErrorCode.MANIFEST_BLOB_UNKNOWN,
                "the manifest names what is not in the repository",
                {"digests": missing[:100]},
            )

    async def _is_there(self, name: RepositoryName, manifest: Manifest, item: Descriptor) -> bool:
        if item.is_elsewhere:
            return True
        if manifest.is_index and await self._claim(name, item.digest):
            return True
        if item.is_manifest and manifest.is_index:
            return False
        # An index of something else than manifests, as caches of builds are, names blobs.
        try:
            await self._blobs.claim(name, item.digest)
        except RegistryError:
            return False
        return True


def _unknown(reference: Reference) -> RegistryError:
    return RegistryError(
        ErrorCode.MANIFEST_UNKNOWN, "manifest unknown to the repository", str(reference)
    )
