"""What is measured: each function is one sample of one peer, in the peer's own process."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import random
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import Azdriver, Peer, Place, Tuning, open_peer
from benchmarks.standin import Standin

__all__ = ["SAMPLES", "Run", "Sample"]

KIB: Final = 1024
MIB: Final = 1024 * 1024
CHUNK_BYTES: Final = 256 * KIB  # what a producer hands over at a time
PLANTED: Final = 64  # small blobs that are there to be read

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One order to a worker.

    Attributes:
        peer: its name.
        place: where.
        tuning: what it is told.
        params: the numbers of the workload.
        server: the stand-in's counters; None on Azurite.
    """

    peer: str
    place: Place
    tuning: Tuning
    params: dict[str, Any]
    server: Standin | None

    def open(self) -> Peer:
        return open_peer(self.peer, self.place, self.tuning)


Sample = Callable[[Run], Coroutine[Any, Any, Row]]


# Measuring.


def _trim() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise RuntimeError("the peak of the resident memory cannot be measured here") from error


def _memory(field: str) -> int:
    """Bytes of resident memory: ``VmRSS`` for now, ``VmHWM`` for the peak since the reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * KIB
    raise RuntimeError(f"no {field} in /proc/self/status")


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)  # of all threads
    return usage.ru_utime + usage.ru_stime


@contextmanager
def measured(run: Run, row: Row) -> Iterator[None]:
    """Wall and CPU seconds, the growth of the resident memory, and what the server saw."""
    _trim()
    if run.server is not None:
        run.server.counters(reset=True)
    _reset_peak()
    resident = _memory("VmRSS")
    cpu, began = _cpu(), time.perf_counter()
    yield
    row["seconds"] = round(time.perf_counter() - began, 6)
    row["cpu_seconds"] = round(_cpu() - cpu, 6)
    row["rss_growth_bytes"] = _memory("VmHWM") - resident
    if run.server is not None:
        seen = run.server.counters()
        row["requests"] = seen["requests"]
        row["server_cpu_seconds"] = seen["cpu_seconds"]


async def _by_tasks(
    tasks: int, count: int, act: Callable[[int], Awaitable[Any]], waits: list[float] | None = None
) -> None:
    """``act(0)`` to ``act(count - 1)``, so many at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            began = time.perf_counter()
            await act(number)
            if waits is not None:
                waits.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(tasks, count)):
            group.create_task(work())


