"""What must not happen: a secret shown by what works, in a log, a span, a counter or a repr."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver import AzureBlobDriver, StorageDriverError, UnsupportedMethodError
from azdriver.azureblob import RetrySettings, SharedKey
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Faults, answer, lose_answer, reset
from azdriver.testing.proxy import fault_proxy
from azdriver.testing.recording import TransportWrapper
from azdriver.testing.tokens import LocalCredential

if TYPE_CHECKING:
    from otel_recording import RecordedTelemetry
from contract_calls import OPERATIONS, every_operation
from shown_secrets import KINDS, Credential, assert_no_secret, credentials, opened

REQUESTS = (
    "Append Block",
    "Blob Batch",
    "Copy Blob",
    "Create Append Blob",
    "Delete Blob",
    "Get Blob",
    "Get Blob Properties",
    "Get Block List",
    "List Blobs",
    "Put Blob",
    "Put Block",
    "Put Block List",
)


class Overheard(TransportWrapper):
    """Knows each signature and token that went over the wire, those made on the way included."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], secrets: set[str]) -> None:
        super().__init__(inner)
        self._secrets = secrets

    async def send(self, request: Any, **options: Any) -> Any:
        self._secrets.update(parse_qs(urlsplit(request.url).query).get("sig", ()))
        if "Authorization" in request.headers:
            self._secrets.add(request.headers["Authorization"].rpartition(":")[2].split()[-1])
        return await super().send(request, **options)


@pytest.fixture(params=[*KINDS, "token"])
def account(request: pytest.FixtureRequest, container: str) -> tuple[str, Credential]:
    """An endpoint, and a credential that it takes."""
    if request.param == "token":
        return request.getfixturevalue("azurite_with_tokens").blob_endpoint, LocalCredential()
    server: AzuriteServer = request.getfixturevalue("azurite_server")
    return server.blob_endpoint, credentials(server, container)[request.param]


@pytest.mark.parametrize("write_mode", ["append", "block"])
@pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])
async def test_no_secret_is_in_anything_that_can_be_seen(
    account: tuple[str, Credential],
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    telemetry: RecordedTelemetry,
    capfd: pytest.CaptureFixture[str],
    lean_lane: bool,
    write_mode: str,
) -> None:
    """All loggers at DEBUG, spans and metrics exported; each request fails in several ways."""
    endpoint, credential = account
    passing = [
        fault
        for on in REQUESTS
        for fault in (
            answer(503, "ServerBusy", on=on),
            lose_answer(on=on, after=1),
            reset(on=on),
            answer(500, "InternalError", on=on),
        )
    ]
    faults = Faults(*passing)
    secrets: set[str] = set()
    shown: list[str] = []
    async with opened(
        endpoint,
        container,
        credential,
        lean_lane=lean_lane,
        write_mode=write_mode,
        verify_tls=False,
        retry=RetrySettings(retries=8, first_delay_seconds=0.001),
        wrap_transport=lambda inner: Overheard(faults.wrap(inner), secrets),
    ) as used:
        await every_operation(used)
        with suppress(UnsupportedMethodError):
            url = await used.url_for("/a")
            secrets.update(parse_qs(urlsplit(url).query)["sig"])
        assert sum(fault.struck for fault in passing) > 20
        for fault in (
            answer(403, "AuthenticationFailed", times=None),
            answer(200, times=None, body=b"<malformed"),
        ):
            faults.faults = [fault]
            for operation in OPERATIONS.values():
                try:
                    await operation(used, "/a")
                except StorageDriverError as error:
                    shown += traceback.format_exception(error)
                    shown.append(repr(error))
        shown += [repr(used), repr(used.stats())]
    text = "\n".join([*shown, debug_log(), telemetry.text(), *capfd.readouterr()])
    for evidence in (
        "azdriver.wire Put Blob: 201",  # our line of a request
        "azdriver azure: put_content /a/content: ok",  # of an operation
        "azdriver.http",  # the SDK's own
        '"name": "put_content azure"',
        '"error.type": "BackendError"',
        "azdriver.operation.duration",
        "DriverStats(",
        "AuthenticationFailed",
    ):
        assert evidence in text
    assert_no_secret(text, credential)
    assert secrets
    for secret in secrets:
        assert secret not in text
        assert quote(secret, safe="") not in text


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_logged_in_normal_work(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
) -> None:
    credential = credentials(azurite_server, container)[kind]
    async with opened(azurite_server.blob_endpoint, container, credential) as used:
        await every_operation(used)
        if isinstance(credential, SharedKey):
            await used.url_for("/a")
    text = debug_log()
    # The logs are really there: ours, and the SDK's of each request.
    assert "azdriver azure: put_content /a/content: ok" in text
    assert "azdriver.http" in text
    assert "x-ms-version" in text
    assert_no_secret(text, credential)


# Azurite answers 500 to a batch with an account SAS, which the SDK warns of: not normal work.
@pytest.mark.parametrize("kind", ["account key", "container SAS"])
async def test_nothing_is_logged_above_debug_in_normal_work(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    credential = credentials(azurite_server, container)[kind]
    async with opened(azurite_server.blob_endpoint, container, credential) as used:
        await every_operation(used)
    # asyncio's own debug mode tells of slow callbacks on a busy machine.
    assert [r for r in caplog.records if r.levelno > logging.DEBUG and r.name != "asyncio"] == []
    assert "sig=" not in caplog.text
    assert_no_secret(caplog.text, credential)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_logged_when_bodies_are_cut_and_resumed(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
) -> None:
    credential = credentials(azurite_server, container)[kind]
    content = os.urandom(100_000)
    await driver.put_content("/a", content)
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        async with opened(proxy.endpoint, container, credential) as cut:
            proxy.cut_answers_after(30_000, times=3)
            assert await cut.get_content("/a") == content
    assert_no_secret(debug_log(), credential)


async def test_no_secret_is_in_a_repr(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    for credential in credentials(azurite_server, container).values():
        async with opened(azurite_server.blob_endpoint, container, credential) as used:
            shown = [repr(it) for it in (used, used.options, credential, used._clients)]
            shown += [str(used), str(used.options)]
            async with used.writer("/a") as writer:
                shown.append(repr(writer))
            async with used.reader("/a") as reader:
                shown.append(repr(reader))
            shown.append(repr(used.walk("/")))
        for text in shown:
            assert_no_secret(text, credential)
            assert "sig=" not in text
