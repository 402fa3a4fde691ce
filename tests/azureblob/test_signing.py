"""URLs by which anyone can read one blob, and do nothing else."""

from __future__ import annotations

import os
import ssl
import string
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    BackendError,
    UnsupportedMethodError,
)
from azdriver.azureblob import RetrySettings, SasToken, SharedKey
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.signing import signed_url
from azdriver.testing.azurite import AzuriteServer, azurite

LETTERS = string.ascii_letters + string.digits + "._-"
PATHS = [
    "/a",
    f"/{LETTERS}",
    *(f"/{letter}x{letter}/{letter}{letter}{letter}" for letter in "._-"),
    "/a./b.",
    "/.a/..b/...",
    "/-/_/--__..",
    "/0/1/2/3/4/5/6/7/8/9",
    "/AbC/aBc",
    "/" + "/".join("s" * 7 for _ in range(125)),
    "/" + "a" * 1000,
]
LAYOUTS = [
    {"root_directory": "", "legacy_root_prefix": False},
    {"root_directory": "some/root", "legacy_root_prefix": False},
    {"root_directory": "", "legacy_root_prefix": True},
    {"root_directory": "some/root", "legacy_root_prefix": True},
]


@pytest.fixture(params=LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
async def laid_out(
    request: pytest.FixtureRequest, azurite_server: AzuriteServer, container: str
) -> AsyncIterator[AzureBlobDriver]:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, **request.param
    ) as driver:
        yield driver


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client, which knows nothing of Azure."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_url_of_every_kind_of_path_opens_its_blob(
    laid_out: AzureBlobDriver, http: aiohttp.ClientSession
) -> None:
    for path in PATHS:
        await laid_out.put_content(path, path.encode())
    for path in PATHS:
        async with http.get(await laid_out.url_for(path)) as response:
            assert (response.status, await response.read()) == (200, path.encode())


segments = st.text(LETTERS, min_size=1, max_size=20).filter(lambda s: s not in (".", ".."))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(segments, min_size=1, max_size=5).map(lambda s: "/" + "/".join(s)))
async def test_the_url_of_any_path_opens_its_blob(
    driver: AzureBlobDriver, http: aiohttp.ClientSession, path: str
) -> None:
    await driver.put_content(path, path.encode())
    async with http.get(await driver.url_for(path)) as response:
        assert (response.status, await response.read()) == (200, path.encode())
    await driver.delete(path)


async def test_the_url_cannot_change_anything(
    laid_out: AzureBlobDriver, http: aiohttp.ClientSession
) -> None:
    await laid_out.put_content("/a/one", b"one")
    url = await laid_out.url_for("/a/one")
    block_blob = {"x-ms-blob-type": "BlockBlob"}
    for method, query, headers in (
        ("PUT", "", block_blob),
        ("PUT", "", {"x-ms-blob-type": "AppendBlob", "Content-Length": "0"}),
        ("PUT", "&comp=metadata", {"x-ms-meta-a": "b"}),
        ("PUT", "&comp=block&blockid=MDAwMA%3D%3D", {}),
        ("PUT", "&comp=snapshot", {}),
        ("PUT", "&comp=lease", {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "15"}),
        ("DELETE", "", {}),
    ):
        async with http.request(method, url + query, headers=headers) as response:
            assert response.status == 403, (method, query)
    assert await laid_out.get_content("/a/one") == b"one"


async def test_the_url_opens_nothing_else(
    laid_out: AzureBlobDriver, http: aiohttp.ClientSession, azurite_server: AzuriteServer
) -> None:
    await laid_out.put_content("/a/one", b"one")
    await laid_out.put_content("/a/one/below", b"below")
    await laid_out.put_content("/a/two", b"two")
    url = await laid_out.url_for("/a/one")
    signature = urlsplit(url).query
    container = f"{azurite_server.blob_endpoint}/{laid_out.options.container}"
    for other in (
        url.replace("/a/one?", "/a/two?"),
        url.replace("/a/one?", "/a/one/below?"),
        url.replace("/a/one?", "/a/On%65?"),
        f"{container}?restype=container&comp=list&{signature}",
        f"{container}?restype=container&{signature}",
        f"{azurite_server.blob_endpoint}?comp=list&{signature}",
        url.replace("sp=r", "sp=rwd"),
        url.partition("?")[0],
    ):
        async with http.get(other) as response:
            assert response.status in (403, 404)
            assert b"two" not in await response.read()


async def test_a_head_of_the_url_tells_the_size(
    laid_out: AzureBlobDriver, http: aiohttp.ClientSession
) -> None:
    await laid_out.put_content("/a", b"12345")
    for method in ("GET", "HEAD"):
        async with http.head(await laid_out.url_for("/a", method=method)) as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == "5"


