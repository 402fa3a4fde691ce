"""Connection strings of storage accounts, as the portal shows them."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from azdriver.azureblob.options import (
    DRIVER_NAME,
    AzureBlobOptions,
    Credential,
    SasToken,
    SharedKey,
)
from azdriver.errors import ConfigurationError

__all__ = [
    "DEFAULT_REALM",
    "Connection",
    "account_of",
    "options_from_connection_string",
    "parse_connection_string",
]

DEFAULT_REALM: Final = "core.windows.net"

# https://learn.microsoft.com/azure/storage/common/storage-use-azurite: public, the same everywhere.
_DEVELOPMENT_STORAGE: Final = (
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_ENDPOINT: Final = re.compile(
    r"https?://(?:(?P<host>[a-z0-9-]+)(?:\.z[0-9]+)?\.blob\.[^/]+|[^/]+/(?P<path>[a-z0-9-]+))/?",
    re.IGNORECASE,
)


class Connection(NamedTuple):
    """What a connection string says; its repr shows no secret."""

    account_url: str
    account_name: str | None
    credential: SharedKey | SasToken | None


def options_from_connection_string(
    connection_string: str,
    container: str,
    *,
    credential: Credential | None = None,
    **options: Any,
) -> AzureBlobOptions:
    """Options out of a storage account's connection string.

    Args:
        connection_string: as the portal shows it, with ``AccountKey`` or
            ``SharedAccessSignature``; ``UseDevelopmentStorage=true`` is Azurite on its own port.
        container: the container's name.
        credential: for a connection string that has none.
        **options: any other attribute of :class:`AzureBlobOptions`.

    Raises:
        ConfigurationError: naming what is missing, contradictory or wrong.
    """
    connection = parse_connection_string(connection_string)
    if connection.credential is None and credential is None:
        raise _wrong("has neither AccountKey nor SharedAccessSignature")
    if connection.credential is not None and credential is not None:
        reason = "contradicts the credential in the connection string"
        raise ConfigurationError(DRIVER_NAME, "credential", reason)
    try:
        return AzureBlobOptions(
            account_url=connection.account_url,
            container=container,
            credential=connection.credential or credential,  # type: ignore[arg-type]
            **options,
        )
    except ConfigurationError as error:
        if error.parameter != "account_url":
            raise
        raise _wrong(f"has a BlobEndpoint that {error.reason}") from None


def account_of(account_url: str) -> str | None:
    """The account that an endpoint is of, if it says so: a domain of one's own does not."""
    match = _ENDPOINT.fullmatch(account_url)
    return (match["host"] or match["path"]) if match is not None else None


def parse_connection_string(connection_string: str) -> Connection:
    """What a connection string says.

    Raises:
        ConfigurationError: it is none, or says too little or contradictory things.
    """
    if not isinstance(connection_string, str):
        raise _wrong(f"is to be a text, not {type(connection_string).__name__}")
    fields: dict[str, str] = {}
    for part in connection_string.strip().rstrip(";").split(";"):
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            # Not the part itself: it may be the rest of a key.
            raise _wrong("is to be of parts NAME=VALUE with ';' between them")
        fields[key.strip().lower()] = value.strip()
    if fields.get("usedevelopmentstorage", "").lower() == "true":
        return parse_connection_string(_DEVELOPMENT_STORAGE)
    account = fields.get("accountname", "")
    endpoint = fields.get("blobendpoint", "")
    if not endpoint:
        if not account:
            raise _wrong("has neither AccountName nor BlobEndpoint")
        scheme = fields.get("defaultendpointsprotocol", "https")
        suffix = fields.get("endpointsuffix", DEFAULT_REALM)
        endpoint = f"{scheme}://{account}.blob.{suffix}"
    endpoint = endpoint.rstrip("/")
    if "sharedaccesssignature" in fields:
        if fields.get("accountkey"):
            raise _wrong("has both AccountKey and SharedAccessSignature")
        return Connection(
            endpoint, account or account_of(endpoint), SasToken(fields["sharedaccesssignature"])
        )
    if "accountkey" in fields:
        if not account:
            raise _wrong("has no AccountName")
        return Connection(endpoint, account, SharedKey(account, fields["accountkey"]))
    return Connection(endpoint, account or account_of(endpoint), None)


def _wrong(reason: str) -> ConfigurationError:
    return ConfigurationError(DRIVER_NAME, "connectionstring", reason)
