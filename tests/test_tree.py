"""Trees out of flat names, against a slow and obvious model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdriver.contract import FileInfo
from azdriver.errors import PathNotFoundError
from azdriver.observe import Observer
from azdriver.paths import StoragePath
from azdriver.tree import FlatPage, TreeWalk, direct_descendants, directory_prefix

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

# Characters before, at and after the slash in the order of bytes, and names that contain others.
_segments = st.sampled_from(["a", "a-", "a.b", "a0", "aa", "b", "B", "_", "-", "0"])
_paths = st.lists(_segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
_trees = st.lists(_paths, unique=True, max_size=40).map(sorted)
_page_sizes = st.integers(1, 12)


@dataclass
class PagedSource:
    """A ``TreeSource`` that cuts pages, leaves some names out, and counts what it lists.

    ``hidden`` names are in the storage without being valid paths: they take up room in a page.
    """

    names: Sequence[str]
    page_size: int
    hidden: Collection[str] = ()
    empty_pages: bool = False
    listed: list[str] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    open_listings: int = 0

    async def flat(self, directory: StoragePath) -> AsyncGenerator[FlatPage, None]:
        prefix = directory_prefix(directory)
        names = [name for name in self.names if name.startswith(prefix)]
        self.open_listings += 1
        try:
            for begin in range(0, max(1, len(names)), self.page_size):
                if self.empty_pages:
                    yield FlatPage([], more=True, found=False)
                page = names[begin : begin + self.page_size]
                self.listed += page
                entries = [FileInfo(name) for name in page if name not in self.hidden]
                yield FlatPage(entries, begin + self.page_size < len(names), bool(page))
        finally:
            self.open_listings -= 1

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        prefix = directory_prefix(directory)
        self.levels.append(directory)
        entries = set()
        for name in self.names:
            if name.startswith(prefix):
                segment, slash, _ = name[len(prefix) :].partition("/")
                if slash or name not in self.hidden:
                    entries.add(prefix + segment + slash)
        self.open_listings += 1
        try:
            for entry in sorted(entries):
                yield FileInfo(entry.rstrip("/"), is_dir=entry.endswith("/"))
        finally:
            self.open_listings -= 1


def model(names: Iterable[str], root: str = "/") -> list[str]:
    """What a walk returns; directories are shown with a slash at the end."""
    prefix = root if root == "/" else root + "/"
    entries = set()
    for name in names:
        if name.startswith(prefix):
            entries.add(name)
            entries.update(name[: i + 1] for i in range(len(prefix), len(name)) if name[i] == "/")
    return sorted(entries)


def walk(
    source: PagedSource,
    root: str = "/",
    *,
    start_after: str | None = None,
    skip: Collection[str] = (),
) -> list[str]:
    async def collect() -> list[str]:
        start = None if start_after is None else StoragePath(start_after)
        steps = TreeWalk(Observer("test"), source, StoragePath(root), start)
        shown = []
        async for info in steps:
            shown.append(info.path + "/" if info.is_dir else info.path)
            if info.is_dir and info.path + "/" in skip:
                steps.skip()
        return shown

    result = asyncio.run(collect())
    assert source.open_listings == 0
    return result


def without(entries: Iterable[str], skip: Collection[str]) -> list[str]:
    return [
        entry
        for entry in entries
        if not any(entry.startswith(skipped) and entry != skipped for skipped in skip)
    ]


def directories(entries: Iterable[str]) -> list[str]:
    return [entry for entry in entries if entry.endswith("/")]


class TestDirectDescendants:
    @given(st.lists(st.text("ab/-0", max_size=8)), st.sampled_from(["", "a/", "a/b/", "/", "a"]))
    def test_equals_a_model(self, names: list[str], prefix: str) -> None:
        expected = set()
        for name in names:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                child = rest[: rest.index("/")] if "/" in rest else rest
                if child:
                    expected.add(prefix + child)
        assert direct_descendants(names, prefix) == sorted(expected)

    @given(_trees)
    def test_of_paths_are_one_level_below(self, tree: list[str]) -> None:
        for directory in ["/", *directories(model(tree))]:
            children = direct_descendants(tree, directory)
            assert children == sorted(set(children))
            for child in children:
                assert child.startswith(directory)
                assert "/" not in child[len(directory) :]
                assert child in tree or child + "/" in model(tree)

    def test_takes_any_iterable_in_any_order(self) -> None:
        assert direct_descendants(iter(("b/c", "a", "b/d", "a")), "") == ["a", "b"]

    def test_of_nothing_is_nothing(self) -> None:
        assert direct_descendants([], "") == []
        assert direct_descendants(["ab"], "a/") == []


class TestOrder:
    @given(_trees, _page_sizes, st.booleans())
    def test_walk_of_the_root(self, tree: list[str], page_size: int, empty_pages: bool) -> None:
        source = PagedSource(tree, page_size, empty_pages=empty_pages)
        assert walk(source) == model(tree)
        assert source.listed == tree  # each once, and in one listing
        assert source.levels == []

    @given(_trees.filter(bool), _page_sizes, st.data())
    def test_walk_of_a_directory(
        self, tree: list[str], page_size: int, data: st.DataObject
    ) -> None:
        found = directories(model(tree))
        root = data.draw(st.sampled_from(["/", *(entry.rstrip("/") for entry in found)]))
        assert walk(PagedSource(tree, page_size), root) == model(tree, root)

    @given(_trees, _page_sizes, st.data())
    def test_names_that_are_no_paths_are_passed_over(
        self, tree: list[str], page_size: int, data: st.DataObject
    ) -> None:
        hidden = data.draw(st.sets(st.sampled_from(tree))) if tree else set()
        visible = [path for path in tree if path not in hidden]
        assert walk(PagedSource(tree, page_size, hidden)) == model(visible)

    def test_a_directory_of_nothing_else_is_found(self) -> None:
        assert walk(PagedSource(["/a/b"], 5, {"/a/b"}), "/a") == []

    @pytest.mark.parametrize("root", ["/missing", "/a/b", "/a/bb"])
    def test_nothing_below_is_not_found(self, root: str) -> None:
        with pytest.raises(PathNotFoundError) as caught:
            walk(PagedSource(["/a/b", "/a/bbb/c"], 5), root)
        assert caught.value.path == root

    def test_an_empty_root_is_found(self) -> None:
        assert walk(PagedSource([], 5)) == []


class TestSkip:
    @given(_trees.filter(bool), _page_sizes, st.data())
    def test_leaves_out_what_is_below(
        self, tree: list[str], page_size: int, data: st.DataObject
    ) -> None:
        found = directories(model(tree))
        skip = data.draw(st.sets(st.sampled_from(found))) if found else set()
        assert walk(PagedSource(tree, page_size), skip=skip) == without(model(tree), skip)

    @given(_trees.filter(bool), _page_sizes, st.data())
    def test_below_a_directory(self, tree: list[str], page_size: int, data: st.DataObject) -> None:
        found = directories(model(tree))
        root = data.draw(st.sampled_from(["/", *(entry.rstrip("/") for entry in found)]))
        inner = directories(model(tree, root))
        skip = data.draw(st.sets(st.sampled_from(inner))) if inner else set()
        expected = without(model(tree, root), skip)
        assert walk(PagedSource(tree, page_size), root, skip=skip) == expected

    @given(_trees.filter(bool), _page_sizes, st.data())
    def test_with_hidden_names_and_a_start(
        self, tree: list[str], page_size: int, data: st.DataObject
    ) -> None:
        hidden = data.draw(st.sets(st.sampled_from(tree)))
        visible = [path for path in tree if path not in hidden]
        start = data.draw(st.sampled_from(tree))
        found = directories(entry for entry in model(visible) if entry > start)
        skip = data.draw(st.sets(st.sampled_from(found))) if found else set()
        expected = [entry for entry in without(model(visible), skip) if entry > start]
        # A directory that is above the start is not returned, so it cannot be skipped.
        source = PagedSource(tree, page_size, hidden)
        seen = walk(source, start_after=start, skip=skip)
        # The model drops hidden-only directories; going round a skipped one lists them by level.
        assert [entry for entry in seen if entry in model(visible)] == expected
        assert set(seen) - set(expected) <= set(directories(model(hidden)))

    @given(_trees, st.integers(1, 6), st.integers(30, 80), _segments)
    def test_a_large_directory_is_not_listed(
        self, tree: list[str], page_size: int, large: int, segment: str
    ) -> None:
        directory = f"/{segment}/large/"
        names = sorted({*tree, *(f"{directory}{i:03}/x" for i in range(large))})
        source = PagedSource(names, page_size)
        assert walk(source, skip={directory}) == without(model(names), {directory})
        inside = [name for name in source.listed if name.startswith(directory)]
        # The page on which it begins, and the first that it fills.
        assert len(inside) <= 2 * page_size
        assert f"/{segment}" in source.levels  # it went round
        assert directory.rstrip("/") not in source.levels

    def test_a_second_directory_is_not_listed_at_all(self) -> None:
        names = [f"/{directory}/{i}" for directory in "abc" for i in range(9)]
        source = PagedSource(names, 4)
        assert walk(source, skip={"/a/", "/b/"}) == ["/a/", "/b/", *model(names[18:])]
        assert source.listed == [*names[:4], *names[18:]]

    def test_a_small_directory_costs_no_further_listing(self) -> None:
        names = ["/a/1", "/a/2", "/b", "/c/3", "/d"]
        source = PagedSource(names, 5)
        assert walk(source, skip={"/a/", "/c/"}) == ["/a/", "/b", "/c/", "/d"]
        assert source.levels == []

    def test_needs_a_directory(self) -> None:
        async def run() -> None:
            steps = TreeWalk(
                Observer("test"), PagedSource(["/a", "/b/c"], 5), StoragePath("/"), None
            )
            with pytest.raises(ValueError, match="skip"):
                steps.skip()
            assert (await anext(steps)).path == "/a"
            with pytest.raises(ValueError, match="skip"):
                steps.skip()
            assert (await anext(steps)).is_dir
            steps.skip()
            steps.skip()
            with pytest.raises(StopAsyncIteration):
                await anext(steps)
            with pytest.raises(ValueError, match="skip"):
                steps.skip()

        asyncio.run(run())


class TestStartAfter:
    @given(_trees.filter(bool), _page_sizes)
    def test_resumes_behind_any_file(self, tree: list[str], page_size: int) -> None:
        entries = model(tree)
        for path in tree:
            rest = walk(PagedSource(tree, page_size), start_after=path)
            assert rest == entries[entries.index(path) + 1 :]

    @given(_trees, _page_sizes, _paths)
    def test_need_not_exist(self, tree: list[str], page_size: int, start: str) -> None:
        seen = walk(PagedSource(tree, page_size), start_after=start)
        assert seen == [entry for entry in model(tree) if entry > start]


class TestClosing:
    @given(_trees.filter(bool), _page_sizes, st.data())
    def test_at_any_step_releases_the_listings(
        self, tree: list[str], page_size: int, data: st.DataObject
    ) -> None:
        entries = model(tree)
        found = directories(entries)
        skip = data.draw(st.sets(st.sampled_from(found))) if found else set()
        steps_taken = data.draw(st.integers(0, len(without(entries, skip))))

        async def run() -> None:
            source = PagedSource(tree, page_size)
            steps = TreeWalk(Observer("test"), source, StoragePath("/"), None)
            for _ in range(steps_taken):
                info = await anext(steps)
                if info.is_dir and info.path + "/" in skip:
                    steps.skip()
            await steps.aclose()
            assert source.open_listings == 0
            await steps.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(steps)

        asyncio.run(run())


class RepeatingSource(PagedSource):
    """The service has begun a page with the virtual directory that ended the one before."""

    async def level(self, directory: StoragePath) -> AsyncGenerator[FileInfo, None]:
        async for entry in super().level(directory):
            yield entry
            if entry.is_dir:
                yield entry


async def test_a_directory_that_is_listed_twice_is_returned_once() -> None:
    names = [*(f"/a/{number}" for number in range(9)), "/b/1", "/b/2", "/c"]
    walk = TreeWalk(Observer("any"), RepeatingSource(names, 3), StoragePath("/"), None)
    found = []
    async for entry in walk:
        found.append(entry.path)
        if entry.path == "/a":
            walk.skip()
    assert found == ["/a", "/b", "/b/1", "/b/2", "/c"]
