"""Every operation of the contract, and the ends that each may come to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from azdriver.azureblob import AzureBlobDriver
from azdriver.contract import FileInfo
from azdriver.errors import PathNotFoundError

Store = Mapping[str, bytes]
BLOCK: Final = 1000
DATA: Final = bytes(range(256)) * 10  # three blocks, or three ranges, the last of them short


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operation, and the ends that it may come to.

    Attributes:
        name: for the table.
        before: what is stored; paths that begin with ``~`` are legacy append blobs.
        call: the operation; what it returns is compared with ``result``.
        after: what is stored after success.
        result: what the operation returns; None where that is not compared.
        ends: what may be stored after an error, besides ``before``: a word, and a check.
        write_mode: of the driver.
        resumes: whether ``/a`` can be gone on with after an error, to the end of ``DATA``.
    """

    name: str
    call: Callable[[AzureBlobDriver], Awaitable[Any]]
    before: Mapping[str, bytes] = field(default_factory=dict)
    after: Mapping[str, bytes] | None = None
    result: Any = None
    ends: Mapping[str, Callable[[Store], bool]] = field(default_factory=dict)
    write_mode: Literal["append", "block"] = "append"
    resumes: bool = False


def plain(before: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix("~"): content for path, content in before.items()}


async def _read_all(driver: AzureBlobDriver) -> bytes:
    async with driver.reader("/a", 10) as reader:
        return b"".join([chunk async for chunk in reader])


async def _write(driver: AzureBlobDriver, *, append: bool = False) -> None:
    async with driver.writer("/a", append=append) as writer:
        while writer.size < len(DATA):
            await writer.write(DATA[writer.size : writer.size + 300])
        await writer.commit()


async def _in_two(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA[:1500])
        await writer.close()
    await _write(driver, append=True)


async def _close(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA)
        await writer.close()


async def _cancel(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA)
        await writer.cancel()


async def _walk(driver: AzureBlobDriver) -> list[str]:
    return [info.path async for info in driver.walk("/")]


async def _if_match(driver: AzureBlobDriver) -> None:
    # The version is looked up past the faults: it is what the caller has from before.
    async with AzureBlobDriver(driver.options) as clean:
        etag = (await clean.stat("/a")).etag
    await driver.put_content("/a", DATA, if_match=etag)


async def _is_missing(driver: AzureBlobDriver) -> bool:
    try:
        await driver.stat("/missing")
    except PathNotFoundError:
        return True
    return False


def _is_prefix(store: Store) -> bool:
    return store.keys() <= {"/a"} and DATA.startswith(store.get("/a", b""))


_TREE: Final = {f"/t/{number}": b"x" for number in range(3)}
_RESUMABLE: Final = {"resumable": _is_prefix}

CASES: Final = [
    Case(
        name="get_content",
        before={"/a": DATA},
        call=lambda d: d.get_content("/a"),
        result=DATA,
    ),
    Case(
        name="put_content, new",
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
    ),
    Case(
        name="put_content, over",
        before={"/a": b"old"},
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
    ),
    Case(
        name="put_content, over a legacy blob",
        before={"~/a": b"old"},
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
        # The one-time migration: the legacy blob has to go first, the service wants it so.
        ends={"legacy blob gone": lambda store: not store},
    ),
    Case(
        name="put_content, if_match",
        before={"/a": b"old"},
        call=_if_match,
        after={"/a": DATA},
    ),
    Case(
        name="put_content, if_absent",
        call=lambda d: d.put_content("/a", DATA, if_absent=True),
        after={"/a": DATA},
    ),
    Case(name="reader", before={"/a": DATA}, call=_read_all, result=DATA[10:]),
    Case(
        name="writer, commit",
        before={"/a": b"old"},
        call=_write,
        after={"/a": DATA},
        ends=_RESUMABLE,
        resumes=True,
    ),
    Case(
        name="writer, append",
        before={"~/a": DATA[:100]},
        call=lambda d: _write(d, append=True),
        after={"/a": DATA},
        ends=_RESUMABLE,
        resumes=True,
    ),
    Case(name="writer, close", call=_close, after={"/a": DATA}, ends=_RESUMABLE, resumes=True),
    Case(name="writer, cancel", call=_cancel, after={}, ends=_RESUMABLE),
    Case(
        name="block writer, commit",
        before={"/a": b"old"},
        call=_write,
        after={"/a": DATA},
        write_mode="block",
        resumes=True,
    ),
    Case(
        name="block writer, over a legacy blob",
        before={"~/a": b"old"},
        call=_write,
        after={"/a": DATA},
        ends={"legacy blob gone": lambda store: not store},
        write_mode="block",
        resumes=True,
    ),
    Case(name="block writer, close", call=_close, write_mode="block", resumes=True),
    Case(name="block writer, resumed", call=_in_two, after={"/a": DATA}, write_mode="block"),
    Case(name="block writer, cancel", call=_cancel, write_mode="block"),
    Case(
        name="stat, file",
        before={"/a": DATA},
        call=lambda d: _size(d.stat("/a")),
        result=len(DATA),
    ),
    Case(
        name="stat, directory",
        before={"/a/b": b""},
        call=lambda d: d.stat("/a"),
        result=FileInfo("/a", is_dir=True),
    ),
    Case(name="stat, missing", call=_is_missing, result=True),
    Case(
        name="list",
        before={"/a": b"", "/b/c": b"", "/b/d": b""},
        call=lambda d: d.list("/"),
        result=["/a", "/b"],
    ),
    Case(
        name="walk",
        before={"/a": b"", "/b/c": b""},
        call=_walk,
        result=["/a", "/b", "/b/c"],
    ),
    Case(
        name="move, new",
        before={"/a": DATA},
        call=lambda d: d.move("/a", "/b"),
        after={"/b": DATA},
        ends={"copied, move again": lambda store: store == {"/a": DATA, "/b": DATA}},
    ),
    Case(
        name="move, over",
        before={"~/a": DATA, "/b": b"old"},
        call=lambda d: d.move("/a", "/b"),
        after={"/b": DATA},
        ends={"copied, move again": lambda store: store == {"/a": DATA, "/b": DATA}},
    ),
    Case(
        name="delete, blob",
        before={"/a": DATA, "/ab": b"other"},
        call=lambda d: d.delete("/a"),
        after={"/ab": b"other"},
        # The blob and the listing of what is below it are asked for at once.
        ends={"deleted, delete again": lambda store: store == {"/ab": b"other"}},
    ),
    Case(
        name="delete, tree",
        before={**_TREE, "/t": b"own"},
        call=lambda d: d.delete("/t"),
        after={},
        ends={"partly, delete again": lambda store: store.keys() <= {*_TREE, "/t"}},
    ),
    Case(
        name="url_for",
        before={"/a": DATA},
        call=lambda d: d.url_for("/a"),
    ),
]


async def _size(info: Awaitable[FileInfo]) -> int:
    return (await info).size
