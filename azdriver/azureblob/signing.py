"""URLs that anyone can read a blob by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME, AzureBlobOptions, SharedKey
from azdriver.errors import UnsupportedMethodError
from azdriver.paths import StoragePath

__all__ = ["signed_url", "start_of_signature"]

# A clock that is ahead of the service's would make signatures that are not valid yet.
CLOCK_SKEW: Final = timedelta(minutes=15)


def start_of_signature() -> datetime:
    """From when on a signature is valid: an account's policy may refuse those that do not say.

    Source: https://learn.microsoft.com/azure/storage/common/sas-expiration-policy
    """
    return datetime.now(UTC) - CLOCK_SKEW


def signed_url(
    options: AzureBlobOptions, path: StoragePath, name: BlobName, expiry: datetime
) -> str:
    """A read-only SAS for one blob, made locally.

    Raises:
        UnsupportedMethodError: the credential cannot sign.
    """
    credential = options.credential
    if not isinstance(credential, SharedKey):
        raise UnsupportedMethodError(
            DRIVER_NAME, path, "url_for", "a SAS token cannot sign; an account key can"
        )
    # A signature for https alone is refused over the http of an emulator.
    is_https = options.account_url.startswith("https://")
    sas = generate_blob_sas(
        credential.account_name,
        options.container,
        name,
        account_key=credential.account_key,
        permission=BlobSasPermissions(read=True),
        start=start_of_signature(),
        expiry=expiry.astimezone(UTC),  # earlier SDKs take the digits of any zone
        protocol="https" if is_https else None,
    )
    return f"{options.account_url}/{options.container}/{quote(name, safe='/')}?{sas}"
