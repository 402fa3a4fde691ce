"""The blobs of a container, or a sample of them that no layout is missing from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from azure.storage.blob import BlobProperties

from azdriver.azureblob.client import Clients
from azdriver.azureblob.doctor.diagnosis import BlobCounts, LayoutCount
from azdriver.azureblob.inventory import InventoryPage, blob_type_of, inventory
from azdriver.azureblob.legacy import REGISTRY, is_legacy_content
from azdriver.azureblob.migration.backups import BACKUPS, is_superseded, name_of_backup
from azdriver.paths import is_path

__all__ = ["Sample", "sample_blobs", "whole_container"]

MAX_DIRECTORIES: Final = 24
"""At the top, that are looked into; a registry's parts come in addition."""

MAX_LAYOUTS: Final = 20
"""That are told apart; of no registry, or in the set root directory, there may be four more."""

PAGE_BLOBS: Final = 1000

MAX_EMPTY_PAGES: Final = 25
"""That are passed over in a sample."""

MAX_EMPTY_PAGES_OF_LISTING: Final = 10
"""So that the first listings leave some to the others."""

MAX_EXAMPLES: Final = 5
INCLUDE: Final = ("metadata", "snapshots", "uncommittedblobs")

_TREE: Final = re.compile(rf"(/?)((?:[^/]+/)*?){re.escape(REGISTRY)}")


class _Base(NamedTuple):
    """What the names of a layout start with."""

    legacy: bool
    root: str
    registry: bool


class Sample:
    """Counts blobs as they come.

    In a bounded memory, but for the names of a sample: a container may have millions of registries,
    or of directories at the top.
    """

    def __init__(self, root_directory: str = "", *, max_layouts: int = MAX_LAYOUTS) -> None:
        """
        Args:
            root_directory: the one that is set, by which blobs of no registry are told apart.
            max_layouts: how many are told apart, besides those of no registry and those with that
                root directory.
        """
        self.is_whole = True
        self._root = root_directory.strip("/")
        self._max_layouts = max_layouts
        self.first: BlobProperties | None = None
        self._counts: Counter[str] = Counter()
        self._types: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)
        self._bases: Counter[_Base] = Counter()
        self._bytes: Counter[_Base] = Counter()
        self._contents: Counter[_Base] = Counter()
        self._top: str | None = None
        self._are_tops_several = False
        self._seen: set[str] = set()

    def add(self, blob: BlobProperties, *, may_come_again: bool = False) -> None:
        """
        Args:
            blob: as a listing has it.
            may_come_again: in a sample, whose parts overlap.
        """
        if may_come_again:
            key = f"{blob.name}\0{blob.snapshot or ''}"
            if key in self._seen:
                return
            self._seen.add(key)
        if blob.snapshot:
            self._note("snapshots", blob.name)
            return
        if name_of_backup(blob) is not None:
            self._note("superseded" if is_superseded(blob) else "backups", blob.name)
            return
        path = blob.name if blob.name.startswith("/") else f"/{blob.name}"
        if not is_path(path):
            self._note("no_paths", blob.name)
            return
        kind = blob_type_of(blob)
        if kind == "BlockBlob" and _is_uncommitted(blob):
            self._note("uncommitted", blob.name)
            return
        self.first = self.first or blob
        self._counts["blobs"] += 1
        self._counts["size_bytes"] += blob.size
        self._types[kind] += 1
        base = _base_of(blob.name, self._root)
        is_legacy = is_legacy_content(path, kind, blob.size, blob.metadata)
        if kind == "AppendBlob":
            self._note("legacy_contents" if is_legacy else "streams", blob.name)
        if blob.lease.state == "leased":
            self._note("leased", blob.name)
        top = blob.name.strip("/").partition("/")[0] if "/" in blob.name[1:] else ""
        self._are_tops_several |= self._top not in (None, top)
        self._top = top
        # Of these there are four at most, or it is known already.
        is_told = not base.registry or base.root == self._root or base in self._bases
        if is_told or len(self._bases) < self._max_layouts:
            self._bases[base] += 1
            self._bytes[base] += blob.size
            self._contents[base] += is_legacy
        else:
            self._note("of_more_registries", blob.name)

    def _note(self, what: str, name: str) -> None:
        self._counts[what] += 1
        if len(self._examples[what]) < MAX_EXAMPLES:
            self._examples[what].append(name)

    @property
    def registries(self) -> list[str]:
        """What the names of each registry's tree start with."""
        return [
            ("/" if base.legacy else "") + (f"{base.root}/" if base.root else "") + REGISTRY
            for base in self._bases
            if base.registry
        ]

    @property
    def only_directory(self) -> str:
        """The one directory at the top that all names begin with; ``""`` if there are several."""
        return "" if self._are_tops_several else self._top or ""

    def counts(self) -> BlobCounts:
        return BlobCounts(
            **self._counts,
            is_whole=self.is_whole,
            types=dict(self._types),
            examples={what: tuple(names) for what, names in self._examples.items()},
        )

    def layouts(self) -> tuple[LayoutCount, ...]:
        return tuple(
            LayoutCount(
                root_directory=base.root,
                legacy_root_prefix=base.legacy,
                registry=base.registry,
                blobs=blobs,
                size_bytes=self._bytes[base],
                legacy_contents=self._contents[base],
            )
            for base, blobs in self._bases.most_common()
        )


