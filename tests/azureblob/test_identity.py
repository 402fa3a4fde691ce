"""Credentials that azure-identity makes, by each way to ask for them, against Azurite."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    ConfigurationError,
    StorageDriver,
    from_registry_config,
    from_url,
)
from azdriver.azureblob import ClientSecret, DefaultCredential
from azdriver.azureblob import options as options_module
from azdriver.azureblob.tokens import STORAGE_SCOPE
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.tokens import access_token

SECRET = "c2VjcmV0LWNsaWVudC1zZWNyZXQ~"


@pytest.mark.parametrize("credential", [ClientSecret("t", "c", SECRET), DefaultCredential()])
def test_without_azure_identity_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, credential: ClientSecret | DefaultCredential
) -> None:
    monkeypatch.setattr(options_module, "find_spec", lambda name: None)
    extra = r"pip install 'azdriver\[identity\]'"
    with pytest.raises(ConfigurationError, match=extra) as caught:
        AzureBlobOptions(
            account_url="https://host/account", container="registry", credential=credential
        )
    assert caught.value.parameter == "credential"
    assert SECRET not in str(caught.value)
    given = {
        "accountname": "account",
        "container": "registry",
        "credentials": {"type": "default_credentials"},
    }
    with pytest.raises(ConfigurationError, match=extra) as caught:
        AzureBlobDriver.from_parameters(given)
    assert caught.value.parameter == "credentials"


@asynccontextmanager
async def serving(
    *routes: web.RouteDef, certificate: tuple[Path, Path] | None = None
) -> AsyncIterator[str]:
    """A web server on localhost; its address."""
    application = web.Application()
    application.add_routes(routes)
    context: ssl.SSLContext | None = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        yield f"{'https' if certificate else 'http'}://localhost:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[web.Request]]:
    """The managed identity of an App Service, which is a local server of tokens; its requests."""
    requests: list[web.Request] = []

    async def token(request: web.Request) -> web.Response:
        requests.append(request)
        given = access_token()
        return web.json_response(
            {
                "access_token": given.token,
                "expires_on": str(given.expires_on),
                "resource": request.query["resource"],
                "token_type": "Bearer",
            }
        )

    for name in list(os.environ):
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    async with serving(web.get("/msi/token", token)) as address:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", SECRET)
        yield requests


async def writes_reads_and_signs(driver: StorageDriver) -> None:
    async with driver:
        await driver.put_content("/a", b"content")
        assert await driver.get_content("/a") == b"content"
        assert "skoid=" in await driver.url_for("/a")
        await driver.delete("/a")
        assert await driver.list("/") == []


@pytest.fixture
def parameters(azurite_with_tokens: AzuriteServer, container: str) -> dict[str, Any]:
    return {
        "accountname": azurite_with_tokens.account_name,
        "serviceurl": azurite_with_tokens.blob_endpoint,
        "container": container,
        "skipverify": True,
    }


def url_of(parameters: dict[str, Any], **more: str) -> str:
    query = urlencode({"serviceurl": parameters["serviceurl"], "skipverify": "true", **more})
    return f"azure://{parameters['accountname']}/{parameters['container']}?{query}"


class TestDefaultCredential:
    async def _check(self, driver: StorageDriver, asked: list[web.Request]) -> None:
        await writes_reads_and_signs(driver)
        [request] = asked
        assert request.headers["X-IDENTITY-HEADER"] == SECRET
        assert request.query["resource"] == "https://storage.azure.com"

    async def test_by_the_constructor(
        self, parameters: dict[str, Any], asked: list[web.Request]
    ) -> None:
        options = AzureBlobOptions(
            account_url=parameters["serviceurl"],
            container=parameters["container"],
            credential=DefaultCredential(),
            verify_tls=False,
        )
        await self._check(AzureBlobDriver(options), asked)
        assert "client_id" not in asked[0].query

    async def test_by_a_connection_string_without_one(
        self, parameters: dict[str, Any], asked: list[web.Request]
    ) -> None:
        driver = AzureBlobDriver.from_connection_string(
            f"BlobEndpoint={parameters['serviceurl']}",
            parameters["container"],
            credential=DefaultCredential(),
            verify_tls=False,
        )
        await self._check(driver, asked)

    async def test_by_parameters(
        self, parameters: dict[str, Any], asked: list[web.Request]
    ) -> None:
        parameters["credentials"] = {"type": "default_credentials"}
        await self._check(AzureBlobDriver.from_parameters(parameters), asked)

    async def test_by_the_registrys_configuration(
        self, parameters: dict[str, Any], asked: list[web.Request]
    ) -> None:
        driver = from_registry_config(
            text=json.dumps({"version": 0.1, "storage": {"azure": parameters}}),
            environ={"REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE": "default_credentials"},
        )
        await self._check(driver, asked)

    @pytest.mark.parametrize("more", [{}, {"credentials.type": "default_credentials"}])
    async def test_by_an_url(
        self, parameters: dict[str, Any], asked: list[web.Request], more: dict[str, str]
    ) -> None:
        await self._check(from_url(url_of(parameters, **more), environ={}), asked)

    async def test_by_the_environment(
        self, parameters: dict[str, Any], asked: list[web.Request]
    ) -> None:
        environ = {
            "AZURE_STORAGE_AUTH_MODE": "login",
            "AZURE_STORAGE_ACCOUNT": parameters["accountname"],
            "AZURE_STORAGE_SERVICE_ENDPOINT": parameters["serviceurl"],
            "AZURE_STORAGE_KEY": "bm90IHVzZWQ=",
        }
        driver = AzureBlobDriver.from_environment(
            parameters["container"], environ=environ, verify_tls=False
        )
        await self._check(driver, asked)

    @pytest.mark.parametrize("how", ["constructor", "parameters", "url", "environment"])
    async def test_a_user_assigned_identity_is_named(
        self,
        parameters: dict[str, Any],
        asked: list[web.Request],
        monkeypatch: pytest.MonkeyPatch,
        how: str,
    ) -> None:
        driver: StorageDriver
        if how == "constructor":
            options = AzureBlobOptions(
                account_url=parameters["serviceurl"],
                container=parameters["container"],
                credential=DefaultCredential(client_id="an-identity"),
                verify_tls=False,
            )
            driver = AzureBlobDriver(options)
        elif how == "parameters":
            parameters["credentials"] = {"type": "default_credentials", "clientid": "an-identity"}
            driver = AzureBlobDriver.from_parameters(parameters)
        elif how == "url":
            more = {
                "credentials.type": "default_credentials",
                "credentials.clientid": "an-identity",
            }
            driver = from_url(url_of(parameters, **more), environ={})
        else:
            monkeypatch.setenv("AZURE_CLIENT_ID", "an-identity")
            driver = from_url(url_of(parameters))
        await self._check(driver, asked)
        assert asked[0].query["client_id"] == "an-identity"

    async def test_nothing_is_logged_at_info(
        self,
        parameters: dict[str, Any],
        asked: list[web.Request],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        await self._check(from_url(url_of(parameters), environ={}), asked)
        assert caplog.record_tuples == []


# In a process of its own: which certificates are trusted is settled when aiohttp is imported. It
# prints at DEBUG all that is logged.
CHILD = """
import asyncio, json, logging, sys
import azdriver
from azdriver import AzureBlobDriver, AzureBlobOptions
from azdriver.azureblob import ClientSecret

