"""Credentials of each kind, and the search for what of them was shown."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, quote

from azure.storage.blob import (
    AccountSasPermissions,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from azdriver import AzureBlobDriver, AzureBlobOptions
from azdriver.azureblob import RetrySettings, SasToken, SharedKey
from azdriver.azureblob.client import WrapTransport
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.tokens import LocalCredential

__all__ = [
    "KINDS",
    "Credential",
    "account_sas",
    "assert_no_secret",
    "container_sas",
    "credentials",
    "opened",
]

Credential: TypeAlias = SharedKey | SasToken | LocalCredential
KINDS: Final = ("account key", "container SAS", "account SAS")
FAST: Final = RetrySettings(retries=1, first_delay_seconds=0.01)


def container_sas(server: AzuriteServer, container: str) -> str:
    return generate_container_sas(
        server.account_name,
        container,
        account_key=server.account_key,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def account_sas(server: AzuriteServer, container: str = "") -> str:
    """It opens every container of the account: only the driver keeps to one."""
    return generate_account_sas(
        server.account_name,
        server.account_key,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True
        ),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def credentials(server: AzuriteServer, container: str) -> dict[str, SharedKey | SasToken]:
    return {
        "account key": SharedKey(server.account_name, server.account_key),
        "container SAS": SasToken(container_sas(server, container)),
        "account SAS": SasToken("?" + account_sas(server)),
    }


def secrets_of(credential: Credential) -> list[str]:
    """What must not be shown, in each spelling that it may have."""
    if isinstance(credential, SharedKey):
        key = credential.account_key
        raw = base64.b64decode(key)
        return [key, quote(key), quote(key, safe=""), raw.hex(), repr(raw)[2:-1], key[:24]]
    if isinstance(credential, LocalCredential):
        return [token.token for token in credential.issued]
    [signature] = parse_qs(credential.token.lstrip("?"))["sig"]
    return [signature, quote(signature, safe=""), signature[:24], credential.token]


def assert_no_secret(text: str, *credentials: Credential) -> None:
    for credential in credentials:
        for secret in secrets_of(credential):
            assert secret not in text
    # The names of what is hidden may be shown, their values not.
    assert not re.search(r"sig=(?!REDACTED)", text)
    assert not re.search(r"SharedKey [a-z0-9]+:", text)  # an Authorization header


@asynccontextmanager
async def opened(
    endpoint: str,
    container: str,
    credential: Credential,
    *,
    wrap_transport: WrapTransport | None = None,
    **options: Any,
) -> AsyncIterator[AzureBlobDriver]:
    async with AzureBlobDriver(
        AzureBlobOptions(
            **{
                "account_url": endpoint,
                "container": container,
                "credential": credential,
                "retry": FAST,
                **options,
            }
        ),
        wrap_transport=wrap_transport,
    ) as driver:
        yield driver
