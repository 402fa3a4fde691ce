"""Paths: which are taken, which are refused, and with what error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from azdriver.contract import StorageDriver
from azdriver.errors import InvalidPathError
from azdriver.testing.conformance.capabilities import ConformanceBase

VALID_PATHS = (
    "/a",
    "/2",
    "/aa",
    "/a.a",
    "/0-9/abcdefg",
    "/abcdefg/z.75",
    "/abc/1.2.3.4.5-6_zyx/123.z/4",
    "/docker/docker-registry",
    "/123.abc",
    "/abc./abc",
    "/.abc",
    "/..abc",
    "/a/...",
    "/a--b",
    "/a-.b",
    "/_.abc",
    "/Docker/docker-registry",
    "/Abc/Cba",
    "/-",
    "/_",
    "/" + "/".join(["long-segment-of-32-characters-xx"] * 15),
)

INVALID_PATHS = (
    "",
    "abc",
    "123.abc",
    "./a",
    "//",
    "//bcd",
    "/a//b",
    "/abc_123/",
    "/.",
    "/..",
    "/a/.",
    "/a/..",
    "/./a",
    "/../a",
    "/a/./b",
    "/a/../b",
    "/a/../../other-container/b",
    "/a\n",
    "/a\nb",
    "\n/a",
    "/a ",
    "/a b",
    "/a\tb",
    "/a\0b",
    "/a\\b",
    "/a%2Fb",
    "/a%2e%2e/b",
    "/a?b=c",
    "/a#b",
    "/a:b",
    "/a;b",
    "/a+b",
    "/a~b",
    "/a@b",
    "/a*",
    "/é",
    "/\N{CYRILLIC SMALL LETTER A}",
    "/a\N{FULLWIDTH SOLIDUS}b",
    "/a\N{FULLWIDTH FULL STOP}b",
    "/\N{ARABIC-INDIC DIGIT ONE}",
    "/a\N{ZERO WIDTH SPACE}",
    "/\ud800",
    "/" + "a" * 1024,
    "/" + "a/" * 2000 + "a",
)


async def _reader(driver: StorageDriver, path: str) -> None:
    async with driver.reader(path):
        pass


async def _writer(driver: StorageDriver, path: str) -> None:
    async with driver.writer(path):
        pass


async def _walk(driver: StorageDriver, path: str) -> None:
    async for _ in driver.walk(path):
        pass


async def _walk_after(driver: StorageDriver, path: str) -> None:
    async for _ in driver.walk("/", start_after=path):
        pass


_Operation = Callable[[StorageDriver, str], Awaitable[object]]

_OPERATIONS: dict[str, _Operation] = {
    "get_content": lambda driver, path: driver.get_content(path),
    "put_content": lambda driver, path: driver.put_content(path, b"x"),
    "reader": _reader,
    "writer": _writer,
    "stat": lambda driver, path: driver.stat(path),
    "list": lambda driver, path: driver.list(path),
    "move source": lambda driver, path: driver.move(path, "/valid"),
    "move dest": lambda driver, path: driver.move("/valid", path),
    "delete": lambda driver, path: driver.delete(path),
    "url_for": lambda driver, path: driver.url_for(path),
    "walk": _walk,
    "walk start_after": _walk_after,
}


class PathConformance(ConformanceBase):
    """The grammar of paths."""

    async def test_every_valid_path_can_be_written_found_and_read(
        self, driver: StorageDriver
    ) -> None:
        for path in VALID_PATHS:
            await driver.put_content(path, path.encode())
        for path in VALID_PATHS:
            assert await driver.get_content(path) == path.encode()
            assert (await driver.stat(path)).path == path
        files = [info.path async for info in driver.walk("/") if not info.is_dir]
        assert files == sorted(VALID_PATHS)

    @pytest.mark.parametrize("operation", _OPERATIONS)
    async def test_an_invalid_path_is_refused(self, driver: StorageDriver, operation: str) -> None:
        for path in INVALID_PATHS:
            with pytest.raises(InvalidPathError) as caught:
                await _OPERATIONS[operation](driver, path)
            assert caught.value.path == path
            assert caught.value.driver_name == driver.name
            assert str(caught.value).startswith(f"{driver.name}: invalid path: ")
        assert await driver.list("/") == []

    @pytest.mark.parametrize("operation", sorted(_OPERATIONS.keys() - {"stat", "list", "walk"}))
    async def test_the_root_is_no_blob(self, driver: StorageDriver, operation: str) -> None:
        with pytest.raises(InvalidPathError):
            await _OPERATIONS[operation](driver, "/")

    async def test_upper_and_lower_case_are_different(self, driver: StorageDriver) -> None:
        await driver.put_content("/Abc", b"upper")
        await driver.put_content("/abc", b"lower")
        assert await driver.get_content("/Abc") == b"upper"
        assert await driver.get_content("/abc") == b"lower"
        assert await driver.list("/") == ["/Abc", "/abc"]
