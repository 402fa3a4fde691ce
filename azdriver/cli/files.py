"""``azdriver stat``, ``cat``, ``mv``, ``rm`` and ``url``: one request or a few for a path."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from azdriver.cli.failures import FAILED, NOT_FOUND, Failure, UsageFailure, describe, status_of
from azdriver.cli.options import Command, parse_duration, remote
from azdriver.cli.output import (
    as_json,
    ask,
    detail,
    error_line,
    human_size,
    info_fields,
    is_terminal,
    plural,
    shown_time,
)
from azdriver.cli.running import with_driver
from azdriver.contract import FileInfo, StorageDriver
from azdriver.errors import PathNotFoundError, StorageDriverError
from azdriver.paths import ROOT

__all__ = ["cat", "mv", "rm", "stat", "url"]

# As many files are counted before the question whether to delete them.
MOST_COUNTED = 100_000


@click.command(cls=Command, short_help="Show size, time and ETag.")
@remote("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "in_json", is_flag=True, help="A line of JSON for each path.")
@with_driver
async def stat(driver: StorageDriver, paths: tuple[str, ...], in_json: bool) -> None:
    """Show what is at each PATH: size, time (UTC), ETag."""
    worst = 0
    for path in paths:
        try:
            info = await driver.stat(path.rstrip("/") or path[:1])
        except StorageDriverError as error:
            error_line(describe(error))
            worst = max(worst, status_of(error))
            continue
        click.echo(as_json(info_fields(info)) if in_json else _described(info))
    if worst:
        raise Failure("", worst if len(paths) == 1 else FAILED)


def _described(info: FileInfo) -> str:
    lines = [f"path:      {info.path}", f"type:      {'directory' if info.is_dir else 'file'}"]
    if not info.is_dir:
        lines += [
            f"size:      {info.size} ({human_size(info.size)})",
            f"modified:  {shown_time(info.mod_time)}",
            f"etag:      {info.etag or '-'}",
        ]
    return "\n".join(lines)


@click.command(cls=Command, short_help="Write files to the standard output.")
@remote("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--offset", type=click.IntRange(0), default=0, metavar="BYTES", help="Leave out the beginning."
)
@click.option("--length", type=click.IntRange(0), metavar="BYTES", help="At most so many bytes.")
@with_driver
async def cat(
    driver: StorageDriver, paths: tuple[str, ...], offset: int, length: int | None
) -> None:
    """Write the content of each file PATH to the standard output.

    The bytes of a file are all of one version, even if it is overwritten meanwhile.
    """
    stream = sys.stdout.buffer
    for path in paths:
        async with driver.reader(path, offset, length=length) as reader:
            async for chunk in reader:
                stream.write(chunk)
        stream.flush()


@click.command(cls=Command, short_help="Move a file.")
@remote("source")
@remote("dest")
@with_driver
async def mv(driver: StorageDriver, source: str, dest: str) -> None:
    """Move the file SOURCE to DEST, over what is there.

    With a slash at the end of DEST, into that directory. Directories are not moved.
    """
    if dest.endswith("/"):
        dest += source.rpartition("/")[2]
    try:
        await driver.move(source, dest)
    except PathNotFoundError as error:
        if error.path == source and (await driver.stat(source)).is_dir:
            raise Failure(f"{source} is a directory, and only files can be moved") from None
        raise
    detail(f"{source} -> {dest}")


@click.command(cls=Command, short_help="Delete files and directories.")
@remote("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before a directory is deleted.")
@with_driver
async def rm(driver: StorageDriver, paths: tuple[str, ...], yes: bool) -> None:
    """Delete each PATH: a file, or a directory with everything below it.

    Before a directory you are asked; without a terminal, --yes has to be given for it. If it is
    interrupted, the same command deletes the rest.
    """
    worst = 0
    for path in paths:
        path = path.rstrip("/") or path[:1]
        if path == ROOT:
            raise UsageFailure("the root cannot be deleted: name what is in it")
        try:
            if not yes:
                files, size, more = await _below(driver, path, counted=is_terminal())
                if files:
                    _confirm(path, files, size, more)
            await driver.delete(path)
        except (StorageDriverError, Failure) as error:
            if isinstance(error, UsageFailure) or len(paths) == 1:
                raise
            error_line(describe(error))
            worst = max(worst, FAILED if status_of(error) == NOT_FOUND else status_of(error))
        else:
            detail(f"deleted {path}")
    if worst:
        raise Failure("", FAILED)


async def _below(driver: StorageDriver, path: str, *, counted: bool) -> tuple[int, int, bool]:
    """Files below a directory, their bytes, and whether there are more; one is enough to know."""
    files = size = 0
    walk = driver.walk(path)
    try:
        async for info in walk:
            if info.is_dir:
                continue
            files, size = files + 1, size + info.size
            if not counted or files == MOST_COUNTED:
                return files, size, True
    except PathNotFoundError:
        pass
    finally:
        await walk.aclose()
    return files, size, False


def _confirm(path: str, files: int, size: int, more: bool) -> None:
    if not is_terminal():
        raise UsageFailure(f"{path} is a directory: give --yes to delete all that is below it")
    least = "more than " if more else ""
    question = f"Delete {path}/ with {least}{plural(files, 'file')} ({least}{human_size(size)})?"
    if not ask(question):
        raise Failure(f"{path} was kept")


@click.command(cls=Command, short_help="Print a signed URL of a file.")
@remote("path")
@click.option(
    "-e",
    "--expires",
    type=parse_duration,
    default="20m",
    show_default=True,
    metavar="DURATION",
    help="For how long, such as 90s, 20m, 12h or 7d.",
)
@click.option("--method", type=click.Choice(["GET", "HEAD"]), default="GET", show_default=True)
@with_driver
async def url(driver: StorageDriver, path: str, expires: timedelta, method: str) -> None:
    """Print an URL by which anyone can read the file PATH, without credentials, for a while.

    Whoever has it can read the file: it holds a signature. It goes to the standard output alone.
    """
    click.echo(await driver.url_for(path, method=method, expiry=expires))
