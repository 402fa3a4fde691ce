"""The steps of the run, in order; each says what it does and why, does it, and checks it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import anyio
from azure.storage.blob import BlobType
from azure.storage.blob.aio import ContainerClient

from azdriver import FileInfo, PathNotFoundError, StorageDriver, UnsupportedMethodError
from azdriver.testing.recording import RecordedRequest
from guided_run.checks import TASKS, Checks, Stored, bounded, digest_of, verify
from guided_run.race import MAX_BODY_BYTES, READERS, ROUNDS, WRITERS, run_race
from guided_run.source import Source, SourceFile

__all__ = ["STEPS", "Done", "Run", "Step"]

READ_BYTES: Final = 256 * 1024
MOVED: Final = "/moved"
# Its name begins like that of the tree which is deleted, but it is not in it.
NEIGHBOUR: Final = "/moved-not/neighbour"
MOST_MOVED: Final = 100
LEGACY: Final = "/legacy"
LEGACY_BLOBS: Final = 8
RACE: Final = "/race/latest"


@dataclass(slots=True)
class Run:
    """What the steps share.

    Attributes:
        driver: what is shown.
        container: the SDK's client of the same container, for what a driver would never do.
        source: the files on disk.
        streamed: the paths that are written and read as streams.
        requests: what the driver has sent.
        checks: what is found wrong.
        advance: called when another file is done.
        stored: what is stored now, by its path.
        stored_files: how many files were stored by the run.
        stored_bytes: their bytes.
    """

    driver: StorageDriver
    container: ContainerClient
    source: Source
    streamed: set[str]
    requests: list[RecordedRequest]
    checks: Checks
    advance: Callable[[], None] = lambda: None
    stored: dict[str, Stored] = field(default_factory=dict)
    stored_files: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did: files and bytes for the table, and a line to read."""

    files: int
    bytes: int
    said: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        title: what it does.
        why: what a newcomer should know about it.
        work: does it.
        files: of how many files, for the progress bar.
    """

    title: str
    why: str
    work: Callable[[Run], Awaitable[Done]]
    files: Callable[[Run], int] = lambda run: 0


async def store(run: Run) -> Done:
    async def one(file: SourceFile) -> None:
        as_stream = file.path in run.streamed
        try:
            stored = await (_stream if as_stream else _put)(run, file)
        except OSError:  # it vanished, or cannot be read; a driver's error is no OSError
            run.source.skipped["file that cannot be read"].append(file.file)
        else:
            run.stored[file.path] = stored
        run.advance()

    # The large ones first, so that none of them is left alone at the end.
    files = sorted(run.source.files, key=lambda file: file.path not in run.streamed)
    await bounded(files, one)
    run.stored_files = len(run.stored)
    run.stored_bytes = _size(run.stored.values())
    streams = sum(path in run.streamed for path in run.stored)
    return Done(
        run.stored_files,
        run.stored_bytes,
        f"{run.stored_files - streams:,} written by put_content, {streams:,} streamed",
    )


async def _put(run: Run, file: SourceFile) -> Stored:
    content = await asyncio.to_thread(file.file.read_bytes)
    info = await run.driver.put_content(file.path, content)
    run.checks.expect(info.size == len(content), f"{file.path}: put_content said {info.size} bytes")
    return Stored(file.path, len(content), hashlib.sha256(content).hexdigest())


async def _stream(run: Run, file: SourceFile) -> Stored:
    hashed = hashlib.sha256()
    size = 0
    async with await anyio.open_file(file.file, "rb") as chunks:
        async with run.driver.writer(file.path) as writer:
            try:
                while chunk := await chunks.read(READ_BYTES):
                    hashed.update(chunk)
                    size += len(chunk)
                    await writer.write(chunk)
            except OSError:
                await writer.cancel()  # half a file is none
                raise
            await writer.commit()
            run.checks.expect(
                writer.size == size, f"{file.path}: the writer said {writer.size} bytes"
            )
    return Stored(file.path, size, hashed.hexdigest())


async def walk_and_list(run: Run) -> Done:
    files: list[FileInfo] = []
    directories: set[str] = set()
    previous = ""
    async for info in run.driver.walk("/"):
        key = info.path + "/" if info.is_dir else info.path
        run.checks.expect(previous < key, f"{info.path}: walked after {previous}")
        previous = key
        if info.is_dir:
            directories.add(info.path)
        else:
            files.append(info)
    _compare_trees(run, files, directories)

    children: defaultdict[str, set[str]] = defaultdict(set)
    for path in run.stored:
        while path:
            parent = path.rpartition("/")[0]
            children[parent or "/"].add(path)
            path = parent

    async def list_one(directory: str) -> None:
        listed = await run.driver.list(directory)
        expected = sorted(children[directory])
        run.checks.expect(list(listed) == expected, f"{directory}: listed otherwise than stored")

    await bounded(sorted(children), list_one)
    return Done(
        len(files),
        sum(info.size for info in files),
        f"one walk, then {len(children):,} directories listed one by one",
    )


def _compare_trees(run: Run, files: list[FileInfo], directories: set[str]) -> None:
    walked = {info.path: info.size for info in files}
    run.checks.expect(len(walked) == len(files), "a path was walked twice")
    for path in sorted(walked.keys() | run.stored.keys()):
        if path not in walked:
            run.checks.expect(False, f"{path}: stored, but not walked")
        elif path not in run.stored:
            run.checks.expect(False, f"{path}: walked, but not stored")
        else:
            size = run.stored[path].size
            run.checks.expect(walked[path] == size, f"{path}: walked with {walked[path]} bytes")
    expected = {path[:end] for path in run.stored for end in _slashes(path)}
    for path in sorted(directories ^ expected):
        run.checks.expect(False, f"{path}: a directory of the walk or of the files, not of both")


def _slashes(path: str) -> list[int]:
    return [index for index, character in enumerate(path) if character == "/" and index]


async def read_back(run: Run) -> Done:
    async def one(stored: Stored) -> None:
        await verify(run.driver, stored, run.checks, as_stream=stored.path in run.streamed)
        run.advance()

    everything = sorted(run.stored.values(), key=lambda stored: stored.path not in run.streamed)
    await bounded(everything, one)
    return Done(len(everything), _size(everything), f"each read whole, {TASKS} at once")


async def move(run: Run) -> Done:
    directory, paths = _subtree(run)
    moved: list[Stored] = []

    async def one(path: str) -> None:
        stored = run.stored.pop(path)
        dest = MOVED + path.removeprefix(directory)
        await run.driver.move(path, dest)
        here = Stored(dest, stored.size, stored.digest)
        moved.append(here)
        run.stored[dest] = here
        await verify(run.driver, here, run.checks, as_stream=path in run.streamed)

    await bounded(paths, one)
    left = {path for path in run.stored if path.startswith(directory + "/")}
    run.checks.expect(await _files_below(run, directory) == left, f"{directory}: not moved away")
    expected = {stored.path for stored in moved}
    run.checks.expect(await _files_below(run, MOVED) == expected, f"{MOVED}: not what was moved")
    return Done(len(moved), _size(moved), f"{directory} is {MOVED} now")


def _subtree(run: Run) -> tuple[str, list[str]]:
    """A directory that is neither tiny nor huge, and the files in it; part of one if need be."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(run.stored):
        for end in _slashes(path):
            below[path[:end]].append(path)
    nested = {name: paths for name, paths in below.items() if name.count("/") > 1}
    fitting = [name for name, paths in nested.items() if len(paths) <= MOST_MOVED]
    if fitting:
        directory = max(fitting, key=lambda name: len(below[name]))
        return directory, below[directory]
    directory = max(below, key=lambda name: len(below[name]))
    return directory, below[directory][: min(MOST_MOVED, 1 + len(below[directory]) // 2)]


async def _files_below(run: Run, directory: str) -> set[str]:
    try:
        return {info.path async for info in run.driver.walk(directory) if not info.is_dir}
    except PathNotFoundError:
        return set()


async def delete(run: Run) -> Done:
    await run.driver.put_content(NEIGHBOUR, b"to be left alone")
    gone = [stored for path, stored in run.stored.items() if path.startswith(MOVED + "/")]
    await run.driver.delete(MOVED)
    for stored in gone:
        del run.stored[stored.path]
    for call in (run.driver.stat, run.driver.list, run.driver.delete):
        try:
            await call(MOVED)
        except PathNotFoundError:
            continue
        run.checks.expect(False, f"{MOVED}: {call.__name__} finds it after it was deleted")
    left = await run.driver.get_content(NEIGHBOUR)
    run.checks.expect(left == b"to be left alone", f"{NEIGHBOUR}: was deleted too")
    await run.driver.delete(NEIGHBOUR)
    return Done(len(gone), _size(gone), f"{MOVED} is gone, {NEIGHBOUR} was left alone")


async def fetch_by_url(run: Run) -> Done:
    if not run.stored:
        path, content = NEIGHBOUR, b"something to fetch"
        await run.driver.put_content(path, content)
        run.stored[path] = Stored(path, len(content), hashlib.sha256(content).hexdigest())
    blob = max(run.stored.values(), key=lambda stored: stored.size)
    try:
        url = await run.driver.url_for(blob.path)
    except UnsupportedMethodError as error:
        return Done(0, 0, f"left out: {error}")
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            digest, size = await digest_of(answer.content.iter_chunked(READ_BYTES))
            same = answer.status == 200 and (digest, size) == (blob.digest, blob.size)
            run.checks.expect(same, f"{blob.path}: otherwise by URL (status {answer.status})")
        async with session.get(url.partition("?")[0]) as answer:
            run.checks.expect(
                answer.status != 200, f"{blob.path}: anyone can read it without a signature"
            )
    return Done(1, blob.size, f"{blob.path}; without the signature it is refused")


async def migrate_legacy(run: Run) -> Done:
    paths = [f"{LEGACY}/{number}" for number in range(LEGACY_BLOBS)]
    for path in paths:
        blob = run.container.get_blob_client(path[1:])
        await blob.create_append_blob()
        await blob.append_block(b"as an old client left it")
    before = len(run.requests)

    async def one(path: str) -> None:
        content = f"the new content of {path}".encode()
        await run.driver.put_content(path, content)
        stored = Stored(path, len(content), hashlib.sha256(content).hexdigest())
        await verify(run.driver, stored, run.checks, as_stream=False)
        now = await run.container.get_blob_client(path[1:]).get_blob_properties()
        run.checks.expect(
            now.blob_type == BlobType.BLOCKBLOB, f"{path}: still of the type {now.blob_type}"
        )
        run.stored[path] = stored

    await bounded(paths, one)
    deleted = sum(request.operation == "Delete Blob" for request in run.requests[before:])
    run.checks.expect(
        deleted >= LEGACY_BLOBS, f"{LEGACY}: {deleted} deletions for {LEGACY_BLOBS} legacy blobs"
    )
    return Done(
        LEGACY_BLOBS,
        _size(run.stored[path] for path in paths),
        f"{LEGACY_BLOBS} append blobs are block blobs now",
    )


async def race(run: Run) -> Done:
    result = await run_race(run.driver, RACE)
    for number, what in (
        (result.torn, "reads were no whole version"),
        (result.missing, "reads found nothing, though something was there all the time"),
    ):
        for _ in range(number):
            run.checks.expect(False, f"{RACE}: {number} {what}")
    run.checks.expect(result.last_is_right, f"{RACE}: what is left is not what was put last")
    return Done(
        result.puts,
        result.put_bytes,
        f"{result.reads:,} reads saw {result.versions:,} versions; torn: {result.torn}, "
        f"missing: {result.missing}",
    )


def _size(stored: Iterable[Stored]) -> int:
    return sum(one.size for one in stored)


STEPS: Final = (
    Step(
        "Store every file",
        "Small files go by put_content: HEAD, then one atomic Put Blob. Large ones are streamed "
        "by a writer, in blocks of 4 MiB, the next one filling while one is on its way.",
        store,
        lambda run: len(run.source.files),
    ),
    Step(
        "Walk and list",
        "Blob storage has no directories, only names with slashes. The walk is one flat listing, "
        "a request per 5,000 blobs; a list of a directory asks for its own level alone.",
        walk_and_list,
    ),
    Step(
        "Read everything back",
        "Small files by get_content, large ones as streams. The SHA-256 of each is compared with "
        "that of the bytes that were read from disk.",
        read_back,
        lambda run: len(run.stored),
    ),
    Step(
        "Move a directory",
        "A move is a copy within the service, then a delete of what was copied; no content "
        "passes through here. Each moved file is read back, and both trees are walked.",
        move,
    ),
    Step(
        "Delete it",
        "One call deletes a tree, up to 256 blobs a request, and nothing beside it: what is "
        "called almost the same is still there.",
        delete,
    ),
    Step(
        "Fetch by signed URL",
        "The URL is made without a request, and lets anyone read this one blob for 20 minutes. "
        "A plain HTTP client fetches it, which knows nothing of Azure.",
        fetch_by_url,
    ),
    Step(
        "Migrate legacy blobs",
        "Clients of 2016 wrote small contents as append blobs, which Put Blob does not replace. "
        "put_content looks, deletes exactly what it saw, and then puts.",
        migrate_legacy,
    ),
    Step(
        f"{WRITERS} writers, one path",
        f"{WRITERS} tasks put {ROUNDS} contents each, of up to {MAX_BODY_BYTES // 1024} KiB, on "
        f"the same path at once, while {READERS} readers read it. Each content holds its own "
        "hash: a reader can tell whether what it got is one whole version.",
        race,
    ),
)
