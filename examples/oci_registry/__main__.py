"""The command line: ``python -m oci_registry serve``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from azdriver import StorageDriver, StorageDriverError, from_url, open_driver
from oci_registry.settings import MissingReferences, RegistrySettings
from oci_registry.web import make_app

__all__ = ["main"]

DEFAULT_PORT = 5000


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 2 if it could not begin."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_serve(arguments))
    except (StorageDriverError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oci_registry", description="An OCI registry.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or ctrl-c")
    place = serve.add_mutually_exclusive_group(required=True)
    place.add_argument("--url", help="the driver: memory:, or azure://ACCOUNT/CONTAINER/PREFIX")
    place.add_argument("--emulator", action="store_true", help="start Azurite, and store there")
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="0 for any; default: %(default)s"
    )
    serve.add_argument(
        "--redirect", action="store_true", help="answer GETs of blobs by signed URLs"
    )
    serve.add_argument(
        "--missing-references",
        choices=[str(choice) for choice in MissingReferences],
        default=str(MissingReferences.REFUSE),
        help="manifests that name what was never pushed; default: %(default)s",
    )
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    settings = RegistrySettings(
        redirect_blobs=arguments.redirect,
        missing_references=MissingReferences(arguments.missing_references),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _driver(arguments) as driver:
        runner = web.AppRunner(make_app(driver, settings), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, arguments.host, arguments.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            print(f"serving on http://{host}:{port}", flush=True)
            await stop.wait()
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _driver(arguments: argparse.Namespace) -> AsyncGenerator[StorageDriver, None]:
    if arguments.emulator:
        from azdriver.testing.azurite import azurite

        async with azurite(in_memory=False) as server:
            parameters = {"connectionstring": server.connection_string, "container": "registry"}
            async with open_driver("azure", parameters) as driver:
                yield driver
    else:
        async with from_url(arguments.url) as driver:
            yield driver


if __name__ == "__main__":
    sys.exit(main())
