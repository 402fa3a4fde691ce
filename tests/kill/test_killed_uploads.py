"""Uploads killed with SIGKILL at random moments, gone on with by another process each time."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

import pytest

from azdriver import AzureBlobDriver
from azdriver.errors import PathNotFoundError
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.upload_child import Note, Upload, sha256_of, stream_bytes, upload

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, and a fork server")

KILLS = 50
KILLS_OF_ONE_UPLOAD = 5
UPLOADS_AT_ONCE = 4
KIB = 1024
# Blocks and stream, in bytes. Small blocks: many moments between two of them. Large ones: moments
# in the middle of a body.
SIZES = (
    (16 * KIB, 2_000 * KIB + 17),
    (64 * KIB, 6_000 * KIB + 1),
    (256 * KIB, 12_000 * KIB),
    (1024 * KIB, 24_000 * KIB + 5),
)
LONGEST_LIFE_SECONDS = 0.25
# These lives begin with the process, the others with the open writer.
EARLY_KILLS_SHARE = 0.15

# Starting a process asks after all others; two that ask after one at the same time get a wrong
# exit code.
_multiprocessing = threading.Lock()


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Of a server that has imported the SDK once; each child is forked from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["azdriver.testing.upload_child", "pytest"])
    return context


@dataclass(slots=True)
class Child:
    """One process of an upload, and what it said.

    Attributes:
        killed: it did not come to its end.
        opened: the writer's size at its opening; None if it did not come so far.
        given: the end of what the writer was given.
        sending: requests on their way at the end.
    """

    killed: bool = False
    opened: int | None = None
    given: int = 0
    sending: int = 0
    committed: int | None = None

    def hear(
        self, receiver: Connection, deadline: float | None = None, *, until_opened: bool = False
    ) -> None:
        """Take notes, until the deadline or the child's end."""
        while not (until_opened and self.opened is not None):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            try:
                if receiver.poll(left):
                    self._take(receiver.recv())
            except (EOFError, OSError):  # it has ended, perhaps in the middle of a note
                return

    def _take(self, note: Note) -> None:
        match note:
            case "opened", size:
                self.opened = self.given = size
            case "given", size:
                self.given = size
            case "sending", _:
                self.sending += 1
            case "answered", _:
                self.sending -= 1
            case "committed", size:
                self.committed = size


@dataclass(slots=True)
class Tally:
    """All kills of a run."""

    kills: int = 0
    in_mid_request: int = 0
    before_the_first_byte: int = 0
    right_hashes: int = 0
    wrong: list[str] = field(default_factory=list)


def run_child(
    processes: ForkServerContext,
    job: Upload,
    life_seconds: float | None,
    *,
    from_start: bool = False,
) -> Child:
    """Start a process that goes on with the upload, and kill it after so long.

    Args:
        processes: where to start it.
        job: the upload.
        life_seconds: None for not at all.
        from_start: count from the start of the process, not from the opening of the writer.
    """
    child = Child()
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=upload, args=(job, sender))
    with _multiprocessing:
        process.start()
    sender.close()  # the child has its own: what is received ends with it
    try:
        deadline = None
        if life_seconds is not None:
            if not from_start:
                child.hear(receiver, until_opened=True)
            deadline = time.monotonic() + life_seconds
        child.hear(receiver, deadline)
        if deadline is not None and child.committed is None:
            process.kill()
            child.hear(receiver)  # what it had said before it died
        with _multiprocessing:
            process.join()
        child.killed = process.exitcode == -signal.SIGKILL
        assert child.killed or process.exitcode == 0, f"the child ended with {process.exitcode}"
        return child
    finally:
        with _multiprocessing:
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        receiver.close()


