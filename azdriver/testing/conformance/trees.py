"""Trees: list, delete and walk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest

from azdriver.contract import FileInfo, StorageDriver, Walk
from azdriver.errors import PathNotFoundError
from azdriver.testing.conformance.capabilities import ConformanceBase, store_stream, walked

# Sorts in every way that matters: before, at and after the slash; blobs that are directories too.
TREE = (
    "/a",
    "/a-b",
    "/a.b/c",
    "/a/b",
    "/a/b-c",
    "/a/b/c",
    "/a/b/d",
    "/a/e",
    "/a0",
    "/ab/c",
    "/b/c/d/e/f",
    "/c",
)
# A trailing slash stands for the directory.
TREE_WALKED = (
    "/a",
    "/a-b",
    "/a.b/",
    "/a.b/c",
    "/a/",
    "/a/b",
    "/a/b-c",
    "/a/b/",
    "/a/b/c",
    "/a/b/d",
    "/a/e",
    "/a0",
    "/ab/",
    "/ab/c",
    "/b/",
    "/b/c/",
    "/b/c/d/",
    "/b/c/d/e/",
    "/b/c/d/e/f",
    "/c",
)


def _shown(infos: Iterable[FileInfo]) -> list[str]:
    return [info.path + "/" if info.is_dir else info.path for info in infos]


def _model(paths: Iterable[str], root: str) -> list[str]:
    """What a walk has to return, the slow way."""
    prefix = root if root == "/" else root + "/"
    expected = set()
    for path in paths:
        if path.startswith(prefix):
            expected.add(path)
            for position in range(len(prefix), len(path)):
                if path[position] == "/":
                    expected.add(path[: position + 1])
    return sorted(expected)


def _random_tree(seed: int, size: int) -> list[str]:
    source = random.Random(seed)
    segments = ("a", "a-", "a.b", "a0", "b", "B", "_", "0")
    paths: set[str] = set()
    while len(paths) < size:
        depth = source.randint(1, 4)
        paths.add("".join("/" + source.choice(segments) for _ in range(depth)))
    return sorted(paths)


async def _put_all(driver: StorageDriver, paths: Iterable[str]) -> None:
    await asyncio.gather(*(driver.put_content(path, path.encode()) for path in paths))


class TreeConformance(ConformanceBase):
    """``list``, ``delete`` and ``walk``."""

    # Listing.

    async def test_an_empty_root_lists_nothing(self, driver: StorageDriver) -> None:
        assert list(await driver.list("/")) == []

    async def test_list_gives_the_direct_descendants(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        expected = {
            "/": ["/a", "/a-b", "/a.b", "/a0", "/ab", "/b", "/c"],
            "/a": ["/a/b", "/a/b-c", "/a/e"],
            "/a/b": ["/a/b/c", "/a/b/d"],
            "/a.b": ["/a.b/c"],
            "/b/c": ["/b/c/d"],
        }
        for path, children in expected.items():
            assert list(await driver.list(path)) == children

    async def test_list_has_streams_too(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a/stream", b"x")
        await driver.put_content("/a/content", b"x")
        assert list(await driver.list("/a")) == ["/a/content", "/a/stream"]

    async def test_nothing_is_listed_below_a_blob_or_a_missing_path(
        self, driver: StorageDriver
    ) -> None:
        await driver.put_content("/abc/d", b"x")
        for path in ("/missing", "/ab", "/abc/d", "/abc/d/e"):
            with pytest.raises(PathNotFoundError) as caught:
                await driver.list(path)
            assert caught.value.path == path

    @pytest.mark.parametrize("seed", [1, 2])
    async def test_list_equals_a_model(self, driver: StorageDriver, seed: int) -> None:
        tree = _random_tree(seed, 60)
        await _put_all(driver, tree)
        directories = {"/"} | {entry.rstrip("/") for entry in _model(tree, "/") if entry[-1] == "/"}
        for directory in directories:
            prefix = "/" if directory == "/" else directory + "/"
            children = {
                prefix + path[len(prefix) :].partition("/")[0]
                for path in tree
                if path.startswith(prefix)
            }
            assert list(await driver.list(directory)) == sorted(children)

    # Deleting.

    async def test_delete_of_a_blob(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/b", b"x")
        await driver.put_content("/a/c", b"y")
        await driver.delete("/a/b")
        with pytest.raises(PathNotFoundError):
            await driver.get_content("/a/b")
        assert await driver.get_content("/a/c") == b"y"

    async def test_delete_of_a_stream(self, driver: StorageDriver) -> None:
        await store_stream(driver, "/a", b"x")
        await driver.delete("/a")
        assert list(await driver.list("/")) == []

    async def test_delete_of_a_missing_path(self, driver: StorageDriver) -> None:
        await driver.put_content("/abc/d", b"x")
        for path in ("/missing", "/ab", "/abc/d/e"):
            with pytest.raises(PathNotFoundError) as caught:
                await driver.delete(path)
            assert caught.value.path == path
        assert await driver.get_content("/abc/d") == b"x"

    async def test_delete_of_a_tree(self, driver: StorageDriver) -> None:
        await _put_all(driver, [f"/tree/{i % 4}/{i}" for i in range(40)])
        await store_stream(driver, "/tree/stream", b"x")
        await driver.put_content("/other", b"kept")
        await driver.delete("/tree")
        assert list(await driver.list("/")) == ["/other"]
        with pytest.raises(PathNotFoundError):
            await driver.delete("/tree")

    async def test_delete_takes_a_blob_and_what_is_below(self, driver: StorageDriver) -> None:
        await _put_all(driver, ["/a", "/a/b", "/a/b/c", "/a/d"])
        await driver.delete("/a/b")
        assert _shown(await walked(driver)) == ["/a", "/a/", "/a/d"]
        await driver.delete("/a")
        assert list(await driver.list("/")) == []

    async def test_delete_spares_paths_that_share_a_prefix(self, driver: StorageDriver) -> None:
        spared = ["/a-b", "/a.b/c", "/a0", "/ab", "/ab/x", "/b/a/x"]
        await _put_all(driver, ["/a", "/a/x", *spared])
        await driver.delete("/a")
        assert [info.path for info in await walked(driver) if not info.is_dir] == spared

    async def test_deletes_of_one_tree_at_once(self, driver: StorageDriver) -> None:
        await _put_all(driver, [f"/tree/{i}" for i in range(30)])
        results = await asyncio.gather(
            *(driver.delete("/tree") for _ in range(4)), return_exceptions=True
        )
        for result in results:
            assert result is None or isinstance(result, PathNotFoundError)
        assert any(result is None for result in results)
        assert list(await driver.list("/")) == []

    # Walking.

    async def test_walk_goes_in_order(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        assert _shown(await walked(driver)) == list(TREE_WALKED)
        for root in ("/a", "/a/b", "/b", "/b/c/d", "/a.b"):
            assert _shown(await walked(driver, root)) == _model(TREE, root)

    async def test_walk_tells_what_stat_tells(self, driver: StorageDriver) -> None:
        await driver.put_content("/a/content", b"12345")
        await store_stream(driver, "/a/b/stream", b"678")
        for info in await walked(driver):
            assert info == await driver.stat(info.path)

    async def test_walk_of_nothing(self, driver: StorageDriver) -> None:
        assert await walked(driver) == []
        await driver.put_content("/abc/d", b"x")
        for path in ("/missing", "/ab", "/abc/d", "/abc/d/e"):
            walk = driver.walk(path)
            with pytest.raises(PathNotFoundError) as caught:
                await anext(walk)
            assert caught.value.path == path
            with pytest.raises(StopAsyncIteration):
                await anext(walk)

    @pytest.mark.parametrize("seed", [3, 4])
    async def test_walk_equals_a_model(self, driver: StorageDriver, seed: int) -> None:
        tree = _random_tree(seed, 60)
        await _put_all(driver, tree)
        expected = _model(tree, "/")
        assert _shown(await walked(driver)) == expected
        for directory in [entry.rstrip("/") for entry in expected if entry[-1] == "/"][::5]:
            assert _shown(await walked(driver, directory)) == _model(tree, directory)

    async def test_skip_leaves_out_what_is_below(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        for skipped in [entry for entry in TREE_WALKED if entry[-1] == "/"]:
            walk = driver.walk("/")
            seen = []
            async for info in walk:
                seen.append(info)
                if info.is_dir and info.path + "/" == skipped:
                    walk.skip()
            assert _shown(seen) == [
                entry for entry in TREE_WALKED if entry == skipped or not entry.startswith(skipped)
            ]

    async def test_skip_of_everything(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        walk = driver.walk("/")
        seen = []
        async for info in walk:
            seen.append(info)
            if info.is_dir:
                walk.skip()
        assert _shown(seen) == [entry for entry in TREE_WALKED if "/" not in entry.strip("/")]

    async def test_skip_needs_a_directory(self, driver: StorageDriver) -> None:
        await _put_all(driver, ["/a", "/b/c"])
        walk = driver.walk("/")
        with pytest.raises(ValueError, match="skip"):
            walk.skip()
        async for info in walk:
            if not info.is_dir:
                with pytest.raises(ValueError, match="skip"):
                    walk.skip()
        with pytest.raises(ValueError, match="skip"):
            walk.skip()

    async def test_start_after_resumes(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        for position, entry in enumerate(TREE_WALKED):
            if entry[-1] != "/":
                rest = await walked(driver, start_after=entry)
                assert _shown(rest) == list(TREE_WALKED[position + 1 :])
        inner = _model(TREE, "/a")
        assert _shown(await walked(driver, "/a", start_after="/a/b/c")) == [
            entry for entry in inner if entry > "/a/b/c"
        ]

    async def test_start_after_what_is_no_longer_there(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        await driver.delete("/a/b/c")
        rest = await walked(driver, start_after="/a/b/c")
        assert _shown(rest) == [entry for entry in TREE_WALKED if entry > "/a/b/c"]

    async def test_start_after_the_last_is_the_end(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        assert await walked(driver, start_after="/c") == []

    async def test_deleting_what_was_walked(self, driver: StorageDriver) -> None:
        tree = _random_tree(5, 60)
        # Deleting a blob would take what is below it along.
        leaves = [path for path in tree if not any(p.startswith(path + "/") for p in tree)]
        await _put_all(driver, leaves)
        seen = []
        async for info in driver.walk("/"):
            seen.append(info)
            if not info.is_dir:
                await driver.delete(info.path)
        assert _shown(seen) == _model(leaves, "/")
        assert list(await driver.list("/")) == []

    async def test_deleting_a_directory_while_walking(self, driver: StorageDriver) -> None:
        await _put_all(driver, [f"/{d}/{i}" for d in "abcd" for i in range(8)])
        walk = driver.walk("/")
        seen = []
        async for info in walk:
            seen.append(info)
            if info.is_dir and info.path in ("/b", "/c"):
                await driver.delete(info.path)
                walk.skip()
        assert _shown(seen) == [
            "/a/",
            *(f"/a/{i}" for i in range(8)),
            "/b/",
            "/c/",
            "/d/",
            *(f"/d/{i}" for i in range(8)),
        ]

    async def test_an_abandoned_walk_can_be_closed(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        walk: Walk = driver.walk("/")
        async for info in walk:
            if info.path == "/a/b":
                break
        await walk.aclose()
        await walk.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(walk)
        await driver.walk("/").aclose()  # before its first step

    async def test_walks_side_by_side(self, driver: StorageDriver) -> None:
        await _put_all(driver, TREE)
        for infos in await asyncio.gather(*(walked(driver) for _ in range(8))):
            assert _shown(infos) == list(TREE_WALKED)
