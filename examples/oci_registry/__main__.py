"""The command line: ``python -m oci_registry serve`` and ``garbage-collect``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from azdriver import StorageDriver, StorageDriverError, from_url, open_driver
from oci_registry.garbage import Collected, GarbageCollector
from oci_registry.settings import MissingReferences, RegistrySettings
from oci_registry.web import make_app
from oci_registry.web.serving import serving

__all__ = ["main"]

URL_VARIABLE: Final = "AZDRIVER_URL"
DEFAULT_PORT: Final = 5000
DEFAULTS: Final = RegistrySettings()
DEFAULT_SHUTDOWN_SECONDS: Final = 30.0
# In hours or in seconds: no time-out of the event loop, and no date, overflows.
MAX_TIME: Final = 1_000_000
EMULATOR_CONTAINER: Final = "registry"

STORAGE_HELP: Final = f"""\
Where the images are is said by --url, or by {URL_VARIABLE} in the environment, which other users
of the machine do not see. Account and credential are taken from the variables of Azure's tools,
such as AZURE_STORAGE_CONNECTION_STRING, if the URL does not have them."""

EXAMPLES: Final = """\
  python -m oci_registry serve --emulator
  python -m oci_registry serve --url azure://myaccount/images --htpasswd users
  python -m oci_registry garbage-collect --url azure://myaccount/images --dry-run"""


class CannotBeginError(Exception):
    """What was asked for cannot be done here."""


