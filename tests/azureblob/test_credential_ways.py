"""Account keys, SAS tokens and none at all, by each way to give them, against Azurite.

``test_identity.py`` has what azure-identity makes, ``test_credentials.py`` what is behind tokens.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import pytest
from azure.storage.blob import (
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import ContainerClient

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    BackendError,
    ConfigurationError,
    StorageDriver,
    StorageDriverError,
    UnsupportedMethodError,
    from_registry_config,
    from_url,
)
from azdriver.azureblob import Anonymous, SasToken, SharedKey
from azdriver.azureblob.options import Credential
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from azdriver.testing.tokens import LocalCredential

Server = AzuriteServer
# What each kind of credential is to be able to do.
KINDS: Final[dict[str, set[str]]] = {
    "account key": {"write", "list", "delete", "sign"},
    "account SAS": {"write", "list", "delete"},
    "container SAS": {"write", "list", "delete"},
    "blob SAS": {"write"},
    "anonymous": set(),
}
WAYS: Final = ("constructor", "connection string", "parameters", "URL", "environment", "registry")
# Azure's tools have no variable that asks for no credential, and a string without one is no way.
NO_WAY: Final = {("anonymous", "environment"), ("anonymous", "connection string in environment")}


def sas_of(server: Server, container: str, kind: str) -> str:
    expiry = datetime.now(UTC) + timedelta(hours=1)
    account, key = server.account_name, server.account_key
    if kind == "account SAS":
        return generate_account_sas(account, key, "sco", "racwdl", expiry)
    if kind == "container SAS":
        return generate_container_sas(
            account, container, account_key=key, permission="racwdl", expiry=expiry
        )
    assert kind == "blob SAS"
    return generate_blob_sas(
        account, container, "a/b", account_key=key, permission="racwd", expiry=expiry
    )


def made(server: Server, container: str, kind: str, way: str) -> StorageDriver:
    """The driver, with a credential of this kind given in this way."""
    credential: Credential
    parameters: dict[str, Any] = {}
    environ: dict[str, str] = {}
    string = f"BlobEndpoint={server.blob_endpoint};AccountName={server.account_name}"
    if kind == "anonymous":
        credential = Anonymous()
        parameters["credentials"] = {"type": "anonymous"}
    elif kind == "account key":
        credential = SharedKey(server.account_name, server.account_key)
        parameters["accountkey"] = environ["AZURE_STORAGE_KEY"] = server.account_key
        string += f";AccountKey={server.account_key}"
    else:
        token = sas_of(server, container, kind)
        credential = SasToken(token)
        parameters["sastoken"] = environ["AZURE_STORAGE_SAS_TOKEN"] = token
        string += f";SharedAccessSignature={token}"
    if way == "connection string in environment":
        environ = {"AZURE_STORAGE_CONNECTION_STRING": string}
        return from_url(f"azure://{server.account_name}/{container}", environ=environ)
    if way == "connection string":
        if kind == "anonymous":
            return AzureBlobDriver.from_connection_string(string, container, credential=credential)
        return AzureBlobDriver.from_connection_string(string, container)
    if way == "constructor":
        return AzureBlobDriver(
            AzureBlobOptions(
                account_url=server.blob_endpoint, container=container, credential=credential
            )
        )
    if way == "environment":
        environ["AZURE_STORAGE_ACCOUNT"] = server.account_name
        environ["AZURE_STORAGE_SERVICE_ENDPOINT"] = f"{server.blob_endpoint}/"
        return AzureBlobDriver.from_environment(container, environ=environ)
    parameters["serviceurl"] = server.blob_endpoint
    if way == "URL":
        credentials = parameters.pop("credentials", {})
        query = urlencode({**parameters, **{f"credentials.{k}": v for k, v in credentials.items()}})
        return from_url(f"azure://{server.account_name}/{container}?{query}", environ={})
    parameters |= {"accountname": server.account_name, "container": container}
    if way == "parameters":
        return AzureBlobDriver.from_parameters(parameters)
    return from_registry_config(text=json.dumps({"storage": {"azure": parameters}}), environ={})


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("way", [*WAYS, "connection string in environment"])
@pytest.mark.parametrize("kind", KINDS)
async def test_it_opens_writes_reads_and_signs_or_says_why_not(
    azurite_server: Server,
    container: str,
    driver: AzureBlobDriver,
    http: aiohttp.ClientSession,
    kind: str,
    way: str,
) -> None:
    if (kind, way) in NO_WAY:
        with pytest.raises(ConfigurationError, match="in the environment"):
            made(azurite_server, container, kind, way)
        return
    can = KINDS[kind]
    await driver.put_content("/a/b", b"before")
    if kind == "anonymous":
        async with ContainerClient.from_connection_string(
            azurite_server.connection_string, container
        ) as sdk:
            await sdk.set_container_access_policy({}, public_access="blob")
    async with made(azurite_server, container, kind, way) as limited:
        assert await limited.get_content("/a/b") == b"before"
        if "write" in can:
            await limited.put_content("/a/b", b"after")
            async with limited.reader("/a/b", 2) as reader:
                assert await reader.read() == b"ter"
        else:
            with pytest.raises(StorageDriverError):
                await limited.put_content("/a/b", b"after")
        if "list" in can:
            assert await limited.list("/") == ["/a"]
        else:
            with pytest.raises(StorageDriverError):
                await limited.list("/")
        if "sign" in can:
            async with http.get(await limited.url_for("/a/b")) as response:
                assert await response.read() == b"after"
        else:
            with pytest.raises(UnsupportedMethodError, match="cannot sign; an account key or"):
                await limited.url_for("/a/b")
        if "delete" in can:
            await limited.delete("/a")
            assert await driver.list("/") == []


async def test_a_connection_string_goes_with_a_credential_of_another_place(
    azurite_with_tokens: Server, container: str
) -> None:
    async with AzureBlobDriver.from_connection_string(
        f"BlobEndpoint={azurite_with_tokens.blob_endpoint}",
        container,
        credential=LocalCredential(),
        verify_tls=False,
    ) as driver:
        await driver.put_content("/a", b"content")
        assert await driver.get_content("/a") == b"content"
        assert "skoid=" in await driver.url_for("/a")


class TestTheSasOfOneBlob:
    """It may not even look at the container, so that nothing is asked on opening."""

    @pytest.fixture
    def opened(
        self, azurite_server: Server, container: str, requests: list[RecordedRequest]
    ) -> Callable[[], AzureBlobDriver]:
        return lambda: AzureBlobDriver(
            AzureBlobOptions(
                account_url=azurite_server.blob_endpoint,
                container=container,
                credential=SasToken(sas_of(azurite_server, container, "blob SAS")),
            ),
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        )

    async def test_opening_asks_nothing(
        self, driver: AzureBlobDriver, opened: Any, requests: list[RecordedRequest]
    ) -> None:
        async with opened():
            assert requests == []

    async def test_a_stream_is_written_and_read(self, driver: AzureBlobDriver, opened: Any) -> None:
        async with opened() as limited:
            async with limited.writer("/a/b") as writer:
                await writer.write(b"a stream")
                await writer.commit()
            assert await limited.get_content("/a/b") == b"a stream"
            assert (await limited.stat("/a/b")).size == 8
        assert await driver.get_content("/a/b") == b"a stream"

    async def test_no_other_blob_is_reached(self, driver: AzureBlobDriver, opened: Any) -> None:
        await driver.put_content("/a/c", b"another")
        async with opened() as limited:
            for call in (
                limited.get_content("/a/c"),
                limited.put_content("/a/c", b""),
                limited.delete("/a/c"),
                limited.stat("/a"),
            ):
                with pytest.raises(BackendError) as caught:
                    await call
                assert caught.value.status == 403
        assert await driver.get_content("/a/c") == b"another"


@pytest.mark.parametrize(
    ("token", "is_of_one_blob"),
    [
        ("sv=2021-12-02&sr=b&sig=x", True),
        ("?sr=bs&sig=x", True),
        ("sr=bv&sig=x", True),
        ("sr=c&sig=x", False),
        ("ss=b&srt=sco&sig=x", False),
        ("sig=sr%3Db", False),
    ],
)
def test_a_token_tells_whether_it_is_of_one_blob(token: str, is_of_one_blob: bool) -> None:
    assert SasToken(token).is_of_one_blob is is_of_one_blob
