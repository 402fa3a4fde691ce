"""Referrers: the manifests that name another one as their subject."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Container, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
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

__all__ = ["ReferrerStore", "ReferrersPage"]

# The tag where clients keep a list for registries without one: as the specification cuts it, so
# that also a digest of SHA-512 makes a tag.
_FALLBACK_TAG: Final = re.compile(r"([a-z0-9]+)-([0-9a-f]{64})")
_FALLBACK_CHARACTERS: Final = 64
# Between the descriptors of an index.
_SEPARATOR: Final = b", "


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Some of the referrers of a subject.

    Attributes:
        descriptors: each as JSON.
        last: where the next page goes on; None if there is none.
    """

    descriptors: Sequence[bytes]
    last: Digest | None = None

    def index(self) -> bytes:
        """An index that lists them."""
        return _index_of(self.descriptors)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A referrer, and the size of what is stored of its descriptor; None if nothing is."""

    digest: Digest
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Described:
    """A referrer, and its descriptor as JSON."""

    digest: Digest
    artifact_type: str | None
    described: bytes


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
        described = self._described(digest, manifest.descriptor(digest, size)).described
        await self._driver.put_content(
            layout.referrer_link(name, manifest.subject, digest), described
        )

    async def remove(self, name: RepositoryName, subject: Digest, digest: Digest) -> None:
        """Take a manifest out of the list of its subject."""
        with suppress(PathNotFoundError):
            await self._driver.delete(layout.referrer(name, subject, digest))

    async def subject_of(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """Whose referrers old clients look for below a tag; None for other tags.

        Of a digest that is cut there, the rest is that of a subject that has referrers.
        """
        match = _FALLBACK_TAG.fullmatch(tag)
        if match is None:
            return None
        algorithm, value = match.groups()
        try:
            return parse_digest(f"{algorithm}:{value}")
        except RegistryError:
            directory = layout.referrers_by(name, algorithm)
        with suppress(PathNotFoundError, RegistryError):
            async with aclosing(
                self._driver.walk(directory, start_after=f"{directory}/{value}")
            ) as walk:
                async for info in walk:
                    found = info.path[len(directory) + 1 :].partition("/")[0]
                    if found.startswith(value):
                        return parse_digest(f"{algorithm}:{found}")
                    return None
        return None

    async def page(
        self,
        name: RepositoryName,
        subject: Digest,
        *,
        after: Digest | None = None,
        artifact_types: Container[str | None] | None = None,
    ) -> ReferrersPage:
        """The descriptors of referrers, in the order of their digests, as many as are sent at once.

        What clients entered below the fallback tag, since the Go registry has no referrers, is
        among them.

        Args:
            name: the repository.
            subject: whose referrers; it need not exist.
            after: where the page before ended; None for the first.
            artifact_types: list only these; None for all.
        """
        limit = self._settings.max_page_bytes - len(_index_of(()))
        page: list[bytes] = []
        page_bytes, last = 0, None
        async with aclosing(self._batches(name, subject, after)) as batches:
            async for batch in batches:
                # Some may have been deleted meanwhile.
                for item in filter(None, batch):
                    if artifact_types is not None and item.artifact_type not in artifact_types:
                        continue
                    if page and page_bytes + len(item.described) > limit:
                        return ReferrersPage(page, last)
                    page.append(item.described)
                    page_bytes += len(item.described) + len(_SEPARATOR)
                    last = item.digest
        return ReferrersPage(page)

    async def _batches(
        self, name: RepositoryName, subject: Digest, after: Digest | None
    ) -> AsyncGenerator[Sequence[_Described | None], None]:
        """What the entries say, read side by side, but never much more of it than a page has."""

        async def describe(entry: _Entry) -> _Described | None:
            if entry.size is None:
                return await self._describe(name, subject, entry.digest)
            return await self._read(layout.referrer_link(name, subject, entry.digest), entry.digest)

        at_once = self._settings.max_requests_in_flight
        limit = self._settings.max_page_bytes
        batch: list[_Entry] = []
        batch_bytes = 0
        async with aclosing(self._entries(name, subject, after)) as entries:
            async for entry in entries:
                # A manifest may be as large as a page; but most are small.
                size = limit // 4 if entry.size is None else entry.size
                if batch and (len(batch) == at_once or batch_bytes + size > limit):
                    yield await each(describe, batch, at_once=at_once)
                    batch, batch_bytes = [], 0
                batch.append(entry)
                batch_bytes += size
        yield await each(describe, batch, at_once=at_once)

    async def _entries(
        self, name: RepositoryName, subject: Digest, after: Digest | None
    ) -> AsyncGenerator[_Entry, None]:
        """Those of a walk, and those of the fallback tag, in one order."""
        fallback = deque(
            digest
            for digest in sorted(set(await self._fallback(name, subject)))
            if after is None or digest > after
        )
        directory = layout.referrers(name, subject)
        start = None if after is None else layout.referrer_link(name, subject, after)
        with suppress(PathNotFoundError):
            async with aclosing(self._driver.walk(directory, start_after=start)) as walk:
                async for info in walk:
                    digest = _digest_in(info.path[len(directory) + 1 :])
                    if info.is_dir or digest is None:
                        continue
                    while fallback and fallback[0] <= digest:
                        if (other := fallback.popleft()) != digest:
                            yield _Entry(other)
                    yield _Entry(digest, info.size)
        for digest in fallback:
            yield _Entry(digest)

    async def _read(self, path: str, digest: Digest) -> _Described | None:
        with suppress(PathNotFoundError, ValueError):
            described = json.loads(await self._driver.get_content(path))
            if isinstance(described, dict):
                return self._described(digest, described)
        return None

    def _described(self, digest: Digest, descriptor: dict[str, Any]) -> _Described:
        """A descriptor as it is sent: without its annotations, if they alone fill a page."""
        encoded = json.dumps(descriptor).encode()
        if len(encoded) + len(_index_of(())) > self._settings.max_page_bytes:
            kept = {key: value for key, value in descriptor.items() if key != "annotations"}
            encoded = json.dumps(kept).encode()
        return _Described(digest, descriptor.get("artifactType"), encoded)

    async def _fallback(self, name: RepositoryName, subject: Digest) -> list[Digest]:
        """What a client listed below the fallback tag."""
        tag = Tag(f"{subject.algorithm}-{subject.hex[:_FALLBACK_CHARACTERS]}")
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
    ) -> _Described | None:
        """A manifest of the fallback tag, if it is there and has that subject."""
        if await read_link(self._driver, layout.revision_link(name, digest)) is None:
            return None
        try:
            content = await self._driver.get_content(layout.blob_data(digest))
            manifest = parse_manifest(content)
        except (PathNotFoundError, RegistryError):
            return None
        if manifest.subject != subject:
            return None
        return self._described(digest, manifest.descriptor(digest, len(content)))


def _index_of(descriptors: Iterable[bytes]) -> bytes:
    head = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX}).encode()
    return b'%b, "manifests": [%b]}' % (head[:-1], _SEPARATOR.join(descriptors))


def _digest_in(path: str) -> Digest | None:
    """The referrer whose link is at a path below the directory of its subject."""
    algorithm, _, rest = path.partition("/")
    value, _, name = rest.partition("/")
    try:
        return parse_digest(f"{algorithm}:{value}") if name == "link" else None
    except RegistryError:
        return None
