"""Referrers: the manifests that name another one as their subject."""

from __future__ import annotations

import json
from contextlib import aclosing, suppress
from typing import Any, Final

from azdriver import PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import RegistryError
from oci_registry.manifest import Manifest, parse_manifest
from oci_registry.mediatypes import OCI_INDEX
from oci_registry.names import Digest, RepositoryName, Tag, parse_digest
from oci_registry.settings import RegistrySettings
from oci_registry.storage.concurrency import each
from oci_registry.storage.links import read_link

__all__ = ["ReferrerStore", "fallback_subject", "index_of"]

# Such as sha256-<64 hex digits>: the tag where clients keep a list for registries without one.
_FALLBACK_SEPARATOR: Final = "-"


def fallback_subject(tag: Tag) -> Digest | None:
    """The subject whose referrers old clients look for below a tag; None for other tags."""
    try:
        return parse_digest(tag.replace(_FALLBACK_SEPARATOR, ":", 1))
    except RegistryError:
        return None


class ReferrerStore:
    """The referrers of all repositories.

    Each is a content of its own, which holds its descriptor: pushes side by side never write the
    same one.
    """

    def __init__(self, driver: StorageDriver, settings: RegistrySettings) -> None:
        self._driver = driver
        self._settings = settings

    async def add(
        self, name: RepositoryName, digest: Digest, manifest: Manifest, size: int
    ) -> None:
        """Enter a manifest that has a subject; again, if it is there."""
        assert manifest.subject is not None
        described = json.dumps(manifest.descriptor(digest, size)).encode()
        await self._driver.put_content(
            layout.referrer_link(name, manifest.subject, digest), described
        )

    async def remove(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        """Take a manifest out of the list of its subject."""
        with suppress(PathNotFoundError):
            await self._driver.delete(layout.referrer(name, subject, digest))

    async def of(self, name: RepositoryName, subject: Digest) -> list[dict[str, Any]]:
        """The descriptors of all referrers, in the order of their digests.

        What clients entered below the fallback tag, since the Go registry has no referrers, is
        among them.
        """
        at_once = self._settings.max_requests_in_flight
        described = await each(self._read, await self._paths(name, subject), at_once=at_once)
        by_digest = {item["digest"]: item for item in described if item is not None}
        missing = [
            digest for digest in await self._fallback(name, subject) if str(digest) not in by_digest
        ]

        async def describe(digest: Digest) -> dict[str, Any] | None:
            return await self._describe(name, subject, digest)

        for item in await each(describe, missing, at_once=at_once):
            if item is not None:
                by_digest[item["digest"]] = item
        return [by_digest[digest] for digest in sorted(by_digest)]

    async def _paths(self, name: RepositoryName, subject: Digest) -> list[str]:
        try:
            async with aclosing(self._driver.walk(layout.referrers(name, subject))) as walk:
                return [
                    info.path
                    async for info in walk
                    if not info.is_dir and info.path.endswith("/link")
                ]
        except PathNotFoundError:
            return []

    async def _read(self, path: str) -> dict[str, Any] | None:
        with suppress(PathNotFoundError, ValueError):
            described = json.loads(await self._driver.get_content(path))
            if isinstance(described, dict) and isinstance(described.get("digest"), str):
                return described
        return None

    async def _fallback(self, name: RepositoryName, subject: Digest) -> list[Digest]:
        """What a client listed below the fallback tag."""
        tag = Tag(f"{subject.algorithm}{_FALLBACK_SEPARATOR}{subject.hex[:64]}")
        listed = await read_link(self._driver, layout.tag_current_link(name, tag))
        if listed is None:
            return []
        try:
            index = parse_manifest(await self._driver.get_content(layout.blob_data(listed)))
        except (PathNotFoundError, RegistryError):
            return []
        return [item.digest for item in index.references] if index.is_index else []

    async def _describe(
        self, name: RepositoryName, subject: Digest, digest: Digest
    ) -> dict[str, Any] | None:
        """A manifest of the fallback tag, if it is there and has that subject."""
        if await read_link(self._driver, layout.revision_link(name, digest)) is None:
            return None
        try:
            content = await self._driver.get_content(layout.blob_data(digest))
            manifest = parse_manifest(content)
        except (PathNotFoundError, RegistryError):
            return None
        return manifest.descriptor(digest, len(content)) if manifest.subject == subject else None


def index_of(descriptors: list[dict[str, Any]]) -> bytes:
    """An index that lists referrers."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    ).encode()