class OneLineParser(ArgumentParser):
    """Says what is wrong as all other errors are said; ``--help`` says how it is right."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it went well, 2 if it could not begin or go on."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(arguments.run(arguments))
    except (CannotBeginError, StorageDriverError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> ArgumentParser:
    parser = OneLineParser(
        prog="oci_registry",
        description="An OCI registry on any driver of azdriver.",
        epilog=f"examples:\n{EXAMPLES}\n\n{STORAGE_HELP}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve until SIGTERM or Ctrl-C",
        description="Serve until SIGTERM or Ctrl-C; a second one does not wait for requests.",
        epilog=STORAGE_HELP,
        formatter_class=RawDescriptionHelpFormatter,
    )
    serve.set_defaults(run=_serve)
    _add_serving(serve)
    collect = commands.add_parser(
        "garbage-collect",
        help="delete what no manifest names any more",
        description="Delete what no manifest names any more. Registries may go on serving.",
        epilog=STORAGE_HELP,
        formatter_class=RawDescriptionHelpFormatter,
    )
    collect.set_defaults(run=_collect)
    _add_collecting(collect)
    return parser


def _add_storage(parser: ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", help="the driver: memory:, or azure://ACCOUNT/CONTAINER/PREFIX")
    place.add_argument("--emulator", action="store_true", help="start Azurite, and store there")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="where --emulator keeps its blobs; by default they end with it",
    )
    parser.add_argument(
        "--grace-hours",
        type=_positive,
        default=DEFAULTS.grace_period / timedelta(hours=1),
        metavar="N",
        help="what is younger is never garbage; the same for all commands (%(default)g)",
    )


def _add_serving(parser: ArgumentParser) -> None:
    _add_storage(parser)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="0 for any that is free (%(default)s)"
    )
    parser.add_argument(
        "--htpasswd", type=Path, metavar="FILE", help="only its users come in; see htpasswd -B"
    )
    parser.add_argument(
        "--tls-certificate", type=Path, metavar="FILE", help="serve https, with this chain"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="if it is in another file")
    parser.add_argument(
        "--redirect", action="store_true", help="answer GETs of blobs by signed URLs"
    )
    parser.add_argument(
        "--missing-references",
        choices=[str(choice) for choice in MissingReferences],
        default=str(DEFAULTS.missing_references),
        help="manifests that name what was never pushed (%(default)s)",
    )
    for option, kind, default, text in (
        ("--max-manifest-bytes", int, DEFAULTS.max_manifest_bytes, "a larger one is refused"),
        ("--max-upload-bytes", int, DEFAULTS.max_upload_bytes, "a larger blob is refused"),
        ("--max-requests", int, DEFAULTS.max_concurrent_requests, "at once; more are refused"),
        ("--max-uploads", int, DEFAULTS.max_concurrent_uploads, "bodies at once; more wait"),
        ("--idle-seconds", _positive, DEFAULTS.body_idle_seconds, "until a silent client is cut"),
        ("--request-seconds", _positive, DEFAULTS.request_seconds, "until a request is cut"),
        ("--shutdown-seconds", _positive, DEFAULT_SHUTDOWN_SECONDS, "for requests at the end"),
    ):
        shown = "no limit" if default is None else f"{default:.10g}"
        parser.add_argument(
            option, type=kind, default=default, metavar="N", help=f"{text} ({shown})"
        )


def _add_collecting(parser: ArgumentParser) -> None:
    _add_storage(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    parser.add_argument(
        "--delete-untagged",
        action="store_true",
        help="also manifests that no tag leads to, directly, by an index or by a subject",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but the result")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= MAX_TIME:  # nor is it NaN
        raise ArgumentTypeError(f"is to be a number greater than 0, at most {MAX_TIME:,}")
    return value


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ArgumentTypeError("is to be a number from 0 to 65535")
    return int(text)


async def _serve(arguments: Namespace) -> None:
    settings = RegistrySettings(
        redirect_blobs=arguments.redirect,
        missing_references=MissingReferences(arguments.missing_references),
        max_manifest_bytes=arguments.max_manifest_bytes,
        max_upload_bytes=arguments.max_upload_bytes,
        max_concurrent_requests=arguments.max_requests,
        max_concurrent_uploads=arguments.max_uploads,
        body_idle_seconds=arguments.idle_seconds,
        request_seconds=arguments.request_seconds,
        grace_period=timedelta(hours=arguments.grace_hours),
    )
    # What a request has found to be there is safe for half of the grace period.
    if timedelta(seconds=settings.request_seconds) > settings.grace_period / 2:
        raise CannotBeginError("--request-seconds is more than half of --grace-hours")
    tls = _tls(arguments.tls_certificate, arguments.tls_key)
    middlewares = []
    if arguments.htpasswd is not None:
        try:
            # Here, so that bcrypt is not needed by who lets everyone in.
            from oci_registry.auth import Htpasswd
            from oci_registry.web.basicauth import require_user
        except ImportError:
            raise CannotBeginError("--htpasswd takes: python -m pip install bcrypt") from None
        middlewares.append(require_user(Htpasswd(arguments.htpasswd)))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, end)
    async with _driver(arguments) as driver:
        async with serving(
            make_app(driver, settings, middlewares=middlewares),
            host=arguments.host,
            port=arguments.port,
            tls=tls,
            shutdown_seconds=arguments.shutdown_seconds,
        ) as url:
            print(f"serving on {url}", flush=True)
            await stop.wait()


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise CannotBeginError("--tls-key goes with --tls-certificate")
        return None
    for path in filter(None, (certificate, key)):
        try:
            path.read_bytes()  # the error of ssl does not name the file
        except OSError as error:
            raise CannotBeginError(f"{path}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Nobody is there to be asked for a password.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        files = " and ".join(map(str, filter(None, (certificate, key))))
        raise CannotBeginError(
            f"{files}: no certificate with its key in PEM, without a password ({error})"
        ) from None
    return context


async def _collect(arguments: Namespace) -> None:
    settings = RegistrySettings(grace_period=timedelta(hours=arguments.grace_hours))
    async with _driver(arguments) as driver:
        collected = await GarbageCollector(
            driver,
            settings,
            dry_run=arguments.dry_run,
            delete_untagged=arguments.delete_untagged,
            report=_ignore if arguments.quiet else _report,
        ).collect()
    print(_summary(collected, is_dry=arguments.dry_run))


def _summary(collected: Collected, *, is_dry: bool) -> str:
    return (
        f"{'would delete' if is_dry else 'deleted'}: {collected.manifests} manifests without a tag,"
        f" {collected.blobs} blobs of {collected.blob_bytes} bytes, {collected.uploads} uploads"
        f"; {collected.reprieved} came into use meanwhile"
    )


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _ignore(line: str) -> None:
    pass


@asynccontextmanager
async def _driver(arguments: Namespace) -> AsyncGenerator[StorageDriver, None]:
    if arguments.emulator:
        from azdriver.testing.azurite import AzuriteError, azurite

        # One that runs already is nothing to be started, and stopped, here.
        environment = {key: value for key, value in os.environ.items() if key != "AZDRIVER_AZURITE"}
        try:
            async with azurite(
                # Not in memory, which layers fill up soon.
                in_memory=False,
                data_directory=arguments.data,
                progress=_report,
                environment=environment,
            ) as server:
                parameters = {
                    "connectionstring": server.connection_string,
                    "container": EMULATOR_CONTAINER,
                }
                async with open_driver("azure", parameters) as driver:
                    yield driver
        except AzuriteError as error:
            raise CannotBeginError(str(error)) from error
        return
    if arguments.data is not None:
        raise CannotBeginError("--data goes with --emulator")
    url = arguments.url or os.environ.get(URL_VARIABLE)
    if not url:
        raise CannotBeginError(f"say where: --url, --emulator, or {URL_VARIABLE}")
    async with from_url(url) as driver:
        yield driver


if __name__ == "__main__":
    sys.exit(main())
