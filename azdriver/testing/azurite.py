"""Azurite, Microsoft's emulator of Azure Storage, for development and tests, blobs only::

    async with azurite() as server:
        ...  # server.connection_string, server.blob_endpoint

It is found in this order:

1. ``AZDRIVER_AZURITE`` in the environment: the blob endpoint or the connection string of one that
   is already running. It is used as it is; nothing is started or stopped.
2. An earlier installation in the user's cache (``AZDRIVER_CACHE``, or the platform's place).
3. Otherwise it is installed from npm into that cache, which takes a minute, once.

Node.js 22 or newer is the machine's own, or comes with ``pip install "azdriver[testing]"``.
"""

import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import ByteStream

from azdriver.testing.azurite_install import (
    AZURITE_VERSION,
    POLL_SECONDS,
    AzuriteCommand,
    AzuriteError,
    install_azurite,
    kill_process,
    start_process,
    tail,
    wait_for_exit,
)
from azdriver.testing.filelock import locked

__all__ = [
    "AZURITE_VERSION",
    "DEVSTORE_ACCOUNT",
    "DEVSTORE_KEY",
    "AzuriteCommand",
    "AzuriteError",
    "AzuriteServer",
    "azurite",
    "install_azurite",
]

DEVSTORE_ACCOUNT = "devstoreaccount1"
DEVSTORE_KEY = (  # published by Microsoft, the same everywhere: not a secret
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
DEFAULT_HOST = "127.0.0.1"
STOP_GRACE_SECONDS = 5.0
LOCK_NAME = "azdriver.lock"

# Azurite's standard input is a pipe that we hold. When this process dies, of SIGKILL even, the
# system closes it, and Azurite shuts down as it would on SIGTERM: no orphan is left. On Windows,
# where SIGTERM does not exist, this is also how it is stopped.
END_WITH_PARENT = "data:text/javascript," + quote(
    'process.stdin.on("end", () => process.emit("SIGTERM") || process.exit(1)).resume().unref()'
)


@dataclass(frozen=True, slots=True)
class AzuriteServer:
    """A running Azurite. ``version`` and ``pid`` are None if it was not started here."""

    blob_endpoint: str
    account_name: str = DEVSTORE_ACCOUNT
    account_key: str = field(default=DEVSTORE_KEY, repr=False)
    version: str | None = None
    pid: int | None = None
    debug_log: Path | None = None

    @property
    def connection_string(self) -> str:
        """What Azure's SDKs take; it contains the account key."""
        return (
            f"DefaultEndpointsProtocol={urlsplit(self.blob_endpoint).scheme};"
            f"AccountName={self.account_name};AccountKey={self.account_key};"
            f"BlobEndpoint={self.blob_endpoint};"
        )


@asynccontextmanager
async def azurite(
    *,
    data_directory: Path | None = None,
    in_memory: bool = True,
    port: int = 0,
    host: str = DEFAULT_HOST,
    version: str = AZURITE_VERSION,
    extent_memory_limit_mb: int | None = None,
    oauth: Literal["basic"] | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    debug_log: Path | None = None,
    start_timeout: timedelta = timedelta(seconds=30),
    progress: Callable[[str], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[AzuriteServer]:
    """Start Azurite's blob service, yield it when it answers, and always stop it.

    Leaving is silent if it died meanwhile, so a test may kill ``pid``. Then what was stored in a
    directory within the last 5 seconds is lost, since Azurite saves its index no more often; a
    stop in the ordinary way saves everything.

    Args:
        data_directory: where to keep the blobs; made if missing, kept afterwards. Give it again,
            and they are found again. One Azurite at a time may have it.
        in_memory: without ``data_directory``, keep them in memory, else in a temporary directory.
        port: 0 for any free one.
        host: where to listen, and the endpoint's host. A certificate may need ``localhost``.
        version: an exact version of Azurite.
        extent_memory_limit_mb: for the content in memory, in MB; default half of the machine's.
        oauth: ``basic`` takes bearer tokens, with little checking; needs a certificate.
        certificate: a PEM file; the endpoint is then https.
        key: the certificate's private key, a PEM file.
        debug_log: a file for Azurite's debug log, which shows each request.
        start_timeout: how long it may take to answer; an installation does not count.
        progress: called with a line to show when something slow begins.
        environment: for everything that is looked up, and for Azurite; default ``os.environ``.
            One without ``AZDRIVER_AZURITE`` makes sure that Azurite is started here.

    Raises:
        AzuriteError: not installed, not started (with its output) or no answer; or another one
            has the data directory; or ``AZDRIVER_AZURITE`` is set, and an option, a version
            included, asks for what can't be known or changed of a running one.
        ValueError: options that exclude each other.
    """
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key go together")
    if oauth and not certificate:
        raise ValueError("oauth needs https: give a certificate and key too")
    if extent_memory_limit_mb is not None and (data_directory or not in_memory):
        raise ValueError("extent_memory_limit_mb is for blobs in memory")
    environment = os.environ if environment is None else environment

    if address := environment.get("AZDRIVER_AZURITE"):
        wanted = {
            "data_directory": data_directory is not None,
            "in_memory": not in_memory,
            "port": port != 0,
            "host": host != DEFAULT_HOST,
            "version": version != AZURITE_VERSION,
            "extent_memory_limit_mb": extent_memory_limit_mb is not None,
            "oauth": oauth is not None,
            "certificate": certificate is not None,
            "debug_log": debug_log is not None,
        }
        if refused := [name for name, given in wanted.items() if given]:
            raise AzuriteError(
                f"AZDRIVER_AZURITE names a running Azurite, of which {', '.join(refused)} can't "
                "be chosen: unset it, or pass an environment without it"
            )
        yield await _running(address, start_timeout)
        return

    command = await install_azurite(version, progress=progress, environment=environment)
    async with AsyncExitStack() as stack:
        held = []
        if data_directory is not None:
            held.append(await stack.enter_async_context(_sole_user(data_directory)))
        workspace = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="azdriver-azurite-", ignore_cleanup_errors=True)
        )
        log = Path(workspace, "output.log")
        if data_directory is None and not in_memory:
            data_directory = Path(workspace, "data")
        options: dict[str, str | int | Path | None] = {
            "blobHost": host,
            "blobPort": port,
            "location": data_directory,
            "extentMemoryLimit": extent_memory_limit_mb,
            "oauth": oauth,
            "cert": certificate,
            "key": key,
            "debug": debug_log,
        }
        # The SDK speaks newer versions of the protocol than any Azurite knows.
        arguments = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        if data_directory is None:
            arguments.append("--inMemoryPersistence")
        for name, value in options.items():
            if value is not None:
                # Its working directory is another one than ours: no path may be relative.
                shown = os.path.abspath(value) if isinstance(value, Path) else str(value)  # noqa: ASYNC240
                arguments += [f"--{name}", shown]
        node, script = command.argv
        process = start_process(
            [node, "--import", END_WITH_PARENT, script, *arguments],
            log=log,
            directory=Path(workspace),
            # These two would change its accounts, and where it keeps the blobs.
            environment={
                name: value
                for name, value in environment.items()
                if name not in ("AZURITE_ACCOUNTS", "AZURITE_DB")
            },
            stdin=subprocess.PIPE,
            # So that, if we are killed, nobody else begins before it has ended.
            inherited=held if sys.platform != "win32" else (),
        )
        try:
            try:
                with anyio.fail_after(start_timeout.total_seconds()):
                    bound_port = await _wait_for_port(process, log)
                    scheme = "https" if certificate else "http"
                    url_host = f"[{host}]" if ":" in host else host
                    endpoint = f"{scheme}://{url_host}:{bound_port}/{DEVSTORE_ACCOUNT}"
                    await _wait_for_answer(endpoint)
            except TimeoutError:
                raise AzuriteError(
                    f"Azurite {version} did not answer within {start_timeout}; "
                    f"its output:\n{tail(log)}"
                ) from None
            yield AzuriteServer(endpoint, version=version, pid=process.pid, debug_log=debug_log)
        finally:
            await _stop(process)


@asynccontextmanager
async def _sole_user(directory: Path) -> AsyncGenerator[int]:
    """Lock a data directory: of two Azurites in one, each would overwrite the other's index."""
    async with AsyncExitStack() as stack:
        try:
            lock = await stack.enter_async_context(
                locked(directory / LOCK_NAME, patience_seconds=STOP_GRACE_SECONDS)
            )
        except TimeoutError:
            raise AzuriteError(
                f"{directory}: another Azurite that runs keeps its blobs there"
            ) from None
        except OSError as error:
            raise AzuriteError(f"{directory}: {error.strerror}") from error
        yield lock


async def _running(address: str, start_timeout: timedelta) -> AzuriteServer:
    """The one at this address, once it answers: it may be starting up, in a container say."""
    server = _parse_address(address)
    try:
        with anyio.fail_after(start_timeout.total_seconds()):
            await _wait_for_answer(server.blob_endpoint)
    except TimeoutError:
        raise AzuriteError(
            f"no answer from {server.blob_endpoint} (AZDRIVER_AZURITE) within {start_timeout}"
        ) from None
    return server


def _parse_address(address: str) -> AzuriteServer:
    """Read ``AZDRIVER_AZURITE``. No message quotes it: it may contain a key."""
    fields = {"blobendpoint": address}
    if not re.match(r"https?://", address):
        pairs = (part.partition("=") for part in address.split(";"))
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    endpoint = fields.get("blobendpoint", "").rstrip("/")
    if not endpoint and fields.get("usedevelopmentstorage", "").lower() == "true":
        endpoint = f"http://{DEFAULT_HOST}:10000"
    # An account in the path is the mark of an emulator: tests must not reach a real account.
    match = re.fullmatch(r"(https?://[^/?#@]+)(?:/([^/?#]+))?", endpoint)
    account = fields.get("accountname") or (match and match[2]) or DEVSTORE_ACCOUNT
    account_key = fields.get("accountkey") or (DEVSTORE_KEY if account == DEVSTORE_ACCOUNT else "")
    if not match or ".core." in match[1] or match[2] not in (None, account) or not account_key:
        raise AzuriteError(
            "AZDRIVER_AZURITE must be Azurite's blob endpoint, http://HOST:PORT/ACCOUNT, or a "
            "connection string with that BlobEndpoint and the account's key"
        )
    return AzuriteServer(f"{match[1]}/{account}", account, account_key)


async def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Azurite itself picks the port and says which: nobody can take it in between."""
    while True:
        exited = process.poll() is not None  # first: then the output below is all of it
        output = log.read_text("utf-8", errors="replace")  # noqa: ASYNC240 -- a few lines
        if match := re.search(r"listens on https?://\S+:(\d+)\s", output):
            return int(match[1])
        if exited:
            raise AzuriteError(
                f"Azurite ended with status {process.returncode} at start-up; "
                f"its output:\n{tail(log)}"
            )
        await anyio.sleep(POLL_SECONDS)


async def _wait_for_answer(endpoint: str) -> None:
    while not await _answers(endpoint):  # noqa: ASYNC110 -- an event in another process
        await anyio.sleep(POLL_SECONDS)


async def _answers(endpoint: str) -> bool:
    """Whether HTTP is spoken there, with any status."""
    url = urlsplit(endpoint)
    context: ssl.SSLContext | None = None
    if url.scheme == "https":
        # Nothing secret is sent, and a development certificate is rarely one that is trusted.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    request = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n"
    try:
        port = url.port or (443 if context else 80)
        stream: ByteStream
        if context:
            stream = await anyio.connect_tcp(
                url.hostname or "", port, ssl_context=context, tls_standard_compatible=False
            )
        else:
            stream = await anyio.connect_tcp(url.hostname or "", port)
        async with stream:
            await stream.send(request.encode())
            return (await stream.receive()).startswith(b"HTTP/")
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and kill it if it does not: it is gone when this returns or raises."""
    assert process.stdin is not None  # a pipe, see END_WITH_PARENT
    try:
        if process.poll() is None:
            if sys.platform == "win32":
                process.stdin.close()
            else:
                process.terminate()
            with anyio.move_on_after(STOP_GRACE_SECONDS, shield=True):
                await wait_for_exit(process)
    finally:
        # A second cancellation of an asyncio task breaks through the shield.
        kill_process(process)
        process.stdin.close()
