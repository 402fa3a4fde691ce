"""URLs that anyone can read a blob by."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import quote

from azure.core.exceptions import DecodeError
from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient

from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import (
    DRIVER_NAME,
    Anonymous,
    AzureBlobOptions,
    SasToken,
    SharedKey,
)
from azdriver.azureblob.retry import Retrier
from azdriver.errors import InvalidExpiryError, UnsupportedMethodError
from azdriver.paths import StoragePath

__all__ = ["Delegation", "UrlSigner", "signed_url", "start_of_signature"]

# A clock that is ahead of the service's would make signatures that are not valid yet.
CLOCK_SKEW: Final = timedelta(minutes=15)
# No user delegation key is good for longer.
# https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
LONGEST_KEY: Final = timedelta(days=7)
# What is asked for, unless an URL is to be good for longer, and how long before its end the key
# is renewed.
KEY_LIFETIME: Final = timedelta(days=1)
KEY_RENEWAL: Final = timedelta(hours=1)


def start_of_signature() -> datetime:
    """From when on a signature is valid: an account's policy may refuse those that do not say.

    Source: https://learn.microsoft.com/azure/storage/common/sas-expiration-policy
    """
    return datetime.now(UTC) - CLOCK_SKEW


class Delegation(NamedTuple):
    """What the account lets its holder sign, with a key whose repr does not show it."""

    account_name: str
    key: UserDelegationKey
    until: datetime


class UrlSigner:
    """Signs URLs with what the credential is: an account key, or a user delegation key.

    The latter is asked for with a token, by one task at a time, and kept.
    """

    def __init__(
        self, options: AzureBlobOptions, service: BlobServiceClient, retrier: Retrier
    ) -> None:
        self._options = options
        self._service = service
        self._retrier = retrier
        self._lock = asyncio.Lock()
        self._delegation: Delegation | None = None

    async def url(self, path: StoragePath, name: BlobName, expiry: datetime) -> str:
        """A read-only SAS for one blob.

        Raises:
            UnsupportedMethodError: the credential cannot sign.
            InvalidExpiryError: later than a user delegation key can be good for.
            AzureError: there is no user delegation key to be had.
        """
        credential = self._options.credential
        if isinstance(credential, SharedKey):
            return signed_url(self._options, name, expiry, credential)
        if isinstance(credential, SasToken | Anonymous):
            who = "a SAS token" if isinstance(credential, SasToken) else "an anonymous caller"
            raise UnsupportedMethodError(
                DRIVER_NAME,
                path,
                "url_for",
                f"{who} cannot sign; an account key or a token credential can",
            )
        return signed_url(self._options, name, expiry, await self._until(path, expiry))

    async def _until(self, path: StoragePath, expiry: datetime) -> Delegation:
        """One that is good until then: an URL ends with the key that it was signed with."""
        now = datetime.now(UTC)
        if expiry > now + LONGEST_KEY:
            raise InvalidExpiryError(
                DRIVER_NAME,
                path,
                f"more than {LONGEST_KEY.days} days ahead, the longest with a token credential",
            )
        # In UTC, since earlier SDKs take the digits of any zone.
        needed = max(expiry.astimezone(UTC), now + KEY_RENEWAL)
        if self._delegation is None or self._delegation.until < needed:
            async with self._lock:
                # Another task may have renewed it while this one waited.
                if self._delegation is None or self._delegation.until < needed:
                    self._delegation = await self._renewed(path, max(needed, now + KEY_LIFETIME))
        return self._delegation

    async def _renewed(self, path: StoragePath, until: datetime) -> Delegation:
        account_name = self._service.account_name
        if not account_name:
            raise UnsupportedMethodError(
                DRIVER_NAME, path, "url_for", "account_url does not tell the account's name"
            )

        async def send() -> UserDelegationKey:
            # Not later than the beginning of any URL that it signs.
            return await self._service.get_user_delegation_key(start_of_signature(), until)

        async def look() -> None:
            return None  # another key does no harm

        key = await self._retrier.settle(send, look)
        if not (key.value and key.signed_oid and key.signed_tid):
            raise DecodeError("malformed answer: no user delegation key")
        return Delegation(account_name, key, until)


def signed_url(
    options: AzureBlobOptions, name: BlobName, expiry: datetime, signer: SharedKey | Delegation
) -> str:
    """A read-only SAS for one blob, made locally."""
    # A signature for https alone is refused over the http of an emulator.
    is_https = options.account_url.startswith("https://")
    sas = generate_blob_sas(
        signer.account_name,
        options.container,
        name,
        account_key=signer.account_key if isinstance(signer, SharedKey) else None,
        user_delegation_key=None if isinstance(signer, SharedKey) else signer.key,
        permission=BlobSasPermissions(read=True),
        start=start_of_signature(),
        expiry=expiry.astimezone(UTC),  # earlier SDKs take the digits of any zone
        protocol="https" if is_https else None,
    )
    return f"{options.account_url}/{options.container}/{quote(name, safe='/')}?{sas}"
