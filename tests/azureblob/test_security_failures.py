"""What must not happen: a secret shown by a failure, in its text, its chain or a log."""

from __future__ import annotations

import base64
import gc
import os
import pickle
import re
import socket
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver, BackendError, StorageDriverError
from azdriver.azureblob import RetrySettings, SasToken, SharedKey
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.proxy import fault_proxy
from contract_calls import OPERATIONS
from shown_secrets import KINDS, assert_no_secret, credentials, opened


def wrong(credential: SharedKey | SasToken) -> SharedKey | SasToken:
    """One of the same kind that the service refuses."""
    if isinstance(credential, SharedKey):
        return SharedKey(credential.account_name, base64.b64encode(os.urandom(64)).decode())
    signature = quote(base64.b64encode(os.urandom(32)), safe="")
    return SasToken(re.sub(r"sig=[^&]*", f"sig={signature}", credential.token))


class Failures:
    """Each is to raise; what it raised is kept as it would be shown."""

    def __init__(
        self, server: AzuriteServer, container: str, credential: SharedKey | SasToken
    ) -> None:
        self.server = server
        self.container = container
        self.credential = credential
        self.wrong = wrong(credential)

    async def missing(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.get_content("/missing")

    async def missing_stat(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.stat("/missing")

    async def missing_move(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.move("/missing", "/a")

    async def wrong_credential(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.wrong):
            pass

    async def missing_container(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            async with ContainerClient.from_connection_string(
                self.server.connection_string, self.container
            ) as sdk:
                await sdk.delete_container()
            try:
                for operation in (OPERATIONS["delete"], OPERATIONS["writer"]):
                    with pytest.raises(BackendError):
                        await operation(driver, "/a")
                await driver.put_content("/a", b"x")
            finally:
                async with ContainerClient.from_connection_string(
                    self.server.connection_string, self.container
                ) as sdk:
                    await sdk.create_container()

    async def unreachable(self) -> None:
        async with opened("http://127.0.0.1:9/devstoreaccount1", self.container, self.credential):
            pass

    async def unknown_host(self) -> None:
        async with opened("http://host.invalid/account", self.container, self.credential):
            pass

    async def no_tls(self) -> None:
        endpoint = self.server.blob_endpoint.replace("http://", "https://")
        async with opened(endpoint, self.container, self.credential):
            pass

    async def connect_timeout(self) -> None:
        # The system takes the connection; nobody answers the TLS handshake.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"https://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                connect_timeout_seconds=0.1,
            ):
                pass

    async def read_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"http://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                read_timeout_seconds=0.1,
            ):
                pass

    async def attempt_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(
                f"http://127.0.0.1:{silent.getsockname()[1]}/account",
                self.container,
                self.credential,
                retry=RetrySettings(retries=0, attempt_seconds=0.1),
            ):
                pass

    async def pool_timeout(self) -> None:
        async with opened(
            self.server.blob_endpoint,
            self.container,
            self.credential,
            connections=1,
            pool_timeout_seconds=0.1,
        ) as driver:
            await driver.put_content("/large", bytes(8 * 1024 * 1024))
            async with driver.reader("/large"):
                await driver.get_content("/large")

    async def cut_request(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_requests_after(1, times=100)
                await driver.get_content("/a")

    async def cut_write(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_requests_after(1, times=100)
                await driver.put_content("/a", b"x")

    async def cut_listing(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.cut_answers_after(300, times=100)
                await driver.list("/")

    async def cut_answer(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                await driver.put_content("/a", b"x")
                proxy.cut_answers_after(50, times=100)
                await driver.get_content("/a")

    async def garbled_answer(self) -> None:
        async with fault_proxy(self.server.blob_endpoint) as proxy:
            async with opened(proxy.endpoint, self.container, self.credential) as driver:
                proxy.corrupt_answers_at(3, times=100)
                await driver.get_content("/a")

    async def refused_writes(self) -> None:
        async with opened(self.server.blob_endpoint, self.container, self.credential) as driver:
            await driver.put_content("/content", b"x")
            await OPERATIONS["writer, append"](driver, "/content")


FAILURES = [name for name in vars(Failures) if not name.startswith("_")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_no_secret_is_shown_by_a_failure(
    azurite_server: AzuriteServer,
    container: str,
    driver: AzureBlobDriver,
    debug_log: Callable[[], str],
    kind: str,
    failure: str,
) -> None:
    failures = Failures(azurite_server, container, credentials(azurite_server, container)[kind])
    with pytest.raises(StorageDriverError) as caught:
        await getattr(failures, failure)()
    error = caught.value
    shown = [
        "".join(traceback.format_exception(error, chain=True)),
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        str(pickle.loads(pickle.dumps(error))),
    ]
    cause: BaseException | None = error
    while cause is not None:
        # What a logger of errors shows of the chain, whether it was raised "from None" or not.
        shown += [str(cause), repr(cause)]
        cause = cause.__cause__ or cause.__context__
    shown.append(debug_log())
    del caught, error, cause
    gc.collect()
    assert_no_secret("\n".join(shown), failures.credential, failures.wrong)
