"""An Azurite for each test module, and a container of its own for each test.

Not one for the whole run: after tens of thousands of dead blobs Azurite's clean-up keeps it from
answering for minutes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp
import pytest
from anyio.from_thread import start_blocking_portal
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import ContainerClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from azdriver import AzureBlobDriver
from azdriver.testing.azurite import AzuriteServer, azurite
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from printed_secrets import printed_secret

if TYPE_CHECKING:
    from otel_recording import RecordedTelemetry

LABS = (
    "azureblob/migration/test_faults.py",
    "azureblob/migration/test_random.py",
    "azureblob/test_sweep.py",
    "histories",
    "hostile",
    "kill",
    "registry/clients/test_large_layer.py",
    "registry/test_killed.py",
    "test_benchmarks.py",
    "test_guided_run.py",
    "test_model.py",
    "test_soak.py",
    "testing",
)
"""Below this directory: what takes seconds to minutes, and is marked as ``lab``."""


def pytest_configure() -> None:
    # What is started in the background of a script ignores Ctrl-C, and so do all its children, to
    # which tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(LABS):
            item.add_marker("lab")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test prints or logs a secret; ``nox -s labs`` logs all at DEBUG."""
    report = yield
    if call.when == "teardown" and report.passed:
        for title, text in report.sections:
            secret = printed_secret(text)
            if secret is not None:
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: a secret in {title!r}: {secret!r}"
    return report


@pytest.fixture(scope="module")
def azurite_server() -> Iterator[AzuriteServer]:
    # In a thread with an event loop of its own: each test has another one.
    own = "AZDRIVER_AZURITE" not in os.environ
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(
            azurite(extent_memory_limit_mb=4096 if own else None)
        ) as server:
            yield server


@pytest.fixture
def container() -> str:
    """The name of a container that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
async def sdk(azurite_server: AzuriteServer, container: str) -> AsyncIterator[ContainerClient]:
    """The container, made by the SDK itself and used past the driver."""
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        await client.create_container()
        yield client


@pytest.fixture
def requests() -> list[RecordedRequest]:
    """What ``driver`` has sent, in order; clear it before the call that is counted."""
    return []


@pytest.fixture
async def driver(
    azurite_server: AzuriteServer, container: str, requests: list[RecordedRequest]
) -> AsyncIterator[AzureBlobDriver]:
    """A driver on an empty container of Azurite, its requests recorded."""
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        wrap_transport=lambda inner: RecordingTransport(inner, requests),
    ) as driver:
        requests.clear()
        yield driver


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Everything that any logger says at DEBUG, those included that the driver holds down."""
    before = {}
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        before[logger] = (logger.level, logger.disabled)
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(levelname)s %(name)s %(message)s %(args)s")
    try:
        yield lambda: "\n".join(map(formatter.format, caplog.records))
    finally:
        for logger, (level, disabled) in before.items():
            logger.setLevel(level)
            logger.disabled = disabled


@pytest.fixture
def telemetry() -> Iterator[RecordedTelemetry]:
    """What goes to OpenTelemetry's SDK, whose providers stay for the whole run."""
    # Here, so that most tests run as most applications do: without it.
    from otel_recording import recorded_telemetry

    with recorded_telemetry() as recorded:
        yield recorded


@pytest.fixture(scope="module")
def plant(azurite_server: AzuriteServer) -> Callable[[str, Iterable[str]], None]:
    """Create a container with many small block blobs; quicker than by the SDK.

    It takes its time: a test with an event loop calls it by ``asyncio.to_thread``.
    """

    async def put_all(container: str, names: Iterable[str]) -> None:
        sas = generate_container_sas(
            azurite_server.account_name,
            container,
            account_key=azurite_server.account_key,
            permission=ContainerSasPermissions(create=True, write=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02"}
        remaining = iter(names)

        async def put(session: aiohttp.ClientSession) -> None:
            for name in remaining:
                url = f"{azurite_server.blob_endpoint}/{container}/{name}?{sas}"
                async with session.put(url, data=b"x", headers=headers) as response:
                    response.raise_for_status()

        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(put(session))

    def plant(container: str, names: Iterable[str]) -> None:
        async def create() -> None:
            async with AzureBlobDriver.from_connection_string(
                azurite_server.connection_string, container
            ):
                pass
            await put_all(container, names)

        with start_blocking_portal() as portal:
            portal.call(create)

    return plant


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    return _certificate(tmp_path)


@pytest.fixture(scope="module")
def trusted_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The certificate of ``azurite_with_tokens``, and its key."""
    return _certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def azurite_with_tokens(trusted_certificate: tuple[Path, Path]) -> Iterator[AzuriteServer]:
    """An Azurite that takes bearer tokens, which it does over https alone."""
    environment = {name: value for name, value in os.environ.items() if name != "AZDRIVER_AZURITE"}
    public, key = trusted_certificate
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(
            azurite(
                oauth="basic",
                certificate=public,
                key=key,
                host="localhost",
                environment=environment,
            )
        ) as server:
            yield server


def _certificate(directory: Path) -> tuple[Path, Path]:
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(signed.public_bytes(pem))
    files[1].write_bytes(
        private_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