given = json.load(sys.stdin)
parameters = given["parameters"]
names = ("tenantid", "clientid", "secret")
WAYS = {
    "parameters": lambda: AzureBlobDriver.from_parameters(parameters),
    "constructor": lambda: AzureBlobDriver(
        AzureBlobOptions(
            account_url=parameters["serviceurl"],
            container=parameters["container"],
            credential=ClientSecret(*(parameters["credentials"][name] for name in names)),
        )
    ),
    "url": lambda: azdriver.from_url(given["url"]),
    "environment": lambda: AzureBlobDriver.from_environment(parameters["container"]),
    "registry": lambda: azdriver.from_registry_config(
        text=json.dumps({"storage": {"azure": parameters}})
    ),
}

async def main() -> None:
    for way in given["ways"]:
        async with WAYS[way]() as driver:
            await driver.put_content("/a", b"content")
            assert await driver.get_content("/a") == b"content"
            assert "skoid=" in await driver.url_for("/a")
            print("done", way)
            logging.debug("%r", driver)

logging.basicConfig(level=logging.DEBUG)
try:
    asyncio.run(main())
except azdriver.StorageDriverError as error:
    logging.exception("failed")
    print(error)
"""
WAYS = ["parameters", "constructor", "url", "environment", "registry"]


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
async def test_a_client_secret_signs_in(
    azurite_with_tokens: AzuriteServer,
    container: str,
    trusted_certificate: tuple[Path, Path],
    right: bool,
) -> None:
    issued: list[str] = []
    forms: list[dict[str, Any]] = []

    async def token(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        if forms[-1]["client_secret"] != SECRET:
            description = "AADSTS7000215: Invalid client secret provided. Trace ID: 1"
            refusal = {"error": "invalid_client", "error_description": description}
            return web.json_response(refusal, status=401)
        issued.append(access_token().token)
        return web.json_response(
            {"token_type": "Bearer", "expires_in": 3599, "access_token": issued[-1]}
        )

    secret = SECRET if right else f"wrong-{SECRET}"
    parameters: dict[str, Any] = {
        "accountname": azurite_with_tokens.account_name,
        "serviceurl": azurite_with_tokens.blob_endpoint,
        "container": container,
        "credentials": {
            "type": "client_secret",
            "tenantid": "a-tenant",
            "clientid": "a-client",
            "secret": secret,
        },
    }
    more = {f"credentials.{name}": value for name, value in parameters["credentials"].items()}
    ways = WAYS if right else WAYS[:1]
    given = {"parameters": parameters, "url": url_of(parameters, **more), "ways": ways}
    route = web.post("/a-tenant/oauth2/v2.0/token", token)
    async with serving(route, certificate=trusted_certificate) as address:
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-P", "-W", "error", "-X", "dev", "-c", CHILD],
            input=json.dumps(given),
            capture_output=True,
            encoding="utf-8",
            env={
                **os.environ,
                "AZURE_AUTHORITY_HOST": address,
                "SSL_CERT_FILE": str(trusted_certificate[0]),
                "AZURE_STORAGE_ACCOUNT": parameters["accountname"],
                "AZURE_STORAGE_SERVICE_ENDPOINT": parameters["serviceurl"],
                "AZURE_TENANT_ID": "a-tenant",
                "AZURE_CLIENT_ID": "a-client",
                "AZURE_CLIENT_SECRET": secret,
            },
            check=False,
            timeout=60,
        )
    output = ran.stdout + ran.stderr
    assert ran.returncode == 0, output
    # Nothing was left open.
    assert "ResourceWarning" not in output
    assert "Exception ignored" not in output
    assert len(forms) == len(ways)
    for form in forms:
        assert form["client_id"] == "a-client"
        assert form["scope"] == STORAGE_SCOPE
    if right:
        assert ran.stdout.split("\n") == [*(f"done {way}" for way in WAYS), ""]
    else:
        assert ran.stdout == (
            "azure: open failed: no answer; no token from ClientSecretCredential: "
            "ClientAuthenticationError AADSTS7000215\n"
        )
    assert "DEBUG" in output
    for shown in (secret, *issued):
        assert shown not in output