def _quantiles(waits: list[float]) -> Row:
    waits.sort()
    return {
        "p50_seconds": round(waits[len(waits) // 2], 6),
        "p99_seconds": round(waits[len(waits) * 99 // 100], 6),
    }


@contextmanager
def stalls(row: Row, interval: float = 0.002) -> Iterator[None]:
    """How long the event loop was held at most, by a task that wants its turn every 2 ms."""
    longest = 0.0
    due = time.perf_counter() + interval

    async def tick() -> None:
        nonlocal longest, due
        while True:
            await asyncio.sleep(interval)
            now = time.perf_counter()
            longest = max(longest, now - due)
            due = now + interval

    ticker = asyncio.ensure_future(tick())
    try:
        yield
    finally:
        ticker.cancel()
        # It may still be waiting for its turn.
        row["longest_stall_seconds"] = round(max(longest, time.perf_counter() - due), 6)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"a wrong result: {found!r} instead of {wanted!r}")


# Contents.


async def get(run: Run) -> Row:
    """Small blobs read whole, so many tasks at once."""
    tasks, count, size = run.params["tasks"], run.params["count"], run.params["size"]
    row: Row = {"ops": count}
    async with run.open() as peer:

        async def act(number: int) -> None:
            length = await peer.get(f"small/{number % PLANTED}")
            if length != size:
                raise AssertionError(f"{length} bytes instead of {size}")

        await _by_tasks(tasks, tasks * 2, act)
        waits: list[float] = []
        with measured(run, row):
            await _by_tasks(tasks, count, act, waits)
    return row | _quantiles(waits)


async def put(run: Run) -> Row:
    """Blobs written whole, at names that are new, or (``over``) that were written before."""
    tasks, count, size = run.params["tasks"], run.params["count"], run.params["size"]
    data = random.Random(size).randbytes(size)
    row: Row = {"ops": count, "bytes": count * size}
    async with run.open() as peer:
        await _by_tasks(tasks, tasks, lambda n: peer.put(f"warm/{n}", data))
        if run.params.get("over"):
            await _by_tasks(16, PLANTED, lambda n: peer.put(f"put/{n}", data))
        names = PLANTED if run.params.get("over") else count
        waits: list[float] = []
        with measured(run, row):
            await _by_tasks(tasks, count, lambda n: peer.put(f"put/{n % names}", data), waits)
    return row | _quantiles(waits)


# Streams.


async def _produced(size: int, bytes_per_second: float) -> AsyncIterator[bytes]:
    """Chunks of 256 KiB, at a pace if there is one, as a client's upload brings them.

    Each is an object of its own, as from a socket: a peer that keeps them pays for their memory.
    """
    chunks = [memoryview(random.Random(n).randbytes(CHUNK_BYTES)) for n in range(16)]
    due = time.perf_counter()
    made = 0
    for chunk in itertools.cycle(chunks):
        if made == size:
            return
        part = bytes(chunk[: size - made])
        made += len(part)
        if bytes_per_second:
            # While its consumer is busy a producer gets ahead by what fits into a socket's
            # buffer, here a chunk, and by no more.
            step = len(part) / bytes_per_second
            now = time.perf_counter()
            due = max(due, now - step) + step
            if due > now:
                await asyncio.sleep(due - now)
        yield part


async def write(run: Run) -> Row:
    """A stream stored."""
    size = run.params["size"]
    row: Row = {"bytes": size}
    async with run.open() as peer:
        await peer.write("warm", _produced(64 * KIB, 0))
        with measured(run, row):
            await peer.write("stream", _produced(size, run.params.get("bytes_per_second", 0)))
    return row


async def read(run: Run) -> Row:
    """A stream read, chunk after chunk; nothing is kept."""
    size = run.params["size"]
    row: Row = {"bytes": size}
    async with run.open() as peer:
        await peer.get("small/0")
        received = chunks = 0
        with measured(run, row):
            began = time.perf_counter()
            async for length in peer.read("large"):
                if not received:
                    row["first_byte_seconds"] = round(time.perf_counter() - began, 6)
                received += length
                chunks += 1
    _expect(received, size)
    return row | {"chunks": chunks}


# Trees.


async def list_tree(run: Run) -> Row:
    """One level of a large tree."""
    times = run.params["times"]
    row: Row = {"ops": times}
    async with run.open() as peer:
        _expect(await peer.list("tree"), run.params["directories"])
        with measured(run, row):
            for _ in range(times):
                await peer.list("tree")
    return row


async def walk_tree(run: Run) -> Row:
    """A large tree with the size of each blob."""
    count = run.params["count"]
    row: Row = {"ops": count}
    async with run.open() as peer:
        await peer.list("tree")
        with measured(run, row), stalls(row):
            found = await peer.walk("tree")
    _expect(found, (count, count * run.params["size"]))
    return row


async def naive_walk(run: Run) -> Row:
    """A tree as the walk of the Go driver goes over it: a List a directory, a Stat an entry.

    Of some entries only; ``seconds_for_all`` is what all of them would have taken.
    """
    count, entries = run.params["count"], run.params["entries"]
    row: Row = {"ops": entries}
    async with run.open() as peer:
        assert isinstance(peer, Azdriver)
        directories = await peer.driver.list("/tree")
        paths = await peer.driver.list(directories[0])
        with measured(run, row):
            for path in itertools.islice(itertools.cycle(paths), entries):
                await peer.driver.stat(path)
    row["seconds_for_all"] = round(row["seconds"] * count / entries, 3)
    return row


async def delete_tree(run: Run) -> Row:
    """A large tree deleted."""
    count = run.params["count"]
    row: Row = {"ops": count}
    async with run.open() as peer:
        await peer.list("tree")
        with measured(run, row), stalls(row):
            await peer.delete("tree")
        found = 0
        try:
            found = await peer.list("tree")
        except Exception as error:
            # A directory that is gone is an error for some, and empty for others.
            if "not found" not in str(error).lower() and not isinstance(error, FileNotFoundError):
                raise
        _expect(found, 0)
    return row


# The emulator: what the Go drivers' own benchmark does, at its sizes.


async def emulator_put_get(run: Run) -> Row:
    """A content written and read back, one after the other."""
    count, size = run.params["count"], run.params["size"]
    data = random.Random(size).randbytes(size)
    row: Row = {"ops": count}
    async with run.open() as peer:
        await peer.put("warm/up", data)
        with measured(run, row):
            for number in range(count):
                name = f"{run.params['unique']}/{number}"
                await peer.put(name, data)
                if await peer.get(name) != size:
                    raise AssertionError("another length was read than written")
    return row


async def emulator_stream(run: Run) -> Row:
    """A stream written and read back."""
    count, size = run.params["count"], run.params["size"]
    row: Row = {"ops": count}
    async with run.open() as peer:
        await peer.put("warm/up", b"x")
        with measured(run, row):
            for number in range(count):
                name = f"{run.params['unique']}/{number}"
                await peer.write(name, _produced(size, 0))
                _expect(sum([length async for length in peer.read(name)]), size)
    return row


async def _planted(peer: Peer, directory: str, count: int) -> None:
    await _by_tasks(8, count, lambda n: peer.put(f"{directory}/{n:04}", b"x"))


async def emulator_list(run: Run) -> Row:
    """A directory of few blobs listed."""
    count, entries = run.params["count"], run.params["entries"]
    directory = f"{run.params['unique']}/list"
    row: Row = {"ops": count}
    async with run.open() as peer:
        await _planted(peer, directory, entries)
        _expect(await peer.list(directory), entries)
        with measured(run, row):
            for _ in range(count):
                await peer.list(directory)
    return row


async def emulator_delete(run: Run) -> Row:
    """Directories of few blobs deleted."""
    count, entries = run.params["count"], run.params["entries"]
    row: Row = {"ops": count}
    async with run.open() as peer:
        for number in range(count):
            await _planted(peer, f"{run.params['unique']}/{number}", entries)
        with measured(run, row):
            for number in range(count):
                await peer.delete(f"{run.params['unique']}/{number}")
    return row


SAMPLES: Final[dict[str, Sample]] = {
    sample.__name__: sample
    for sample in (
        get,
        put,
        write,
        read,
        list_tree,
        walk_tree,
        naive_walk,
        delete_tree,
        emulator_put_get,
        emulator_stream,
        emulator_list,
        emulator_delete,
    )
}
