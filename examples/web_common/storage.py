"""The command line of the web apps, and the storage that it names."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import azdriver
from azdriver import StorageDriver
from azdriver.testing.azurite import azurite

__all__ = ["CONNECTION_STRING", "Settings", "open_storage", "parse_arguments"]

CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"


@dataclass(frozen=True, slots=True)
class Settings:
    emulator: bool
    container: str
    host: str
    port: int
    redirect: bool


def parse_arguments(program: str, argv: Sequence[str] | None = None) -> Settings:
    """Read the command line; leaves the program with a message if something is missing."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument(
        "--emulator",
        action="store_true",
        help=f"start Azurite and store there; without it, in the account of {CONNECTION_STRING}",
    )
    parser.add_argument("--container", default="web-files", help="default %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    parser.add_argument("--port", type=int, default=8080, help="default %(default)s")
    parser.add_argument(
        "--redirect", action="store_true", help="send downloads to a signed URL of the storage"
    )
    arguments = parser.parse_args(argv)
    if not arguments.emulator and not os.environ.get(CONNECTION_STRING):
        parser.error(f"--emulator, or {CONNECTION_STRING} in the environment")
    return Settings(**vars(arguments))


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncIterator[StorageDriver]:
    """Open the driver, on an Azurite of its own if so set; close both at the end."""
    if settings.emulator:
        async with azurite(progress=print) as server:
            async with _open_driver(server.connection_string, settings.container) as driver:
                yield driver
    else:
        async with _open_driver(os.environ[CONNECTION_STRING], settings.container) as driver:
            yield driver


@asynccontextmanager
async def _open_driver(connection_string: str, container: str) -> AsyncIterator[StorageDriver]:
    parameters = {
        "connectionstring": connection_string,
        "container": container,
        # Streams as block blobs, as contents are: the service moves one over the other at once,
        # while an append blob in between would have to be deleted first.
        "writemode": "block",
        "blocksinflight": 2,
    }
    async with azdriver.open_driver("azure", parameters) as driver:
        yield driver
