"""What the repositories hold, out of one walk: what garbage collection judges by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from azdriver import FileInfo, PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import RegistryError
from oci_registry.names import (
    DEFAULT_ALGORITHM,
    Digest,
    RepositoryName,
    Tag,
    parse_digest,
    parse_repository,
    parse_tag,
)
from oci_registry.storage.concurrency import each
from oci_registry.storage.links import read_link

__all__ = ["BlobInventory", "Inventory", "Revision", "take_blob_inventory", "take_inventory"]

_PARTS: Final = (layout.LAYERS, layout.MANIFESTS, layout.UPLOADS)


@dataclass(frozen=True, slots=True)
class Revision:
    """A manifest of a repository.

    Attributes:
        target: where its bytes are, which the Go registry keeps by SHA-256 always.
        is_young: whether it was put, or claimed, less than the grace period ago.
    """

    name: RepositoryName
    digest: Digest
    target: Digest
    is_young: bool


@dataclass(slots=True)
class Inventory:
    """What the repositories hold.

    Attributes:
        revisions: all manifests.
        tagged: those that a tag points to.
        young_layers: the blobs that a young link points to: someone may be pushing a manifest
            that is to name them.
        old_layers: the repositories that have an old link of a blob, for the blobs asked for.
        old_uploads: the directories of uploads in which nothing was written lately.
        marks: those on manifests that are about to be deleted, or that a killed collector left.
    """

    revisions: list[Revision] = field(default_factory=list)
    tagged: set[tuple[RepositoryName, Digest]] = field(default_factory=set)
    young_layers: set[Digest] = field(default_factory=set)
    old_layers: dict[Digest, list[RepositoryName]] = field(
        default_factory=lambda: defaultdict(list)
    )
    old_uploads: list[str] = field(default_factory=list)
    marks: list[FileInfo] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BlobInventory:
    """What is stored once for all repositories.

    Attributes:
        count: of all blobs and manifests.
        old: the bytes that were written before a time.
        marks: those on blobs that are about to be deleted, or that a killed collector left.
    """

    count: int
    old: dict[Digest, FileInfo]
    marks: list[FileInfo]


@dataclass(slots=True)
class _Links:
    """The links whose target is not in their path."""

    tags: list[tuple[RepositoryName, Tag]] = field(default_factory=list)
    revisions: list[tuple[RepositoryName, Digest, bool]] = field(default_factory=list)
    young_layers: list[tuple[RepositoryName, Digest]] = field(default_factory=list)


async def take_blob_inventory(driver: StorageDriver, *, older_than: datetime) -> BlobInventory:
    """Walk all blobs, those of manifests among them."""
    count = 0
    old: dict[Digest, FileInfo] = {}
    marks: list[FileInfo] = []
    try:
        async with aclosing(driver.walk(layout.BLOBS)) as walk:
            async for info in walk:
                # /<algorithm>/<two digits>/<hex>/data
                parts = info.path[len(layout.BLOBS) + 1 :].split("/")
                if info.is_dir or len(parts) != 4:
                    continue
                digest = _digest(parts[0], parts[2])
                if digest is None:
                    continue
                if info.path.startswith(layout.blob_condemned(digest)):
                    marks.append(info)
                elif info.path == layout.blob_data(digest):
                    count += 1
                    if _is_old(info, older_than):
                        old[digest] = info
    except PathNotFoundError:
        pass
    return BlobInventory(count, old, marks)


async def take_inventory(
    driver: StorageDriver,
    *,
    older_than: datetime,
    with_tags: bool,
    candidates: Container[Digest],
    at_once: int,
) -> Inventory:
    """Walk all repositories.

    Args:
        driver: where they are.
        older_than: what was written later is young.
        with_tags: whether ``tagged`` is wanted, which takes a request for each tag.
        candidates: the blobs whose old links matter.
        at_once: requests in flight.
    """
    inventory, links = Inventory(), _Links()
    uploads: dict[str, bool] = {}
    try:
        async with aclosing(driver.walk(layout.REPOSITORIES)) as walk:
            async for info in walk:
                if not info.is_dir:
                    _enter(info, older_than, candidates, inventory, links, uploads)
    except PathNotFoundError:
        pass
    inventory.old_uploads = [path for path, is_old in uploads.items() if is_old]
    if not with_tags:
        links.tags.clear()
    await _follow(driver, inventory, links, at_once)
    return inventory


def _enter(
    info: FileInfo,
    older_than: datetime,
    candidates: Container[Digest],
    inventory: Inventory,
    links: _Links,
    uploads: dict[str, bool],
) -> None:
    segments = info.path[len(layout.REPOSITORIES) + 1 :].split("/")
    place = next((at for at, segment in enumerate(segments) if segment in _PARTS), 0)
    try:
        name = parse_repository("/".join(segments[:place]))
    except RegistryError:
        return  # what someone else put there
    is_old = _is_old(info, older_than)
    match segments[place:]:
        case [layout.LAYERS, algorithm, value, "link"]:
            digest = _digest(algorithm, value)
            if digest is None:
                return
            if not is_old:
                links.young_layers.append((name, digest))
            elif digest in candidates:
                inventory.old_layers[digest].append(name)
        case [layout.MANIFESTS, "revisions", algorithm, value, "link"]:
            digest = _digest(algorithm, value)
            if digest is not None:
                links.revisions.append((name, digest, not is_old))
        case [layout.MANIFESTS, "tags", tag, "current", "link"]:
            try:
                links.tags.append((name, parse_tag(tag)))
            except RegistryError:
                return
        case [layout.MANIFESTS, "condemned", _, _]:
            inventory.marks.append(info)
        case [layout.UPLOADS, identifier, _, *_]:
            path = layout.upload(name, identifier)
            uploads[path] = uploads.get(path, True) and is_old
        case _:
            return


async def _follow(driver: StorageDriver, inventory: Inventory, links: _Links, at_once: int) -> None:
    """Read the links whose target is not in their path."""

    async def tag(item: tuple[RepositoryName, Tag]) -> None:
        target = await read_link(driver, layout.tag_current_link(*item))
        if target is not None:
            inventory.tagged.add((item[0], target))

    async def revision(item: tuple[RepositoryName, Digest, bool]) -> None:
        name, digest, is_young = item
        target = await _target(driver, layout.revision_link(name, digest), digest)
        inventory.revisions.append(Revision(name, digest, target, is_young))

    async def layer(item: tuple[RepositoryName, Digest]) -> None:
        name, digest = item
        inventory.young_layers.add(digest)
        inventory.young_layers.add(await _target(driver, layout.layer_link(name, digest), digest))

    await each(tag, links.tags, at_once=at_once)
    await each(revision, links.revisions, at_once=at_once)
    await each(layer, links.young_layers, at_once=at_once)


async def _target(driver: StorageDriver, path: str, digest: Digest) -> Digest:
    # Only what was pushed by another algorithm is linked to another digest, by the Go registry.
    if digest.algorithm == DEFAULT_ALGORITHM:
        return digest
    return await read_link(driver, path) or digest


def _is_old(info: FileInfo, older_than: datetime) -> bool:
    assert info.mod_time is not None
    return info.mod_time < older_than


def _digest(algorithm: str, value: str) -> Digest | None:
    try:
        return parse_digest(f"{algorithm}:{value}")
    except RegistryError:
        return None
