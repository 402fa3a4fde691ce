"""Trees out of flat names: direct descendants, and the walk.

Object stores have no directories, only names with slashes. What a directory holds is computed
here, once, from listings in the order of the names' bytes, for every driver.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol, Self

from azdriver.contract import FileInfo
from azdriver.errors import PathNotFoundError
from azdriver.observe import Observer
from azdriver.paths import ROOT, StoragePath

__all__ = ["FlatPage", "TreeSource", "TreeWalk", "direct_descendants", "directory_prefix"]


def direct_descendants(names: Iterable[str], prefix: str) -> list[str]:
    """The names exactly one level below a prefix: blobs, and virtual directories, each once.

    Equal to what a hierarchical listing (List Blobs with a delimiter) of the same names gives,
    but from a flat one; in any order, with repetitions.

    Args:
        names: blob names, of the whole subtree or more.
        prefix: what they have to start with; usually ``""`` or ends with ``/``.

    Returns:
        Sorted, each name cut after its first segment below ``prefix``, without the slash, so
        that a name which is both a blob and a directory appears once. An empty segment is no
        descendant.

    >>> direct_descendants(["a/b", "a/b/c", "a/d/e", "a/", "ab"], "a/")
    ['a/b', 'a/d']
    """
    found = set()
    for name in names:
        if name.startswith(prefix):
            segment = name[len(prefix) :].partition("/")[0]
            if segment:
                found.add(prefix + segment)
    return sorted(found)


def directory_prefix(path: StoragePath) -> str:
    """What the paths below a directory start with."""
    return path if path == ROOT else path + "/"


class FlatPage(NamedTuple):
    """One page of a listing, in the order of the bytes of the paths.

    Attributes:
        entries: the page's entries; names that are no valid paths are left out.
        more: whether another page may follow.
        found: whether the page held anything, what was left out included.
    """

    entries: Sequence[FileInfo]
    more: bool
    found: bool


class TreeSource(Protocol):
    """The two listings that a walk is made of."""

    def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        """Every blob below ``directory``."""
        ...

    def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        """The blobs and directories one level below, ordered as the walk orders them."""
        ...


def _key(info: FileInfo) -> str:
    return info.path + "/" if info.is_dir else info.path


class TreeWalk:
    """The ``Walk`` of the contract over any :class:`TreeSource`."""

    def __init__(
        self,
        observer: Observer,
        source: TreeSource,
        root: StoragePath,
        start_after: StoragePath | None,
    ) -> None:
        self._observer = observer
        self._source = source
        self._root = root
        self._start_after = start_after or ""
        self._found = False
        self._last: FileInfo | None = None
        self._skipped: str | None = None  # the prefix of the directory left out last
        # Entries come by the page: one step of a generator for each would be half of the work.
        self._entries: Iterator[FileInfo] = iter(())
        self._pages = self._run()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FileInfo:
        self._last = None
        while True:
            for entry in self._entries:
                if self._skipped is not None and entry.path.startswith(self._skipped):
                    continue
                if not self._start_after or _key(entry) > self._start_after:
                    self._last = entry
                    return entry
            self._entries = iter(await anext(self._pages))

    def skip(self) -> None:
        if self._last is None or not self._last.is_dir:
            raise ValueError("skip() needs a directory that the walk has just returned")
        self._skipped = self._last.path + "/"

    async def aclose(self) -> None:
        self._entries = iter(())
        await self._pages.aclose()

    async def _run(self) -> AsyncGenerator[Sequence[FileInfo], None]:
        with self._observer.stream("walk", self._root):
            async with aclosing(self._below(self._root)) as pages:
                async for page in pages:
                    yield page
            if not self._found and self._root != ROOT:
                raise PathNotFoundError(self._observer.driver, self._root)

    def _is_skipped(self, path: str) -> bool:
        return self._skipped is not None and path.startswith(self._skipped)

    def _is_whole_page_skipped(self, entries: Sequence[FileInfo]) -> bool:
        # A whole page, not just its end: going round a small directory would cost a request for
        # each of its later siblings.
        return self._is_skipped(entries[0].path) and self._is_skipped(entries[-1].path)

    async def _below(self, top: StoragePath) -> AsyncGenerator[Sequence[FileInfo], None]:
        """All below ``top``, in one flat pass while nothing large is skipped.

        What is skipped is left out by ``__anext__``: it is not known when a page is made.
        """
        announced = directory_prefix(top)  # the directory of the entry before, with its slash
        async with aclosing(self._source.flat(top)) as pages:
            async for page in pages:
                self._found = self._found or page.found
                entries: list[FileInfo] = []
                for info in page.entries:
                    parents = info.path.rpartition("/")[0] + "/"
                    if parents != announced:
                        entries += _entered(announced, parents)
                        announced = parents
                    entries.append(info)
                yield entries
                if page.more and page.entries and self._is_whole_page_skipped(page.entries):
                    break
            else:
                return
        # The rest of a skipped directory may be long: go round it, level by level.
        async with aclosing(self._around(top)) as rest:
            async for some in rest:
                yield some

    async def _around(self, top: StoragePath) -> AsyncGenerator[Sequence[FileInfo], None]:
        """What follows the skipped directory below ``top``, without listing the inside of it."""
        assert self._skipped is not None
        done = parent = self._skipped
        while parent != directory_prefix(top):
            parent = parent[:-1].rpartition("/")[0] + "/"
            async with aclosing(self._source.level(StoragePath(parent[:-1] or ROOT))) as level:
                async for entry in level:
                    if _key(entry) <= done:
                        continue
                    # The service has put the last prefix of a page on the next one again.
                    done = _key(entry)
                    yield [entry]
                    if entry.is_dir and not self._is_skipped(entry.path + "/"):
                        async with aclosing(self._below(StoragePath(entry.path))) as pages:
                            async for page in pages:
                                yield page
            done = parent


def _entered(announced: str, parents: str) -> list[FileInfo]:
    """The directories of ``parents`` that the entry before was not in, outermost first."""
    common = 0
    start = 0
    while (slash := parents.find("/", start)) >= 0:
        if announced[: slash + 1] != parents[: slash + 1]:
            break
        common = start = slash + 1
    entered = []
    while (slash := parents.find("/", common)) >= 0:
        entered.append(FileInfo(parents[:slash], is_dir=True))
        common = slash + 1
    return entered