async def check(job: Upload, given: int, *, visible: bool) -> list[str]:
    """What is stored after a kill is a prefix of the stream, of the size that a writer reports.

    Args:
        job: the upload.
        given: the end of what any writer was given until now.
        visible: whether what was not committed shows.
    """
    async with job.driver() as driver:
        while True:
            before = await _size(driver, job.path)
            try:
                async with driver.writer(job.path, append=True) as writer:
                    reported = writer.size
            except PathNotFoundError:
                reported = None
            try:
                content = await driver.get_content(job.path)
            except PathNotFoundError:
                content = None
            after = None if content is None else len(content)
            # The server may still apply what the dead process had sent: look again.
            if before == after:
                break
    wrong = []
    if visible and reported != after:
        wrong.append(f"a writer reports {reported} bytes of {after}")
    # All of it shows where the commit was applied, and its writer killed before it said so.
    if not visible and after is not None and not after == given == job.size:
        wrong.append(f"{after} bytes show that were not committed")
    if content is not None and content != stream_bytes(job.seed, 0, len(content)):
        wrong.append(f"the {after} bytes that are stored are not those of the stream")
    if reported is not None and reported > given:
        wrong.append(f"{reported} bytes are stored, {given} were given")
    return [f"{job.path}: {text}" for text in wrong]


async def _size(driver: AzureBlobDriver, path: str) -> int | None:
    try:
        return (await driver.stat(path)).size
    except PathNotFoundError:
        return None


async def digest(job: Upload) -> str:
    found = hashlib.sha256()
    async with job.driver() as driver, driver.reader(job.path) as reader:
        async for chunk in reader:
            found.update(chunk)
    return found.hexdigest()


def kill_and_resume(
    processes: ForkServerContext, job: Upload, tally: Tally, kills: int, seed: str
) -> None:
    """One upload to its right end, killed so often on the way."""
    dice = random.Random(seed)
    given = 0
    for _ in range(kills):
        child = run_child(
            processes,
            job,
            dice.random() * LONGEST_LIFE_SECONDS,
            from_start=dice.random() < EARLY_KILLS_SHARE,
        )
        given = max(given, child.given)
        if not child.killed:
            break  # quicker than its end: what was to be killed is done
        tally.kills += 1
        tally.in_mid_request += child.sending > 0
        tally.before_the_first_byte += child.opened is None
        visible = job.options["write_mode"] == "append"
        tally.wrong += asyncio.run(check(job, given, visible=visible), debug=False)
    last = run_child(processes, job, None)
    if last.committed != job.size:
        tally.wrong.append(f"{job.path}: committed {last.committed} bytes of {job.size}")
    if asyncio.run(digest(job), debug=False) == sha256_of(job.seed, job.size):
        tally.right_hashes += 1
    else:
        tally.wrong.append(f"{job.path}: another SHA-256 than the stream's")


@pytest.mark.parametrize("write_mode", ["append", "block"])
def test_killed_uploads_resume_with_the_right_hash(
    processes: ForkServerContext,
    azurite_server: AzuriteServer,
    container: str,
    write_mode: str,
    record_property: Callable[[str, object], None],
) -> None:
    tally = Tally()
    began = 0

    def one(number: int) -> None:
        block_bytes, size = SIZES[number % len(SIZES)]
        job = Upload(
            connection_string=azurite_server.connection_string,
            container=container,
            path=f"/uploads/{number}/data",
            seed=f"stream {number}",
            size=size,
            options={
                "write_mode": write_mode,
                "append_block_bytes": block_bytes,
                "block_bytes": block_bytes,
            },
        )
        kills = min(KILLS_OF_ONE_UPLOAD, max(1, KILLS - tally.kills))
        kill_and_resume(processes, job, tally, kills, f"kill {number}")

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        while tally.kills < KILLS and not tally.wrong:
            # Never more than are still wanted.
            wanted = -(-(KILLS - tally.kills) // KILLS_OF_ONE_UPLOAD)
            numbers = range(began, began + min(wanted, 2 * UPLOADS_AT_ONCE))
            began = numbers.stop
            list(threads.map(one, numbers))
    summary = (
        f"{tally.kills} kills of {began} uploads, {tally.in_mid_request} in the middle of a "
        f"request, {tally.before_the_first_byte} before the writer was open; "
        f"{tally.right_hashes} of {began} right hashes"
    )
    print(summary)
    record_property("killed uploads", summary)
    assert tally.wrong == []
    assert tally.right_hashes == began
    assert tally.kills >= KILLS
    # Else the moments were not what they should be.
    assert tally.in_mid_request >= KILLS // 5
