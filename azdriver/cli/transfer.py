"""Many files: some at once, and one that fails does not stop the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import click

from azdriver.cli.failures import FAILED, Failure, describe
from azdriver.cli.output import detail, error_line, note
from azdriver.cli.progress import Progress
from azdriver.errors import StorageDriverError

__all__ = ["Job", "failed", "finish", "transfer"]

S = TypeVar("S")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Job(Generic[S, D]):
    """One file: from where to where, and how it is called in messages."""

    source: S
    dest: D
    name: str


async def transfer(
    jobs: AsyncIterator[Job[S, D]],
    work: Callable[[S, D], Awaitable[str | None]],
    progress: Progress,
    *,
    at_once: int,
    checksums: bool,
    single: bool,
) -> None:
    """Do all jobs.

    Args:
        jobs: in order; asked for by one task at a time.
        work: does one, and returns the SHA-256, or None if there was nothing to do.
        progress: what is counted, and shown.
        at_once: how many jobs are done at the same time.
        checksums: print them, as ``sha256sum`` does.
        single: whether there is but one, whose error is raised.
    """
    turn = anyio.Lock()
    fatal: list[Exception] = []

    async def work_on() -> None:
        while True:
            async with turn:
                try:
                    job = await anext(jobs, None)
                except (StorageDriverError, OSError, Failure) as error:
                    fatal.append(error)
                    return
            if job is None:
                return
            progress.begins(job.name)
            try:
                sha256 = await work(job.source, job.dest)
            except (StorageDriverError, OSError, Failure) as error:
                if single:
                    fatal.append(error)
                else:
                    failed(progress, error)
                continue
            if sha256 is None:
                progress.skipped += 1
                detail(f"was there already: {job.name}")
                continue
            progress.files += 1
            detail(f"done: {job.name}")
            if checksums:
                try:
                    click.echo(f"{sha256}  {job.name}")
                except OSError as error:
                    # Raised here, it would come out in a group. Nothing can be told any more.
                    fatal.insert(0, error)
                    group.cancel_scope.cancel()
                    return

    async with anyio.create_task_group() as group:
        for _ in range(at_once):
            group.start_soon(work_on)
    if fatal:
        raise fatal[0]


def failed(progress: Progress, error: Exception) -> None:
    """Say and count that one file failed."""
    progress.failed += 1
    error_line(describe(error))


def finish(progress: Progress, done: str) -> None:
    """Print the summary; to be called when the bar is gone.

    Raises:
        Failure: some failed.
    """
    note(f"azdriver: {progress.summary(done)}")
    if progress.failed:
        raise Failure("", FAILED)
