"""The command line in this process, or as a process of its own, on a container of Azurite."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

import pytest
from azure.storage.blob import ContainerClient
from click.testing import CliRunner

from azdriver.cli import main
from azdriver.testing.azurite import AzuriteServer


@pytest.fixture
def settings(
    azurite_server: AzuriteServer, container: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, str]]:
    """Makes the environment that names the driver, and keeps the user's own files out of it."""

    home = tmp_path_factory.mktemp("home")
    # Most commands create none: the name may be mistyped.
    with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        if not client.exists():
            client.create_container()

    def make(endpoint: str = azurite_server.blob_endpoint, **parameters: str) -> dict[str, str]:
        query = "".join(f"&{name}={quote(value, safe='')}" for name, value in parameters.items())
        service = quote(endpoint, safe="")
        return {
            "AZDRIVER_URL": f"azure://{azurite_server.account_name}/{container}"
            f"?serviceurl={service}{query}",
            "AZURE_STORAGE_KEY": azurite_server.account_key,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
        }

    return make


@pytest.fixture
def cli(
    settings: Callable[..., dict[str, str]],
) -> Iterator[Callable[..., CompletedProcess[str]]]:
    """Runs a command in this process; keywords are further variables of the environment."""
    # In a thread, since a test may have an event loop of its own.
    with ThreadPoolExecutor(1) as thread:

        def run(*arguments: str | Path, **env: str) -> CompletedProcess[str]:
            return thread.submit(_run, *arguments, env={**settings(), **env}).result()

        yield run


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """A command sets it up for its process, which this one is not."""
    root, azdriver = logging.getLogger(), logging.getLogger("azdriver")
    handlers, level = list(root.handlers), azdriver.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        azdriver.setLevel(level)


def _run(*arguments: str | Path, env: dict[str, str]) -> CompletedProcess[str]:
    with _logging_as_before(), CliRunner().isolation(env=env) as (out, err, *_):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit:  # of the shell completion, which is click's own
            status = int(exit.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        result = CompletedProcess(
            [str(argument) for argument in arguments],
            status,
            out.getvalue().decode("utf-8", "replace"),
            err.getvalue().decode("utf-8"),
        )
    return result


@pytest.fixture
def process(
    settings: Callable[..., dict[str, str]],
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a command as a process of its own; its streams are pipes."""
    with ExitStack() as stack:

        def start(
            *arguments: str | Path, env: dict[str, str] | None = None
        ) -> subprocess.Popen[bytes]:
            started = subprocess.Popen(
                [sys.executable, "-P", "-W", "error", "-m", "azdriver", *map(str, arguments)],
                env={**os.environ, **settings(), **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield start


@pytest.fixture
def ended() -> Callable[[subprocess.Popen[bytes]], CompletedProcess[str]]:
    """Waits for the end of a process, and returns what it has printed."""

    def wait(process: subprocess.Popen[bytes]) -> CompletedProcess[str]:
        out, err = process.communicate(timeout=60)
        return CompletedProcess(process.args, process.returncode, out.decode(), err.decode())

    return wait
