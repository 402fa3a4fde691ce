"""``azdriver ls``, ``tree`` and ``du``: what is below a directory."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import click

from azdriver.cli.options import Command, remote
from azdriver.cli.output import (
    as_json,
    colour,
    info_fields,
    plural,
    shown_path,
    shown_size,
    shown_time,
)
from azdriver.cli.running import with_driver
from azdriver.contract import FileInfo, StorageDriver
from azdriver.errors import PathNotFoundError
from azdriver.paths import ROOT

__all__ = ["du", "ls", "tree"]

_HUMAN = click.option("-H", "--human", is_flag=True, help="Sizes such as 1.5 MiB, not in bytes.")


@click.command(cls=Command, short_help="List a directory.")
@remote("path", default=ROOT)
@click.option("-l", "--long", is_flag=True, help="Size and time (UTC) before each path.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below, not one level.")
@_HUMAN
@click.option("--json", "in_json", is_flag=True, help="A line of JSON for each path.")
@with_driver
async def ls(
    driver: StorageDriver, path: str, long: bool, recursive: bool, human: bool, in_json: bool
) -> None:
    """List what is in the directory PATH, the root by default; or the file PATH.

    Paths are whole, one a line, directories with a slash at the end.
    """
    async with aclosing(_entries(driver, _directory(path), None if recursive else 1)) as entries:
        async for info in entries:
            if in_json:
                line = as_json(info_fields(info))
            elif long or human:
                size = shown_size(info.size, human)
                if info.is_dir:
                    size = "-".rjust(len(size))
                line = f"{size}  {shown_time(info.mod_time)}  {shown_path(info)}"
            else:
                line = shown_path(info)
            click.echo(line, color=colour())


@click.command(cls=Command, short_help="Draw a directory.")
@remote("path", default=ROOT)
@click.option("-d", "--depth", type=click.IntRange(1), metavar="N", help="So many levels only.")
@click.option("-s", "--sizes", is_flag=True, help="The size of each file, in bytes.")
@_HUMAN
@with_driver
async def tree(
    driver: StorageDriver, path: str, depth: int | None, sizes: bool, human: bool
) -> None:
    """Draw the directory PATH, the root by default."""
    top = _directory(path)
    async with aclosing(_entries(driver, top, depth)) as found:
        entries = [info async for info in found]
    click.echo(shown_path(FileInfo(top, is_dir=True)), color=colour())
    for branch, info in _drawn(entries, top, _branches()):
        name = info.path.rpartition("/")[2]
        if info.is_dir:
            name = click.style(name + "/", fg="blue", bold=True)
        elif sizes or human:
            name = f"[{shown_size(info.size, human)}]  {name}"
        click.echo(branch + name, color=colour())
    directories = sum(info.is_dir for info in entries)
    counted = plural(directories, "directory", "directories")
    click.echo(f"\n{counted}, {plural(len(entries) - directories, 'file')}")


@click.command(cls=Command, short_help="Add up the sizes below a directory.")
@remote("path", default=ROOT)
@click.option(
    "-d",
    "--depth",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="A line for each directory down to this level; 0 for PATH alone.",
)
@_HUMAN
@click.option("--json", "in_json", is_flag=True, help="A line of JSON for each directory.")
@with_driver
async def du(driver: StorageDriver, path: str, depth: int, human: bool, in_json: bool) -> None:
    """Add up the sizes of the files below PATH, the root by default.

    Each line has the bytes, the number of files, and the directory; the last one is of PATH.
    """
    top = _directory(path)
    sums: dict[str, tuple[int, int]] = {}
    total_bytes, total_files = 0, 0
    base = _prefix(top).count("/")
    async with aclosing(_entries(driver, top, None)) as entries:
        async for info in entries:
            if info.is_dir:
                continue
            total_bytes, total_files = total_bytes + info.size, total_files + 1
            parts = info.path.split("/")
            for level in range(1, min(depth, len(parts) - 1 - base) + 1):
                directory = "/".join(parts[: base + level])
                size, files = sums.get(directory, (0, 0))
                sums[directory] = (size + info.size, files + 1)
    sums.pop(top, None)
    for directory, (size, files) in [*sorted(sums.items()), (top, (total_bytes, total_files))]:
        if in_json:
            click.echo(as_json({"path": directory, "size": size, "files": files}))
        else:
            shown = shown_path(FileInfo(directory, is_dir=True))
            click.echo(f"{shown_size(size, human)}  {files:>9}  {shown}", color=colour())


def _directory(path: str) -> str:
    """A directory may be given with a slash at its end, as ``ls`` prints it."""
    return path.rstrip("/") or (ROOT if path else path)


def _prefix(directory: str) -> str:
    return directory.rstrip("/") + "/"


async def _entries(
    driver: StorageDriver, path: str, depth: int | None
) -> AsyncGenerator[FileInfo, None]:
    """What is below a directory, down to a level; or the file itself."""
    base = _prefix(path).count("/") - 1
    walk = driver.walk(path)
    try:
        async for info in walk:
            if info.is_dir and depth is not None and info.path.count("/") - base >= depth:
                walk.skip()
            yield info
    except PathNotFoundError:
        # Nothing is below; a file it may be.
        info = await driver.stat(path)
        if not info.is_dir:
            yield info
    finally:
        await walk.aclose()


def _branches() -> tuple[str, str, str, str]:
    """For an entry and for the last one, and what is below each; ASCII where need be."""
    try:
        "│├└─".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "|-- ", "`-- ", "|   ", "    "
    return "├── ", "└── ", "│   ", "    "


def _drawn(
    entries: list[FileInfo], top: str, branches: tuple[str, str, str, str]
) -> Iterator[tuple[str, FileInfo]]:
    """Each entry with the branches before it."""
    middle, end, line, space = branches
    last = {info.path.rpartition("/")[0]: number for number, info in enumerate(entries)}
    # Of a path that is both a file and a directory the latter comes second, and has what follows.
    within: dict[str, str] = {_prefix(top)[:-1]: ""}
    for number, info in enumerate(entries):
        parent = info.path.rpartition("/")[0]
        before = within.get(parent, "")
        is_last = last[parent] == number
        if info.is_dir:
            within[info.path] = before + (space if is_last else line)
        yield before + (end if is_last else middle), info