def _base_of(name: str, set_root: str) -> _Base:
    tree = _TREE.match(name)
    if tree is not None:
        return _Base(bool(tree[1]), tree[2].rstrip("/"), registry=True)
    is_below = name.removeprefix("/").startswith(f"{set_root}/")
    return _Base(name.startswith("/"), set_root if is_below else "", registry=False)


def _is_uncommitted(blob: BlobProperties) -> bool:
    # Put Blob and Put Block List set a content type, even where the caller did not.
    return blob.size == 0 and not blob.content_settings.content_type


async def whole_container(clients: Clients) -> Sample:
    """Every blob: a request per 5,000."""
    sample = Sample(clients.options.root_directory)
    async for page in inventory(clients, "", include=INCLUDE):
        for blob in page.blobs:
            sample.add(blob)
    return sample


async def sample_blobs(clients: Clients) -> Sample:
    """The first blobs of each directory at the top, and of each part of a registry.

    Not the first blobs of the container, which are of one layout alone: all names with a leading
    slash come before the others. At most 74 requests, and 25 more for pages that come empty.
    """
    root = clients.options.root_directory.strip("/")
    sample = Sample(root)
    listings = _Listings(clients)
    await _add_first(listings, sample, "")
    if sample.is_whole:
        return sample
    # One level: snapshots can be listed in a flat listing only.
    page = await listings.first_page("", delimiter="/", include=("metadata", "uncommittedblobs"))
    for blob in page.blobs:
        sample.add(blob, may_come_again=True)
    # The legacy root is one directory to the service; so are backups, which are counted too.
    directories = sorted(page.prefixes)
    # Those are looked into even where so many come before them that they are on a later page.
    first = ["/", BACKUPS, "docker/", *((f"/{root}/", f"{root}/") if root else ())]
    directories = [*first, *(name for name in directories if name not in first)]
    for directory in directories[:MAX_DIRECTORIES]:
        await _add_first(listings, sample, directory)
    for tree in sample.registries[:MAX_DIRECTORIES]:
        for part in ("blobs/", "repositories/"):
            await _add_first(listings, sample, tree + part)
    return sample


async def _add_first(listings: _Listings, sample: Sample, prefix: str) -> None:
    page = await listings.first_page(prefix)
    for blob in page.blobs:
        sample.add(blob, may_come_again=True)
    if not page.is_last:
        sample.is_whole = False


class _Listings:
    """The listings of one sample."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._empty_pages = 0

    async def first_page(
        self, prefix: str, *, delimiter: str = "", include: Sequence[str] = INCLUDE
    ) -> InventoryPage:
        """The first that is not empty, or the last one.

        The service may send empty pages before others. After too many of them it is an empty one
        that is not the last.
        """
        page = InventoryPage((), (), is_last=True)
        pages = inventory(
            self._clients, prefix, delimiter=delimiter, include=include, page_blobs=PAGE_BLOBS
        )
        left = min(MAX_EMPTY_PAGES_OF_LISTING, MAX_EMPTY_PAGES - self._empty_pages)
        async with aclosing(pages):
            async for page in pages:
                if page.blobs or page.prefixes or page.is_last or not left:
                    break
                left -= 1
                self._empty_pages += 1
        return page
