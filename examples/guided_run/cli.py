"""The command line of the guided run, and what it runs on: Azurite, or an account of yours."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import aiohttp
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from azdriver import AzureBlobDriver, AzureBlobOptions, StorageDriverError
from azdriver.azureblob import SasToken, SharedKey
from azdriver.testing.azurite import AzuriteError, azurite
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from guided_run.checks import Checks
from guided_run.show import Row, Show, human_bytes
from guided_run.source import Source, scan
from guided_run.steps import STEPS, Run

__all__ = ["main"]

MIB: Final = 1024 * 1024
# Azurite keeps the blobs in memory up to here, else in a temporary directory.
MOST_IN_MEMORY: Final = 1024 * MIB
CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
MOST_SKIPPED_SHOWN: Final = 3


class RunError(Exception):
    """The run cannot be made; the message is for the person who started it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 if everything came back, 1 if not, 2 if it could not be run."""
    arguments = _parser().parse_args(argv)
    try:
        return asyncio.run(_guided_run(arguments, Show()))
    except KeyboardInterrupt:
        return _failed("stopped", 130)
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if not isinstance(first, _FORESEEN):
            raise
        return _failed(_one_line(first))
    except _FORESEEN as error:
        return _failed(_one_line(error))


_FORESEEN: Final = (
    RunError,
    StorageDriverError,
    AzuriteError,
    AzureError,
    aiohttp.ClientError,
    OSError,
)


def _failed(why: str, status: int = 2) -> int:
    print(f"error: {why}", file=sys.stderr)
    return status


def _one_line(error: BaseException) -> str:
    if isinstance(error, AzuriteError):
        return str(error)  # with what Azurite or npm printed last
    if isinstance(error, AzureError | aiohttp.ClientError):
        # Their messages may hold an URL, and its query a signature.
        code = getattr(error, "error_code", None) or getattr(error, "status", None)
        return f"{type(error).__name__} {getattr(code, 'value', code) or ''}".strip()
    return str(error).partition("\n")[0] or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tour.py",
        description="Store a directory of real files with azdriver, check every byte of it, and "
        "show what the driver does on the way. Exit status 0: everything came back; 1: something "
        "did not; 2: the run could not be made.",
    )
    parser.add_argument(
        "--path",
        metavar="DIR",
        type=Path,
        default=Path(sysconfig.get_path("purelib")),
        help="the directory to store; default: the installed packages of this Python, %(default)s",
    )
    parser.add_argument(
        "--connection-string",
        metavar="STRING",
        nargs="?",
        const="",
        help="use this storage account instead of Azurite; without STRING it is taken from "
        f"{CONNECTION_STRING}, so that no key is left in the shell's history",
    )
    parser.add_argument(
        "--container",
        metavar="NAME",
        default=f"guided-run-{uuid4().hex[:8]}",
        help="the container to create, work in, and delete at the end; default: a new name",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep what was stored: the container, or Azurite's data directory, which is printed",
    )
    parser.add_argument(
        "--limit-bytes",
        metavar="N",
        type=int,
        help="store no more than N bytes of the directory, for a slow line",
    )
    parser.add_argument(
        "--stream-above",
        metavar="N",
        type=int,
        default=MIB,
        help="stream files larger than N bytes, default %(default)s; if there are none, the "
        "largest three are streamed",
    )
    return parser


async def _guided_run(arguments: argparse.Namespace, show: Show) -> int:
    root: Path = arguments.path
    show.line(f"Looking for files in {root}")
    source = await asyncio.to_thread(scan, root, limit_bytes=arguments.limit_bytes)
    if not source.files:
        raise RunError(f"there are no files in {root}")
    streamed = source.streamed(arguments.stream_above)
    _tell_source(source, len(streamed), show)
    async with _opened(arguments, source, show) as opened:
        run = Run(
            opened.driver,
            opened.container,
            source,
            streamed,
            opened.requests,
            Checks(show.mismatch),
        )
        rows = await _run_steps(run, show)
    return _tell_result(run, rows, show)


def _tell_source(source: Source, streamed: int, show: Show) -> None:
    show.line(
        f"Found {len(source.files):,} files of {human_bytes(source.size)} together, {streamed:,} "
        f"of them to be streamed. {source.renamed:,} have characters in their names that a path "
        "may not have; those are escaped."
    )
    _tell_skipped(source, show)


def _tell_skipped(source: Source, show: Show) -> None:
    for reason, files in sorted(source.skipped.items()):
        names = [os.fsencode(file).decode("utf-8", "replace") for file in files]
        shown = ", ".join(names[:MOST_SKIPPED_SHOWN])
        more = ", …" if len(files) > MOST_SKIPPED_SHOWN else ""
        show.line(f"Not stored: {len(files):,} × {reason}: {shown}{more}", "yellow")


@dataclass(frozen=True, slots=True)
class _Opened:
    driver: AzureBlobDriver
    container: ContainerClient
    requests: list[RecordedRequest]


@asynccontextmanager
async def _opened(
    arguments: argparse.Namespace, source: Source, show: Show
) -> AsyncIterator[_Opened]:
    """The driver on a new container, which is deleted at the end unless it is to be kept."""
    name: str = arguments.container
    requests: list[RecordedRequest] = []
    async with _account(arguments, source, show) as connection_string:
        driver = AzureBlobDriver.from_connection_string(
            connection_string,
            name,
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        )
        async with _service(driver.options) as service:
            container = service.get_container_client(name)
            try:
                await container.create_container()
            except ResourceExistsError:
                raise RunError(
                    f"the container {name} exists; the run deletes its container at the end, "
                    "so it has to be a new one"
                ) from None
            except AzureError as error:
                raise RunError(
                    f"the container {name} at {driver.options.account_url} cannot be created: "
                    f"{_one_line(error)}"
                ) from None
            try:
                async with driver:
                    yield _Opened(driver, container, requests)
            finally:
                if not arguments.keep:
                    await container.delete_container()
            if arguments.keep:
                show.line(f"\nKept: the container {name} at {driver.options.account_url}")


def _service(options: AzureBlobOptions) -> BlobServiceClient:
    credential = options.credential
    assert isinstance(credential, SharedKey | SasToken)  # all that a connection string can hold
    return BlobServiceClient(
        options.account_url,
        credential=AzureNamedKeyCredential(credential.account_name, credential.account_key)
        if isinstance(credential, SharedKey)
        else AzureSasCredential(credential.token),
    )


@asynccontextmanager
async def _account(arguments: argparse.Namespace, source: Source, show: Show) -> AsyncIterator[str]:
    """The connection string of an account: the caller's own, or Azurite's while it runs."""
    given: str | None = arguments.connection_string
    if given is not None:
        connection_string = given or os.environ.get(CONNECTION_STRING, "")
        if not connection_string:
            raise RunError(f"--connection-string without a value, and no {CONNECTION_STRING}")
        yield connection_string
        return
    if "AZDRIVER_AZURITE" in os.environ:
        async with azurite() as server:
            show.line(f"Using the Azurite at {server.blob_endpoint}")
            yield server.connection_string
        return
    directory = Path(tempfile.mkdtemp(prefix="guided-run-")) if arguments.keep else None
    async with azurite(
        data_directory=directory,
        in_memory=source.size <= MOST_IN_MEMORY,
        progress=show.line,
    ) as server:
        show.line(
            f"Started Azurite {server.version}, Microsoft's emulator of Azure Storage, at "
            f"{server.blob_endpoint}"
        )
        yield server.connection_string
    if directory is not None:
        show.line(
            f"Azurite has stopped; its data is in {directory}. To start it on them again:\n"
            f"    async with azurite(data_directory=Path({str(directory)!r})) as server:"
        )


async def _run_steps(run: Run, show: Show) -> list[Row]:
    rows: list[Row] = []
    for number, step in enumerate(STEPS, start=1):
        show.step(number, len(STEPS), step.title, step.why)
        requests, mismatches = len(run.requests), len(run.checks.mismatches)
        began = time.monotonic()
        with show.progress(step.files(run)) as run.advance:
            done = await step.work(run)
        row = Row(
            step.title,
            done.files,
            done.bytes,
            len(run.requests) - requests,
            time.monotonic() - began,
            len(run.checks.mismatches) - mismatches,
        )
        rows.append(row)
        show.done(row, done.said)
    return rows


def _tell_result(run: Run, rows: list[Row], show: Show) -> int:
    mismatches = len(run.checks.mismatches)
    total = Row(
        "Stored and checked",
        run.stored_files,
        run.stored_bytes,
        sum(row.requests for row in rows),
        sum(row.seconds for row in rows),
        mismatches,
    )
    show.requests(Counter(request.operation for request in run.requests))
    show.table(rows, total)
    _tell_skipped(run.source, show)
    if mismatches:
        show.line(f"{mismatches:,} mismatches", "bold red")
        return 1
    show.line("Everything that was stored came back as it was: 0 mismatches.", "bold green")
    return 0