async def test_part_of_the_blob_can_be_asked_for(
    driver: AzureBlobDriver, http: aiohttp.ClientSession
) -> None:
    """What a player, a resumed download or a registry's client does with it."""
    await driver.put_content("/a", b"0123456789")
    headers = {"Range": "bytes=3-5"}
    async with http.get(await driver.url_for("/a"), headers=headers) as response:
        assert (response.status, await response.read()) == (206, b"345")


async def test_the_blob_need_not_exist_yet(
    driver: AzureBlobDriver, http: aiohttp.ClientSession
) -> None:
    url = await driver.url_for("/later")
    async with http.get(url) as response:
        assert response.status == 404
    await driver.put_content("/later", b"now")
    async with http.get(url) as response:
        assert await response.read() == b"now"


async def test_the_signature_is_for_reading_one_blob_for_twenty_minutes(
    driver: AzureBlobDriver,
) -> None:
    before = datetime.now(UTC)
    url = await driver.url_for("/a")
    query = parse_qs(urlsplit(url).query)
    expiry = datetime.fromisoformat(query["se"][0])
    assert timedelta(minutes=19, seconds=58) < expiry - before < timedelta(minutes=20, seconds=2)
    assert query["sp"] == ["r"]
    assert query["sr"] == ["b"]
    assert "spr" not in query  # Azurite speaks http here
    # An account's policy may ask for a start; a client whose clock is behind may use it at once.
    assert before - datetime.fromisoformat(query["st"][0]) > timedelta(minutes=14, seconds=58)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))], ids=str)
async def test_an_expiry_in_another_zone_is_the_same_moment(
    driver: AzureBlobDriver, http: aiohttp.ClientSession, zone: timezone
) -> None:
    await driver.put_content("/a", b"x")
    expiry = (datetime.now(UTC) + timedelta(hours=1)).astimezone(zone)
    url = await driver.url_for("/a", expiry=expiry)
    signed = datetime.fromisoformat(parse_qs(urlsplit(url).query)["se"][0])
    assert signed == expiry.replace(microsecond=0)
    async with http.get(url) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("account_url", "protocol"),
    [
        ("https://account.blob.core.windows.net", ["https"]),
        ("https://account.blob.core.windows.net/", ["https"]),
        ("https://127.0.0.1:10000/account", ["https"]),
        ("http://127.0.0.1:10000/account", None),
    ],
)
def test_the_signature_is_for_https_alone_where_the_endpoint_is(
    account_url: str, protocol: list[str] | None
) -> None:
    key = SharedKey("account", "a2V5")
    options = AzureBlobOptions(account_url=account_url, container="registry", credential=key)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    url = signed_url(options, BlobName("root/a/b"), expiry, key)
    assert url.startswith(account_url.rstrip("/") + "/registry/root/a/b?")
    assert parse_qs(urlsplit(url).query).get("spr") == protocol


async def test_an_url_of_an_https_endpoint_works_there(
    tmp_path: Path, container: str, http: aiohttp.ClientSession, certificate: tuple[Path, Path]
) -> None:
    public, key = certificate
    environment = {name: value for name, value in os.environ.items() if name != "AZDRIVER_AZURITE"}
    async with azurite(
        certificate=public, key=key, host="localhost", environment=environment
    ) as server:
        assert server.blob_endpoint.startswith("https://")
        # Its certificate is nobody's: without being told so, the driver does not talk to it.
        none = RetrySettings(retries=0)
        with pytest.raises(BackendError, match="no connection"):
            async with AzureBlobDriver.from_connection_string(
                server.connection_string, container, retry=none
            ):
                pass
        async with AzureBlobDriver.from_connection_string(
            server.connection_string, container, verify_tls=False
        ) as driver:
            await driver.put_content("/a", b"content")
            assert await driver.get_content("/a") == b"content"
            url = await driver.url_for("/a")
            trusted = ssl.create_default_context(cafile=str(public))
            async with http.get(url, ssl=trusted) as response:
                assert (response.status, await response.read()) == (200, b"content")


async def test_a_sas_token_cannot_sign(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    token = generate_container_sas(
        azurite_server.account_name,
        container,
        account_key=azurite_server.account_key,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    options = AzureBlobOptions(
        account_url=azurite_server.blob_endpoint, container=container, credential=SasToken(token)
    )
    async with AzureBlobDriver(options) as limited:
        with pytest.raises(UnsupportedMethodError, match="a SAS token cannot sign") as caught:
            await limited.url_for("/a")
        assert "sig=" not in str(caught.value)
