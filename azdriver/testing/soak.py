"""Hours of mixed load with faults, in which nothing may leak, hang, or hold a wrong byte.

``python -m azdriver.testing.soak --seconds 1800 --tasks 64`` runs it against an Azurite of its
own, prints a report, and ends with a status other than 0 if anything is wrong: a byte, an error
that is neither the driver's nor the caller's own time-out, a task or a connection that is left
over, or memory and file descriptors that grow. Linux only: it reads ``/proc/self``.

Each task has paths of its own, of which it knows what they hold, and checks every answer against
that; some paths are shared, and hold contents that show by themselves whether they are whole.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import os
import random
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import aiohttp
from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.azureblob.session import open_aiohttp_session
from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    PartialDeleteError,
    PathNotFoundError,
    PreconditionFailedError,
    StorageDriverError,
)
from azdriver.testing.azurite import azurite
from azdriver.testing.faults import (
    Fault,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
)
from azdriver.testing.recording import TransportWrapper

__all__ = ["Report", "Sample", "soak"]

KIB: Final = 1024
CONNECTIONS: Final = 48  # fewer than tasks: a connection that leaks is missed soon
CANCELLED_SHARE: Final = 0.05  # of the operations: a time-out strikes in their middle
OUTAGE_EVERY_SECONDS: Final = 10.0
OUTAGE_SECONDS: Final = 0.25  # nearly every request fails: longer than the retries endure
HANG_SECONDS: Final = 60.0
OWN_FILES: Final = 6
SHARED_FILES: Final = 8
RETIRED_FILES: Final = 8  # paths given up after a time-out, before the directory is deleted

# A leak of one object of 64 bytes in each operation, the smallest that is worth the name, is
# about 1 MiB a minute at the 300 operations a second of a small machine. Below this, the slope
# is that of the allocator's fragments, which has no direction: in 8 minutes +957 and -405 were
# seen, with no more of Python's objects than before. It falls with the length of the run.
MAX_SLOPE_KIB_PER_MINUTE: Final = 1024.0
SLOPE_NEEDS_SECONDS: Final = 1200.0
# In a shorter run the caches of the libraries and the allocator still fill up.
MAX_SHORT_GROWTH_KIB: Final = 16 * KIB
# Of Python's objects, per operation: a leak in any of the more frequent ones is more. They are
# counted exactly, so that a run of some minutes judges them: what 64 tasks hold at one moment
# or another makes 0.2 in five minutes, and less in longer ones.
MAX_BLOCKS_PER_OPERATION: Final = 0.25
BLOCKS_NEED_SECONDS: Final = 600.0
# How late a caller's own time-out may take effect: the driver's word is 1 s.
MAX_LATE_SECONDS: Final = 1.0


class _WrongError(Exception):
    """The driver said something that cannot be."""


class _Interrupted(Exception):
    """A caller's own exception in the middle of a stream."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at one moment.

    Attributes:
        seconds: since the beginning.
        operations: how many have ended by then.
        rss_kib: resident memory.
        descriptors: open file descriptors.
        blocks: of memory that Python's objects take; without the allocator's fragments.
        tasks: asyncio's.
        connections: of the pool, those in use.
        lateness: by how many seconds the event loop was late.
    """

    seconds: float
    operations: int
    rss_kib: int
    descriptors: int
    blocks: int
    tasks: int
    connections: int
    lateness: float


@dataclass(slots=True)
class Report:
    """What a soak found. ``wrong`` has to be empty, and so has what ``problems`` returns."""

    tasks: int
    seed: int
    fault_share: float
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0
    resumed: int = 0
    latest_timeout: float = 0.0
    descriptors_before: int = 0
    descriptors_after: int = 0
    leaked_tasks: int = 0
    leaked_connections: int = 0

    @property
    def seconds(self) -> float:
        return self.samples[-1].seconds

    @property
    def second_half(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.seconds >= self.seconds / 2]

    def _slope(self, value: Callable[[Sample], int]) -> float:
        """Per minute, by least squares over the second half."""
        half = self.second_half
        minutes = [sample.seconds / 60 for sample in half]
        return statistics.linear_regression(minutes, [value(sample) for sample in half]).slope

    @property
    def slope_kib_per_minute(self) -> float:
        """Of resident memory."""
        return self._slope(lambda sample: sample.rss_kib)

    @property
    def blocks_per_operation(self) -> float:
        """How many more of Python's objects are held after each, in the second half."""
        half = self.second_half
        operations = half[-1].operations - half[0].operations
        minutes = (half[-1].seconds - half[0].seconds) / 60
        return self._slope(lambda sample: sample.blocks) * minutes / max(1, operations)

    @property
    def growth_kib(self) -> float:
        """Of resident memory, between the medians of the third and the fourth quarter."""
        half = [sample.rss_kib for sample in self.second_half]
        return statistics.median(half[len(half) // 2 :]) - statistics.median(half[: len(half) // 2])

    def problems(self) -> list[str]:
        """Why the soak failed; empty if it did not."""
        found = [f"wrong: {text}" for text in self.wrong]
        if self.leaked_tasks:
            found.append(f"{self.leaked_tasks} tasks are left")
        if self.leaked_connections:
            found.append(f"{self.leaked_connections} connections were never given back")
        if self.descriptors_after > self.descriptors_before:
            found.append(
                f"{self.descriptors_after} file descriptors are open after the end, "
                f"{self.descriptors_before} were before"
            )
        # Two drivers are open at times: the one under load, and one that is opened and closed.
        most = self.descriptors_before + CONNECTIONS + self.tasks
        if (highest := max(sample.descriptors for sample in self.samples)) > most:
            found.append(f"{highest} file descriptors were open, {most} are explained")
        if self.seconds >= SLOPE_NEEDS_SECONDS:
            if self.slope_kib_per_minute > MAX_SLOPE_KIB_PER_MINUTE:
                found.append(f"memory grows by {self.slope_kib_per_minute:,.0f} KiB a minute")
        elif self.growth_kib > MAX_SHORT_GROWTH_KIB:
            found.append(f"memory grew by {self.growth_kib:,.0f} KiB within half the run")
        left = self.blocks_per_operation
        if self.seconds >= BLOCKS_NEED_SECONDS and left > MAX_BLOCKS_PER_OPERATION:
            found.append(f"{left:.2f} objects are left over from each operation")
        late = MAX_LATE_SECONDS + max(sample.lateness for sample in self.samples)
        if self.latest_timeout > late:
            found.append(f"a caller's time-out took effect {self.latest_timeout:.2f} s late")
        return found

    def __str__(self) -> str:
        first, last = self.samples[0], self.samples[-1]
        total = sum(self.operations.values())
        rates = [
            (after.operations - before.operations) / (after.seconds - before.seconds)
            for before, after in zip(self.samples, self.samples[1:], strict=False)
        ]
        quarter = max(1, len(rates) // 4)
        peak = max(sample.rss_kib for sample in self.samples)
        descriptors = [sample.descriptors for sample in self.samples]
        bound = (
            f"bound {MAX_SLOPE_KIB_PER_MINUTE:,.0f}"
            if self.seconds >= SLOPE_NEEDS_SECONDS
            else f"too short to judge; third to fourth quarter {self.growth_kib:+,.0f} KiB, "
            f"bound {MAX_SHORT_GROWTH_KIB:,}"
        )
        lines = [
            f"{self.seconds:,.0f} s, {self.tasks} tasks on {CONNECTIONS} connections, "
            f"seed {self.seed}, faults at {self.fault_share:.1%} of the requests"
            + (f", outages of {OUTAGE_SECONDS:g} s" if self.fault_share else ""),
            f"operations         {total:,}: {total / self.seconds:,.0f}/s (first quarter "
            f"{statistics.fmean(rates[:quarter]):,.0f}/s, last "
            f"{statistics.fmean(rates[-quarter:]):,.0f}/s); {self.requests:,} requests, "
            f"{self.bytes / KIB / KIB:,.0f} MiB checked",
            f"  by kind          {_counts(self.operations)}",
            f"errors by type     {_counts(self.errors)}",
            f"faults struck      {_counts(self.faults)}",
            f"streams resumed    {self.resumed:,}",
            f"caller's time-outs latest {self.latest_timeout:.2f} s after its moment; the event "
            f"loop was late by up to {max(sample.lateness for sample in self.samples):.2f} s",
            f"memory             {self.slope_kib_per_minute:+,.0f} KiB/minute over the second half "
            f"({bound}); RSS first {first.rss_kib:,}, last {last.rss_kib:,}, peak {peak:,} KiB",
            f"Python's objects   {self.blocks_per_operation:+.3f} blocks/operation over the second "
            f"half (bound {MAX_BLOCKS_PER_OPERATION:g}); first {first.blocks:,}, last "
            f"{last.blocks:,}",
            f"file descriptors   before {self.descriptors_before}, first {descriptors[0]}, last "
            f"{descriptors[-1]}, most {max(descriptors)}, after closing {self.descriptors_after}",
            f"connections in use at most {max(sample.connections for sample in self.samples)} of "
            f"{CONNECTIONS}; never given back {self.leaked_connections}",
            f"asyncio tasks      at most {max(sample.tasks for sample in self.samples)}; "
            f"left over {self.leaked_tasks}",
        ]
        problems = self.problems()
        lines += [f"PROBLEM: {problem}" for problem in problems[:20]]
        lines.append(f"{len(problems)} problems" if problems else "nothing wrong")
        return "\n".join(lines)


def _shown(error: BaseException) -> str:
    """What it says, and where in our own code it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{frame.name}:{frame.lineno}" for frame in frames if "azdriver" in frame.filename]
    text = f"{type(error).__name__}: {error} ({' > '.join(own)})"
    before = error.__context__
    return text if before is None else f"{text}, after {type(before).__name__}: {before}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"


class _RandomFaults(TransportWrapper):
    """Lets one of several faults strike at a share of all requests, and at most in an outage."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], report: Report) -> None:
        super().__init__(inner)
        self._report = report
        self._random = random.Random(f"{report.seed} faults")
        self._began = time.monotonic()
        # Each for ever; which and when is decided here.
        self._faults: list[Fault] = [
            refuse(),
            reset(),
            lose_answer(),
            cut_answer(),
            answer(500, "InternalError"),
            answer_after(500, "OperationTimedOut"),
            answer(503, "ServerBusy", headers={"Retry-After": "0.05"}),
            answer(503),
            answer_after(503),
            answer(429),
        ]

    async def send(self, request: Any, **options: Any) -> Any:
        async def really() -> Any:
            return await self.inner.send(request, **options)

        self._report.requests += 1
        since = time.monotonic() - self._began
        share = self._report.fault_share
        if share and since % OUTAGE_EVERY_SECONDS > OUTAGE_EVERY_SECONDS - OUTAGE_SECONDS:
            share = 0.9
        if self._random.random() >= share:
            return await really()
        fault = self._random.choice(self._faults)
        self._report.faults[fault.name] += 1
        return await fault.play(request, really)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


Content: TypeAlias = bytes | None
"""The SHA-256 of what a path holds; None if it holds nothing."""


class _Worker:
    """One task of the load: its own directory, and what is known of it."""

    def __init__(
        self, driver: AzureBlobDriver, report: Report, plain: aiohttp.ClientSession, number: int
    ) -> None:
        self._driver = driver
        self._report = report
        self._plain = plain
        self._random = random.Random(f"{report.seed} task {number}")
        self._name = f"/t{number}"
        self._generation = 0
        self._serial = 0
        self._files: dict[str, bytes] = {}
        # Which of them may be append blobs. A put deletes such a blob first: the one-time
        # migration, whose failure may leave nothing.
        self._streams: set[str] = set()
        self._retired: set[str] = set()
        # Paths that an operation is changing, and what each may hold until it has ended.
        self._doubts: dict[str, Callable[[Content | bytearray], bool]] = {}

    # Running.

    async def run(self, until: float) -> None:
        names = list(_OPERATIONS)
        weights = [_OPERATIONS[name][1] for name in names]
        while time.monotonic() < until:
            name = self._random.choices(names, weights)[0]
            watchdog = asyncio.timeout(HANG_SECONDS)
            try:
                async with watchdog:
                    await self._step(name, _OPERATIONS[name][0])
            except Exception as error:
                is_hung = isinstance(error, TimeoutError) and watchdog.expired()
                self._report.wrong.append(f"{name} hung" if is_hung else f"{name}: {_shown(error)}")
                self._start_anew()
            self._report.operations[name] += 1

    async def _step(self, name: str, operation: Callable[[_Worker], Awaitable[None]]) -> None:
        self._doubts = {}
        seconds = None
        if self._random.random() < CANCELLED_SHARE:
            seconds = 0.1 * self._random.random() ** 2
        deadline = time.monotonic() + (seconds or 0.0)
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                await operation(self)
        except TimeoutError:
            if not scope.expired():
                raise
            late = time.monotonic() - deadline
            self._report.latest_timeout = max(self._report.latest_timeout, late)
            self._report.errors["caller's TimeoutError"] += 1
            # The service may still apply what was sent: never to be used again.
            await self._resolve(keep=False)
        except StorageDriverError as error:
            # Nobody else writes to a worker's own paths. But a driver cannot know that: a copy over
            # a young blob, whose answer was lost, is not sent again (see evidence.py).
            rivals = (ConcurrentWriteError, PreconditionFailedError)
            is_doubt = name == "move" and "the copy's answer was lost" in str(error)
            allowed = rivals if name.startswith("shared") or is_doubt else ()
            if not isinstance(error, (BackendError, PartialDeleteError, *allowed)):
                raise
            self._count(error)
            await self._resolve(keep=True)

    def _count(self, error: StorageDriverError) -> None:
        kind = type(error).__name__
        if isinstance(error, BackendError):
            kind += f" {error.operation} {error.status or ''} {error.error_code or ''}".rstrip()
        self._report.errors[kind] += 1

    async def _resolve(self, *, keep: bool) -> None:
        """See what became of the paths that a failed operation was changing."""
        # In the order in which the operation named them: a move's source before its destination.
        for path, fits in self._doubts.items():
            content = await self._look(path)
            if not fits(None if content is None else bytearray(content)):
                found = "nothing" if content is None else f"{len(content)} bytes"
                raise _WrongError(f"{path} holds {found}, none of what it may")
            self._files.pop(path, None)
            self._streams.add(path)  # for all we know
            if not keep:
                self._retired.add(path)
            elif content is not None:
                self._files[path] = _digest(content)

    async def _look(self, path: str) -> bytes | None:
        while True:
            try:
                return await self._driver.get_content(path)
            except PathNotFoundError:
                return None
            except (BackendError, ConcurrentWriteError) as error:
                self._count(error)

    # What the operations are made of.

    @property
    def _directory(self) -> str:
        return f"{self._name}.{self._generation}"

    def _path(self, kind: str = "f") -> str:
        """One of the few paths of a worker that are not retired."""
        path = f"{self._directory}/{kind}{self._random.randrange(OWN_FILES)}"
        return path if path not in self._retired else f"{path}.{len(self._retired)}"

    def _known(self) -> str | None:
        return self._random.choice(list(self._files)) if self._files else None

    def _content(self) -> bytes:
        """Mostly small, unlike any other, and self-describing: SHA-256, then what it is of."""
        self._serial += 1
        size = min(int(self._random.lognormvariate(8, 1.6)), 512 * KIB)
        body = f"{self._name} {self._serial}\n".encode() + self._random.randbytes(size)
        return _digest(body) + body

    def _either(self, *contents: Content) -> Callable[[Content | bytearray], bool]:
        return lambda held: (None if held is None else _digest(bytes(held))) in contents

    def _check(self, path: str, content: bytes) -> None:
        self._report.bytes += len(content)
        if _digest(content) != self._files[path]:
            raise _WrongError(f"{path}: {len(content)} bytes that were not written")

    # The operations.

    async def put(self) -> None:
        path, content = self._path(), self._content()
        self._doubts[path] = self._put_or_not(path, content)
        info = await self._driver.put_content(path, content)
        self._wrote(path, content)
        if info.size != len(content):
            raise _WrongError(f"{path}: put {len(content)} bytes, told {info.size}")

    def _put_or_not(self, path: str, content: bytes) -> Callable[[Content | bytearray], bool]:
        migrated = [None] if path in self._streams else []
        return self._either(self._files.get(path), _digest(content), *migrated)

    def _wrote(self, path: str, content: bytes, *, stream: bool = False) -> None:
        self._files[path] = _digest(content)
        if stream:
            self._streams.add(path)
        else:
            self._streams.discard(path)
        del self._doubts[path]

    async def get(self) -> None:
        if (path := self._known()) is not None:
            self._check(path, await self._driver.get_content(path))

    async def compare_and_swap(self) -> None:
        if (path := self._known()) is None:
            return
        etag = (await self._driver.stat(path)).etag
        content = self._content()
        self._doubts[path] = self._put_or_not(path, content)
        await self._driver.put_content(path, content, if_match=etag)
        self._wrote(path, content)
        for condition in ({"if_match": etag}, {"if_absent": True}):
            arguments: dict[str, Any] = condition
            try:
                await self._driver.put_content(path, b"never", **arguments)
            except PreconditionFailedError:
                continue
            raise _WrongError(f"{path}: put although {condition} does not hold")

    async def stat(self) -> None:
        if (path := self._known()) is not None and (await self._driver.stat(path)).is_dir:
            raise _WrongError(f"{path} is a directory")
        try:
            await self._driver.stat(f"{self._directory}/none")
        except PathNotFoundError:
            return
        raise _WrongError("a path that was never written is there")

    async def read(self) -> None:
        """A stream, whole, of a part, or given up."""
        if (path := self._known()) is None:
            return
        async with self._driver.reader(path) as reader:
            content = b"".join([chunk async for chunk in reader])
        self._check(path, content)
        offset = self._random.randrange(len(content) + 2)
        length = self._random.randrange(len(content) + 2)
        async with self._driver.reader(path, offset, length=length) as reader:
            if await reader.read() != content[offset : offset + length]:
                raise _WrongError(f"{path}: another part than {offset} + {length}")
        async with self._driver.reader(path) as reader:
            await reader.read(self._random.randrange(len(content) + 1))

    async def stream(self) -> None:
        path = self._path("s")
        data = self._random.randbytes(min(int(self._random.lognormvariate(11, 1.3)), 2048 * KIB))
        before = self._either(self._files.get(path))
        self._doubts[path] = lambda held: (
            before(held) or (held is not None and data.startswith(held))
        )
        interrupt_at = self._random.randrange(1 + 2 * len(data))
        append = interrupted = False
        while True:
            try:
                async with self._driver.writer(path, append=append) as writer:
                    if append:
                        self._report.resumed += 1
                    append = True  # from here on, what is there is ours
                    while writer.size < len(data):
                        size = self._random.randrange(1, 96 * KIB)
                        await writer.write(data[writer.size : writer.size + size])
                        if writer.size > interrupt_at:
                            interrupt_at = len(data)
                            interrupted = True
                            raise _Interrupted
                    await writer.commit()
                break
            except _Interrupted:
                continue
            except ConcurrentWriteError as error:
                # The last block of the writer that was left by an exception: given up when its
                # grace was over, and stored all the same when the next writer was open already.
                if not interrupted:
                    raise
                self._count(error)
                interrupted = False
            except BackendError as error:
                self._count(error)
        self._wrote(path, data, stream=True)
        self._check(path, await self._driver.get_content(path))

    async def cancelled_stream(self) -> None:
        path = f"{self._directory}/x"
        if path in self._retired:
            return
        data = self._random.randbytes(100 * KIB)
        self._doubts[path] = lambda held: held is None or data.startswith(held)
        async with self._driver.writer(path) as writer:
            await writer.write(data)
            await writer.cancel()
        self._files.pop(path, None)
        del self._doubts[path]

    async def move(self) -> None:
        source, dest = self._known(), self._path()
        if source is None or source == dest:
            return
        content = self._files[source]
        gone = False

        def at_source(held: Content | bytearray) -> bool:
            nonlocal gone
            gone = held is None
            return self._either(content, None)(held)

        def at_dest(held: Content | bytearray) -> bool:
            # Never at neither place.
            return self._either(content, *([] if gone else [before]))(held)

        before = self._files.get(dest)
        self._doubts = {source: at_source, dest: at_dest}
        await self._driver.move(source, dest)
        self._files[dest] = self._files.pop(source)
        if source in self._streams:
            self._streams.add(dest)
        self._doubts = {}
        try:
            await self._driver.stat(source)
        except PathNotFoundError:
            return
        raise _WrongError(f"{source} is there after its move")

    async def delete(self) -> None:
        if (path := self._known()) is None:
            return
        self._doubts[path] = self._either(self._files[path], None)
        await self._driver.delete(path)
        del self._files[path], self._doubts[path]

    async def delete_tree(self) -> None:
        """All of a worker's own, now and then: what was retired goes as well."""
        if len(self._retired) < RETIRED_FILES and self._random.random() > 0.1:
            return
        if not self._files:
            return
        self._doubts = {path: self._either(content, None) for path, content in self._files.items()}
        await self._driver.delete(self._directory)
        self._start_anew()

    def _start_anew(self) -> None:
        """In another directory, of which everything is known: it is empty."""
        self._generation += 1
        self._files = {}
        self._streams = set()
        self._retired = set()
        self._doubts = {}

    async def list(self) -> None:
        try:
            found = set(await self._driver.list(self._directory))
        except PathNotFoundError:
            found = set()
        self._check_names(found)

    async def walk(self) -> None:
        found = set()
        try:
            async for info in self._driver.walk(self._directory):
                found.add(info.path)
        except PathNotFoundError:
            pass
        self._check_names(found)

    def _check_names(self, found: set[str]) -> None:
        if not self._files.keys() <= found <= self._files.keys() | self._retired:
            raise _WrongError(f"{self._directory} lists {found}, holds {self._files.keys()}")

    async def url_for(self) -> None:
        """Fetched by another client than the driver, without faults."""
        if (path := self._known()) is not None:
            url = await self._driver.url_for(path)
            async with self._plain.get(url) as response:
                self._check(path, await response.read())

    async def shared_put(self) -> None:
        path, content = self._shared(), self._content()
        etag = None
        if self._random.random() < 0.5:
            etag = (await self._driver.stat(path)).etag
        await self._driver.put_content(path, content, if_match=etag)

    async def shared_get(self) -> None:
        content = await self._driver.get_content(self._shared())
        self._check_whole(content)

    async def shared_read(self) -> None:
        async with self._driver.reader(self._shared()) as reader:
            content = b"".join([chunk async for chunk in reader])
        self._check_whole(content)

    def _shared(self) -> str:
        return f"/shared/{self._random.randrange(SHARED_FILES)}"

    def _check_whole(self, content: bytes) -> None:
        self._report.bytes += len(content)
        if _digest(content[32:]) != content[:32]:
            raise _WrongError(f"a torn content of {len(content)} bytes")

    async def prefill(self) -> None:
        for number in range(SHARED_FILES):
            await self._driver.put_content(f"/shared/{number}", self._content())

    async def open_another(self) -> None:
        """Drivers come and go."""
        async with AzureBlobDriver(self._driver.options) as driver:
            if (path := self._known()) is not None:
                self._check(path, await driver.get_content(path))


_OPERATIONS: Final[dict[str, tuple[Callable[[_Worker], Awaitable[None]], int]]] = {
    "put": (_Worker.put, 20),
    "get": (_Worker.get, 20),
    "compare_and_swap": (_Worker.compare_and_swap, 5),
    "stat": (_Worker.stat, 8),
    "read": (_Worker.read, 8),
    "stream": (_Worker.stream, 6),
    "cancelled_stream": (_Worker.cancelled_stream, 2),
    "move": (_Worker.move, 6),
    "delete": (_Worker.delete, 4),
    "delete_tree": (_Worker.delete_tree, 2),
    "list": (_Worker.list, 3),
    "walk": (_Worker.walk, 3),
    "url_for": (_Worker.url_for, 2),
    "shared_put": (_Worker.shared_put, 6),
    "shared_get": (_Worker.shared_get, 6),
    "shared_read": (_Worker.shared_read, 3),
    "open_another": (_Worker.open_another, 1),
}


def _rss_kib() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // KIB


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _in_use(session: aiohttp.ClientSession) -> int:
    return len(getattr(session.connector, "_acquired", ()))


async def _sample(report: Report, session: aiohttp.ClientSession, interval: float) -> None:
    began = time.monotonic()
    while True:
        wake = time.monotonic() + interval
        await asyncio.sleep(interval)
        now = time.monotonic()
        report.samples.append(
            Sample(
                seconds=now - began,
                operations=sum(report.operations.values()),
                rss_kib=_rss_kib(),
                descriptors=_descriptors(),
                blocks=sys.getallocatedblocks(),
                tasks=len(asyncio.all_tasks()),
                connections=_in_use(session),
                lateness=max(0.0, now - wake),
            )
        )


async def soak(
    connection_string: str, *, seconds: float, tasks: int, seed: int, fault_share: float
) -> Report:
    """Run the load on a container of its own.

    Args:
        connection_string: of a test server: it is loaded hard, and little is cleaned up.
        seconds: how long new operations are begun.
        tasks: how many run at once.
        seed: of what is done and which faults strike; what meets what is not repeated by it.
        fault_share: of all requests, how many are struck by a fault; 0 for no outages either.
    """
    report = Report(tasks, seed, fault_share)
    running = asyncio.all_tasks()
    report.descriptors_before = _descriptors()
    template = AzureBlobDriver.from_connection_string(
        connection_string,
        f"soak-{time.time_ns()}",
        connections=CONNECTIONS,
        append_block_bytes=64 * KIB,
        read_range_bytes=64 * KIB,
        # Few and short: so that faults get through to the caller as well.
        retry=RetrySettings(retries=2, first_delay_seconds=0.02, longest_delay_seconds=0.2),
    )
    async with (
        aiohttp.ClientSession() as plain,
        open_aiohttp_session(template.options) as session,
    ):
        async with AzureBlobDriver(template.options) as clean:
            await _Worker(clean, report, plain, 0).prefill()
        async with AzureBlobDriver(
            template.options,
            session=session,
            wrap_transport=lambda inner: _RandomFaults(inner, report),
        ) as driver:
            # Not so many that they themselves would be what grows.
            interval = max(min(1.0, seconds / 20), seconds / 300)
            sampler = asyncio.create_task(_sample(report, session, interval))
            until = time.monotonic() + seconds
            workers = [_Worker(driver, report, plain, number) for number in range(tasks)]
            try:
                await asyncio.gather(*(worker.run(until) for worker in workers))
            finally:
                sampler.cancel()
                await asyncio.wait({sampler})
            report.leaked_connections = _in_use(session)
    await asyncio.sleep(0.25)  # for the transports to close
    report.leaked_tasks = len(asyncio.all_tasks() - running)
    report.descriptors_after = _descriptors()
    return report


async def _main(arguments: argparse.Namespace) -> int:
    # The SDK warns of each 5xx without a body, which are many here.
    logging.getLogger("azure").setLevel(logging.ERROR)
    # With a data directory: there, what was overwritten is a part of few large files. In memory
    # each is an item of its own, and clearing tens of thousands of them away takes minutes.
    async with azurite(in_memory=False) as server:
        report = await soak(
            server.connection_string,
            seconds=arguments.seconds,
            tasks=arguments.tasks,
            seed=arguments.seed,
            fault_share=arguments.fault_share,
        )
    print(report)
    return 1 if report.problems() else 0


def _arguments(words: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m azdriver.testing.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--fault-share", type=float, default=0.03)
    return parser.parse_args(list(words))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main(_arguments(sys.argv[1:]))))
