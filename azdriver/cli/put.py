"""``azdriver put``: files, trees and the standard input to the driver."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import click

from azdriver.cli.failures import Failure, UsageFailure
from azdriver.cli.local import CHUNK_BYTES, Found, in_thread, scan
from azdriver.cli.options import JOBS, Command, remote
from azdriver.cli.output import error_line, note
from azdriver.cli.progress import Progress, progress
from azdriver.cli.running import with_new_driver
from azdriver.cli.settings import current, destination
from azdriver.cli.transfer import Job, failed, finish, transfer
from azdriver.cli.uploading import SMALL_BYTES, Journal, Upload, hash_stored
from azdriver.contract import StorageDriver
from azdriver.errors import StorageDriverError
from azdriver.paths import MAX_PATH_CHARACTERS, parse_path

__all__ = ["put"]

STDIN: Final = "-"
DISCARDING_SECONDS: Final = 5.0


@click.command(cls=Command, short_help="Store files.")
@click.argument("local", nargs=-1, required=True, metavar="LOCAL...", type=click.Path())
@remote("remote")
@click.option("-r", "--recursive", is_flag=True, help="Directories, with everything below.")
@click.option(
    "-c",
    "--resume",
    is_flag=True,
    help="Go on where an earlier run was interrupted: leave out files that are stored already "
    "(by size and time), and go on with a stream whose beginning is that of the file.",
)
@click.option("--verify", is_flag=True, help="Read everything back, and compare the SHA-256.")
@click.option("--checksum", is_flag=True, help="Print the SHA-256 of each file.")
@JOBS
@with_new_driver
async def put(
    driver: StorageDriver,
    local: tuple[str, ...],
    remote: str,
    recursive: bool,
    resume: bool,
    verify: bool,
    checksum: bool,
    jobs: int,
) -> None:
    """Store files: LOCAL at the path REMOTE, - for the standard input.

    With a slash at the end of REMOTE, or several LOCAL, each goes into the directory REMOTE under
    its own name. With -r, what is below the directory LOCAL goes below REMOTE; symbolic links and
    empty directories in it are left out.

    A file of up to 4 MiB is stored by one request, a larger one as a stream, which replaces an
    older version at once: until it is whole, readers find the part that was stored so far (not
    in block mode, which shows nothing of it). A file that fails does not stop the others.

    The standard input is stored beside REMOTE first, and moved there when it is whole. If it
    fails before, it is thrown away, and an older version stays.

    \b
      azdriver put report.csv /reports/2026/
      azdriver put -r build/. /releases/1.0
      pg_dump shop | azdriver put - /backups/shop.sql
    """
    if STDIN in local:
        if len(local) > 1 or remote.endswith("/") or recursive or resume:
            raise UsageFailure("the standard input goes to one path, and cannot be resumed")
        with progress("put") as shown:
            await _put_stdin(driver, remote, shown, verify=verify, checksum=checksum)
        return
    settings = current()
    settings.when_interrupted = "the same command with --resume goes on"
    single = len(local) == 1 and not recursive
    into = remote.endswith("/") or len(local) > 1
    with progress("put") as shown:
        upload = Upload(driver, Journal(destination(settings)), shown, resume, verify)
        found = list(_jobs(local, remote.rstrip("/"), into, recursive, single, shown))
        _require_different([job for job, _ in found])
        shown.expect(len(found), sum(size for _, size in found))
        await transfer(
            _each([job for job, _ in found]),
            upload.file,
            shown,
            at_once=jobs,
            checksums=checksum,
            single=single,
        )
    if not single:
        finish(shown, "stored")


def _jobs(
    given: tuple[str, ...],
    remote: str,
    into: bool,
    recursive: bool,
    single: bool,
    shown: Progress,
) -> Iterator[tuple[Job[Path, str], int]]:
    """What is to be done, and the size of each; what cannot be done is told at once."""
    for local in given:
        path = Path(local)
        base = remote
        # ``dir/.`` has no name of its own: what is in it goes to REMOTE itself, as with cp.
        if into and (name := os.path.basename(local.rstrip("/" + os.sep))) not in (".", ".."):
            base = f"{remote}/{name}"
        try:
            size = path.stat().st_size
            if path.is_dir() and not recursive:
                raise Failure(f"{local} is a directory: give -r to store what is below it")
            if not path.is_dir() and not path.is_file():
                raise Failure(f"{local} is neither a file nor a directory")
        except (OSError, Failure) as error:
            if single:
                raise
            failed(shown, error)
            continue
        if path.is_file():
            yield Job(path, base, base), size
            continue
        left_out = 0
        for found in scan(path, lambda error: failed(shown, error)):
            if isinstance(found, Found):
                dest = f"{base}/{found.relative}"
                yield Job(found.path, dest, dest), found.size
            else:
                left_out += 1
        if left_out:
            note(f"azdriver: {local}: symbolic links and special files left out: {left_out:,}")


def _require_different(jobs: list[Job[Path, str]]) -> None:
    seen: dict[str, Path] = {}
    for job in jobs:
        other = seen.setdefault(job.dest, job.source)
        if other is not job.source:
            raise UsageFailure(f"{other} and {job.source} would both be stored at {job.dest}")


async def _each(jobs: list[Job[Path, str]]) -> AsyncIterator[Job[Path, str]]:
    for job in jobs:
        yield job


async def _put_stdin(
    driver: StorageDriver, remote: str, shown: Progress, *, verify: bool, checksum: bool
) -> None:
    parse_path(remote, driver=driver.name)  # before hours of input are read
    sha256 = hashlib.sha256()
    chunks = _Stdin()
    begin = b""
    while len(begin) <= SMALL_BYTES and (chunk := await chunks.read()):
        begin += chunk
    shown.expect(1, 0)
    shown.begins(remote)
    sha256.update(begin)
    if len(begin) <= SMALL_BYTES:
        await driver.put_content(remote, begin)
        shown.advance(len(begin))
        if verify:
            await _verify(driver, remote, remote, sha256.hexdigest())
    else:
        await _put_stream(driver, remote, begin, chunks, sha256, shown, verify=verify)
    if checksum:
        click.echo(f"{sha256.hexdigest()}  {remote}")


async def _put_stream(
    driver: StorageDriver,
    remote: str,
    begin: bytes,
    chunks: _Stdin,
    sha256: hashlib._Hash,
    shown: Progress,
    *,
    verify: bool,
) -> None:
    """Store a stream beside ``remote``, and move it there when it is whole.

    So an end that never comes leaves alone what was stored at ``remote`` before.
    """
    suffix = f".azdriver-{uuid.uuid4().hex}"
    temporary = remote[: MAX_PATH_CHARACTERS - len(suffix)] + suffix
    try:
        async with driver.writer(temporary) as writer:
            try:
                await writer.write(begin)
                while chunk := await chunks.read():
                    await in_thread(sha256.update, chunk)
                    await writer.write(chunk)
                    shown.advance(len(chunk))
            except BaseException:
                # Nothing can go on with it: half of it is not to be taken for the whole.
                with anyio.move_on_after(DISCARDING_SECONDS, shield=True):
                    await writer.cancel()
                raise
            await writer.commit()
        if verify:
            await _verify(driver, temporary, remote, sha256.hexdigest())
    except BaseException:
        with (
            anyio.move_on_after(DISCARDING_SECONDS, shield=True),
            suppress(StorageDriverError),  # the first error is the one to tell
        ):
            await driver.delete(temporary)
        raise
    try:
        await driver.move(temporary, remote)
    except BaseException:
        # It cannot be read again, and the copy may have taken the place of the old version.
        error_line(f"all that was read is at {temporary}, if it is not at {remote}")
        raise


async def _verify(driver: StorageDriver, stored: str, remote: str, sha256: str) -> None:
    if await hash_stored(driver, stored) != sha256:
        raise Failure(f"{remote}: what is stored differs from what was read; put it again")


class _Stdin:
    """The standard input, read without keeping the event loop from its work.

    In a thread that the process does not wait for at its end: after Ctrl-C it may hang in a read
    from a terminal or a pipe.
    """

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bytes] = loop.create_future()

        def tell(data: bytes, error: OSError | None) -> None:
            if found.cancelled():
                return
            if error is None:
                found.set_result(data)
            else:
                found.set_exception(error)

        def read() -> None:
            data, failure = b"", None
            try:
                # Without the lock of sys.stdin, on which the interpreter would wait at its end.
                data = os.read(sys.stdin.fileno(), CHUNK_BYTES)
            except OSError as error:
                failure = error
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(tell, data, failure)

        threading.Thread(target=read, daemon=True, name="azdriver stdin").start()
        return await found
