"""``azdriver emulator``: Azurite, in the foreground."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import anyio
import click

from azdriver.cli.failures import Failure
from azdriver.cli.options import Command
from azdriver.cli.output import as_json, note
from azdriver.cli.running import run

__all__ = ["emulator"]


@click.command(cls=Command, short_help="Run Azurite, and print its settings.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=10000, show_default=True, help="0: any free."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to keep the blobs; by default in memory, gone at the end.",
)
@click.option("--container", default="azdriver", show_default=True, help="For AZDRIVER_URL.")
@click.option("--json", "in_json", is_flag=True, help="The settings as one line of JSON.")
def emulator(port: int, host: str, data: Path | None, container: str, in_json: bool) -> None:
    """Run Azurite, the emulator of Azure Blob Storage, until Ctrl-C.

    Its settings are printed as lines for a shell: copy them, or let another shell read them.
    Account and key are those that Microsoft has published for development. Azurite is installed
    on first use; it takes Node.js, or the extra azdriver[testing].

    \b
      azdriver emulator > settings.sh &
      until [ -s settings.sh ]; do sleep 1; done
      . ./settings.sh; echo hello | azdriver put - /greeting
    """
    run(lambda: _serve(port, host, data, container, in_json))


async def _serve(port: int, host: str, data: Path | None, container: str, in_json: bool) -> None:
    from azdriver.testing.azurite import AzuriteError, azurite

    # One that runs already is nothing to be started, and stopped, here.
    environment = {name: value for name, value in os.environ.items() if name != "AZDRIVER_AZURITE"}
    try:
        async with azurite(
            port=port, host=host, data_directory=data, progress=note, environment=environment
        ) as server:
            settings = {
                "AZDRIVER_URL": driver_url(server.blob_endpoint, server.account_name, container),
                "AZURE_STORAGE_CONNECTION_STRING": server.connection_string,
            }
            if in_json:
                click.echo(as_json(settings))
            else:
                for name, value in settings.items():
                    click.echo(f"export {name}={shlex.quote(value)}")
            sys.stdout.flush()
            note(f"azdriver: Azurite {server.version} on {server.blob_endpoint}; Ctrl-C ends it")
            await anyio.sleep_forever()
    except AzuriteError as error:
        raise Failure(str(error)) from error


def driver_url(blob_endpoint: str, account_name: str, container: str) -> str:
    """An URL of the driver for a path-style endpoint; the key is in the connection string."""
    url = urlsplit(blob_endpoint)
    service = quote(f"{url.scheme}://{url.netloc}{url.path}", safe="")
    return f"azure://{account_name}/{container}?serviceurl={service}"
