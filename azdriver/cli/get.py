"""``azdriver get``: files and trees from the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click

from azdriver.cli.downloading import Download, not_regular
from azdriver.cli.failures import Failure, UsageFailure
from azdriver.cli.local import CHUNK_BYTES, Tree, in_thread
from azdriver.cli.options import JOBS, Command, remote
from azdriver.cli.progress import Progress, progress
from azdriver.cli.running import with_driver
from azdriver.cli.settings import current
from azdriver.cli.transfer import Job, failed, finish, transfer
from azdriver.contract import FileInfo, StorageDriver

__all__ = ["get"]

STDOUT = "-"


@click.command(cls=Command, short_help="Fetch files.")
@remote("remote")
@click.argument("local", type=click.Path(), default="./")
@click.option("-r", "--recursive", is_flag=True, help="A directory, with everything below.")
@click.option(
    "-c",
    "--resume",
    is_flag=True,
    help="Go on where an earlier run was interrupted: leave out files that are there already "
    "(by size and time), and go on with part files of the same version.",
)
@click.option("--checksum", is_flag=True, help="Print the SHA-256 of each file.")
@JOBS
@with_driver
async def get(
    driver: StorageDriver,
    remote: str,
    local: str,
    recursive: bool,
    resume: bool,
    checksum: bool,
    jobs: int,
) -> None:
    """Fetch the file REMOTE to LOCAL, by default here under its own name; - for the standard
    output.

    With a slash at the end of LOCAL, or for a file if LOCAL is a directory, into that directory
    under its own name. With -r, what is below the directory REMOTE goes below the directory
    LOCAL, and never outside of it: symbolic links in LOCAL are not followed.

    A file is written to a part file beside LOCAL (or beside what it leads to), read again and
    compared by its SHA-256, and then takes its place with the time of the stored version. A file
    that fails does not stop the others.

    \b
      azdriver get /reports/2026/all.csv
      azdriver get -r /releases/1.0 build
      azdriver get /backups/shop.sql - | psql shop
    """
    if local == STDOUT:
        if recursive or resume or checksum:
            raise UsageFailure("to the standard output goes one file, without other options")
        await _to_stdout(driver, remote)
        return
    current().when_interrupted = "the same command with --resume goes on"
    with progress("get") as shown:
        download = Download(driver, shown, resume)
        if recursive:
            top = remote.rstrip("/") or "/"
            target = Path(local, top.rpartition("/")[2]) if _is_into(local) else Path(local)
            found = _below(driver, top, await in_thread(Tree, target), shown)
        else:
            found = _one(driver, remote, _target(remote, local), shown)
        await transfer(
            found,
            download.file,
            shown,
            at_once=jobs,
            checksums=checksum,
            single=not recursive,
        )
    if recursive:
        finish(shown, "fetched")


def _is_into(local: str) -> bool:
    return local.endswith(("/", os.sep))


def _target(remote: str, local: str) -> Path:
    name = remote.rpartition("/")[2]
    path = Path(local)
    return path / name if _is_into(local) or path.is_dir() else path


async def _one(
    driver: StorageDriver, remote: str, target: Path, shown: Progress
) -> AsyncIterator[Job[FileInfo, Path]]:
    info = await driver.stat(remote)
    if info.is_dir:
        raise Failure(f"{remote} is a directory: give -r to fetch what is below it")
    place = await in_thread(_place, target)
    shown.expect(1, info.size)
    yield Job(info, place, str(target))


def _place(target: Path) -> Path:
    """Where to write: not to a symbolic link that was named, but to what it leads to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file() and not target.is_dir():
        raise not_regular(target)
    return Path(os.path.realpath(target))


async def _below(
    driver: StorageDriver, top: str, tree: Tree, shown: Progress
) -> AsyncIterator[Job[FileInfo, Path]]:
    base = len(top.rstrip("/")) + 1
    walk = driver.walk(top)
    try:
        async for info in walk:
            if info.is_dir:
                continue
            shown.expect(1, info.size)
            try:
                target = await in_thread(tree.place, info.path[base:])
            except (OSError, Failure) as error:
                failed(shown, error)
                continue
            yield Job(info, target, str(target))
    finally:
        await walk.aclose()


async def _to_stdout(driver: StorageDriver, remote: str) -> None:
    stream = sys.stdout.buffer
    async with driver.reader(remote) as reader:
        while chunk := await reader.read(CHUNK_BYTES):
            stream.write(chunk)
    stream.flush()
