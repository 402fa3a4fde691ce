"""``azdriver bench``: how long put, get, stat and list take, from here."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import anyio
import click

from azdriver.cli.failures import Failure
from azdriver.cli.local import CHUNK_BYTES
from azdriver.cli.options import Command, parse_size, remote
from azdriver.cli.output import as_json, human_size, note, plural
from azdriver.cli.progress import progress
from azdriver.cli.running import with_new_driver
from azdriver.contract import StorageDriver
from azdriver.errors import PathNotFoundError, StorageDriverError

__all__ = ["bench"]

CLEANING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of operation, done many times."""

    operation: str
    seconds: list[float]
    wall_seconds: float
    bytes: int
    requests: int | None

    def percentile_ms(self, percent: int) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000

    def fields(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "count": len(self.seconds),
            "per_second": round(len(self.seconds) / self.wall_seconds, 1),
            "requests": self.requests,
            "bytes_per_second": round(self.bytes / self.wall_seconds),
            **{f"p{p}_ms": round(self.percentile_ms(p), 2) for p in (50, 95, 99)},
        }

    def line(self) -> str:
        fields = self.fields()
        rate = f"{human_size(fields['bytes_per_second'])}/s" if self.bytes else "-"
        times = "".join(f"{fields[f'p{p}_ms']:>9.1f}" for p in (50, 95, 99))
        return f"{self.operation:<5}{fields['count']:>7}{fields['per_second']:>8}{rate:>13}{times}"


HEADER = f"{'':<5}{'count':>7}{'per s':>8}{'':>13}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"


@click.command(cls=Command, short_help="Measure put, get, stat and list.")
@remote("path", default="/")
@click.option("-n", "--count", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option(
    "-s",
    "--size",
    type=parse_size,
    metavar="SIZE",
    default="64KiB",
    show_default=True,
    help="Of each file.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="How many operations at once.",
)
@click.option("--stream", is_flag=True, help="Write and read streams, not contents.")
@click.option("--json", "in_json", is_flag=True, help="A line of JSON for each operation.")
@with_new_driver
async def bench(
    driver: StorageDriver,
    path: str,
    count: int,
    size: int,
    jobs: int,
    stream: bool,
    in_json: bool,
) -> None:
    """Measure put, stat, list and get below PATH, the root by default.

    The files go into a directory of their own, which is deleted at the end, after Ctrl-C too.
    Contents are random bytes, the same for each file.
    """
    scratch = f"{path.rstrip('/')}/azdriver-bench-{uuid4().hex[:12]}"
    content = os.urandom(size)
    paths = [f"{scratch}/{number:06d}" for number in range(count)]

    async def put(one: str) -> None:
        if not stream:
            await driver.put_content(one, content)
            return
        async with driver.writer(one) as writer:
            await writer.write(content)
            await writer.commit()

    async def get(one: str) -> None:
        if not stream:
            got = len(await driver.get_content(one))
        else:
            got = 0
            async with driver.reader(one) as reader:
                while chunk := await reader.read(CHUNK_BYTES):
                    got += len(chunk)
        if got != size:
            raise Failure(f"{one}: read {got} bytes of {size}")

    async def stat(one: str) -> None:
        await driver.stat(one)

    async def list_all(_: str) -> None:
        await driver.list(scratch)

    steps: list[tuple[str, Callable[[str], Awaitable[None]], list[str], int]] = [
        ("put", put, paths, size),
        ("stat", stat, paths, 0),
        ("list", list_all, paths[: max(1, count // 10)], 0),
        ("get", get, paths, size),
    ]
    note(f"azdriver: {plural(count, 'file')} of {human_size(size)}, {jobs} at once, in {scratch}")
    try:
        with progress("bench", in_bytes=False) as shown:
            shown.expect(1, sum(len(each) for *_, each, _ in steps))
            measured = []
            for name, operation, each, size_bytes in steps:
                shown.begins(name)
                before = _requests(driver)
                seconds, wall_seconds = await _measure(operation, each, jobs, shown.passed_over)
                after = _requests(driver)
                requests = None if before is None or after is None else after - before
                size_of_all = size_bytes * len(each)
                measured.append(Measured(name, seconds, wall_seconds, size_of_all, requests))
    finally:
        await _clean(driver, scratch)
    for done in measured if in_json else ():
        click.echo(as_json(done.fields()))
    if not in_json:
        click.echo("\n".join([HEADER, *(done.line() for done in measured)]))
        sent = [done.requests for done in measured if done.requests is not None]
        if sent:
            note(f"azdriver: {plural(sum(sent), 'request')}")


def _requests(driver: StorageDriver) -> int | None:
    """How many requests were sent so far; None of a driver that does not count them."""
    stats = getattr(driver, "stats", None)  # is no part of the contract
    requests = {} if stats is None else stats().requests
    return sum(requests.values()) if requests else None


async def _measure(
    operation: Callable[[str], Awaitable[None]],
    paths: list[str],
    jobs: int,
    done: Callable[[int], None],
) -> tuple[list[float], float]:
    """Do the operation on each path; the seconds of each, and of all together."""
    seconds: list[float] = []
    errors: list[Exception] = []
    remaining = iter(paths)

    async def work() -> None:
        for path in remaining:
            if errors:
                return
            began = time.perf_counter()
            try:
                await operation(path)
            except (StorageDriverError, Failure) as error:
                errors.append(error)
                return
            seconds.append(time.perf_counter() - began)
            done(1)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(jobs):
            group.start_soon(work)
    if errors:
        raise errors[0]
    return seconds, time.perf_counter() - began


async def _clean(driver: StorageDriver, scratch: str) -> None:
    with anyio.move_on_after(CLEANING_SECONDS, shield=True) as scope:
        with suppress(PathNotFoundError):
            await driver.delete(scratch)
    if scope.cancelled_caught:
        raise Failure(f"{scratch} could not be deleted in time: delete it with azdriver rm")
