"""What is reached from manifests: what garbage collection must leave alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from azdriver import StorageDriver
from oci_registry import layout
from oci_registry.errors import RegistryError
from oci_registry.manifest import parse_manifest
from oci_registry.names import DEFAULT_ALGORITHM, Digest, RepositoryName, parse_digest
from oci_registry.storage.concurrency import each
from oci_registry.storage.contents import read_content
from oci_registry.storage.inventory import Inventory, Revision
from oci_registry.storage.links import read_link

__all__ = ["Reach"]

_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class _Named:
    """What a manifest names.

    Attributes:
        contents: config, layers, manifests.
        manifests: those of the contents that name others in turn.
        subject: what the manifest is about, which it does not keep.
    """

    contents: Sequence[Digest] = ()
    manifests: Sequence[Digest] = ()
    subject: Digest | None = None


class Reach:
    """Reads manifests, each once: what a digest names never changes."""

    def __init__(self, driver: StorageDriver, *, at_once: int, max_manifest_bytes: int) -> None:
        """Make one.

        Args:
            driver: where the manifests are.
            at_once: requests in flight.
            max_manifest_bytes: of what an index calls a manifest, and no link does. A larger
                one is a layer by its true name, and names nothing.
        """
        self._driver = driver
        self._at_once = at_once
        self._max_manifest_bytes = max_manifest_bytes
        self._named: dict[Digest, _Named] = {}

    async def contents(self, revisions: Iterable[Revision]) -> set[Digest]:
        """The manifests themselves, and all that they name, through indexes of indexes."""
        reached = {revision.digest for revision in revisions}
        # By repository: only there it is told where what was pushed by SHA-512 is.
        level = {(revision.name, revision.target) for revision in revisions}
        seen = set(level)
        elsewhere: set[tuple[RepositoryName, Digest]] = set()
        # What was pushed as a manifest is read however large it is.
        await self._read(revision.target for revision in revisions)
        while level:
            await self._read((digest for _, digest in level), limit_bytes=self._max_manifest_bytes)
            following: set[tuple[RepositoryName, Digest]] = set()
            for name, digest in level:
                named = self._named.get(digest, _Named())
                reached.add(digest)
                reached.update(named.contents)
                following.update((name, manifest) for manifest in named.manifests)
                elsewhere.update(
                    (name, content)
                    for content in named.contents
                    if content.algorithm != DEFAULT_ALGORITHM
                )
            level = following - seen
            seen |= level
        reached.update(await self._targets(elsewhere))
        return reached

    async def kept(self, inventory: Inventory) -> set[tuple[RepositoryName, Digest]]:
        """The manifests that stay if those without a tag are to go.

        Beside those that a tag points to, what they name, and what is young, these are the
        referrers of all of them: a signature has no tag.
        """
        revisions = {(revision.name, revision.digest): revision for revision in inventory.revisions}
        await self._read(revision.target for revision in inventory.revisions)
        referrers: dict[tuple[RepositoryName, Digest], list[Digest]] = {}
        for (name, digest), revision in revisions.items():
            subject = self._named.get(revision.target, _Named()).subject
            if subject is not None:
                referrers.setdefault((name, subject), []).append(digest)
        waiting = [
            key
            for key, revision in revisions.items()
            if revision.is_young or key in inventory.tagged
        ]
        kept = set(waiting)
        while waiting:
            name, digest = key = waiting.pop()
            named = self._named.get(revisions[key].target, _Named())
            for other in (*named.contents, *referrers.get(key, ())):
                if (name, other) in revisions and (name, other) not in kept:
                    kept.add((name, other))
                    waiting.append((name, other))
        return kept

    def subject(self, revision: Revision) -> Digest | None:
        """What a manifest that was read is about."""
        return self._named.get(revision.target, _Named()).subject

    async def _read(self, digests: Iterable[Digest], *, limit_bytes: int | None = None) -> None:
        async def read(digest: Digest) -> None:
            path = layout.blob_data(digest)
            content = await read_content(self._driver, path, limit_bytes=limit_bytes)
            if content is not None:  # else it may come yet
                self._named[digest] = _named(content)

        wanted = {digest for digest in digests if digest not in self._named}
        await each(read, wanted, at_once=self._at_once)

    async def _targets(self, links: Iterable[tuple[RepositoryName, Digest]]) -> set[Digest]:
        async def target(item: tuple[RepositoryName, Digest]) -> Digest | None:
            return await read_link(self._driver, layout.layer_link(*item))

        found = await each(target, links, at_once=self._at_once)
        return {digest for digest in found if digest is not None}


def _named(content: bytes) -> _Named:
    try:
        manifest = parse_manifest(content)
    except RegistryError:
        # Such as Docker's first schema: whatever looks like a digest is taken for one.
        return _Named([parse_digest(match.decode()) for match in _DIGEST.findall(content)])
    contents = [item.digest for item in manifest.references]
    manifests = [
        item.digest for item in manifest.references if item.is_manifest and manifest.is_index
    ]
    return _Named(contents, manifests, manifest.subject)
