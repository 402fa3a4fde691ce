"""Bearer tokens: one for all requests of a driver, renewed ahead of its end, once.

azure-core's policy keeps a token and renews it under a lock, but each pipeline has a policy of its
own, and the members of a batch need the token too. All of them take it from here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError

from azdriver.azureblob.options import (
    DRIVER_NAME,
    Anonymous,
    AzureBlobOptions,
    ClientSecret,
    DefaultCredential,
    SasToken,
    SharedKey,
    TokenCredential,
)
from azdriver.errors import ConfigurationError

__all__ = ["STORAGE_SCOPE", "NoTokenError", "Tokens", "open_tokens"]

# The same in every cloud: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
STORAGE_SCOPE: Final = "https://storage.azure.com/.default"
# azure-core's policies ask for another token from 5 minutes before its end on: not later than
# that, or they would ask at every request.
RENEWAL_SECONDS: Final = 300.0
# Until the end a request has to arrive.
MARGIN_SECONDS: Final = 10.0
# So long nobody asks again after a failure: many tasks wait for the token in one queue, and each
# would ask in turn.
FAILURE_SECONDS: Final = 1.0
# How long a renewal may take for which nobody waits.
PATIENCE_SECONDS: Final = 60.0

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_ENTRA_ERROR: Final = re.compile(r"AADSTS[0-9]{1,10}")


class NoTokenError(AzureError):
    """The credential gave no token. The request was not sent, and is not sent again."""


class Tokens:
    """An ``AsyncTokenCredential`` in front of another, which it asks as seldom as can be.

    Any number of tasks may ask; one renewal is under way at a time. While the last token is good
    nobody waits for the next one.
    """

    def __init__(
        self,
        credential: TokenCredential,
        *,
        owned: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            credential: where the tokens come from.
            owned: whether ``close`` closes it.
            clock: seconds since 1970, as a token's end is counted.
        """
        self._credential = credential
        self._owned = owned
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: AccessToken | None = None
        self._renew_at = 0.0
        self._end = 0.0
        self._ahead: asyncio.Task[None] | None = None
        self._tenant_id: str | None = None
        self._failure: NoTokenError | None = None
        self._failed_at = 0.0

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """The token for the storage service.

        Args:
            scopes: what is asked for is the storage service's, whatever these are: they may come
                out of a server's answer, which must not choose what it is sent a token for.
            claims: what another token has to have; renews it.
            tenant_id: which tenant the account belongs to, as the service says where a token is
                of another one. It is kept: every later token is asked for with it.
            enable_cae: as in azure-core.
            kwargs: handed on.

        Raises:
            NoTokenError: there is none.
        """
        if claims is not None:
            kwargs["claims"] = claims
        if enable_cae:
            kwargs["enable_cae"] = True
        is_other = claims is not None or tenant_id not in (None, self._tenant_id)
        token = self._token
        if is_other or token is None or self._clock() >= self._end:
            return await self._renewed(kwargs, tenant_id)
        if self._clock() >= self._renew_at and (self._ahead is None or self._ahead.done()):
            self._ahead = asyncio.create_task(self._renew_ahead(kwargs))
        return token

    async def _renew_ahead(self, arguments: dict[str, Any]) -> None:
        with suppress(NoTokenError, TimeoutError):  # it is tried again, while the last one is good
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._renewed(arguments, None)

    async def _renewed(self, arguments: dict[str, Any], tenant_id: str | None) -> AccessToken:
        async with self._lock:
            # Another task may have renewed it, or failed to, while this one waited.
            is_other = "claims" in arguments or tenant_id not in (None, self._tenant_id)
            if not is_other and self._token is not None and self._clock() < self._renew_at:
                return self._token
            if self._failure is not None and self._clock() < self._failed_at + FAILURE_SECONDS:
                # Not the same object: a traceback grows each time that an error is raised.
                raise NoTokenError(self._failure.message) from self._failure.__cause__
            # Changed here only, so that a token is never one of the tenant before.
            self._tenant_id = tenant_id or self._tenant_id
            if self._tenant_id is not None:
                arguments = {**arguments, "tenant_id": self._tenant_id}
            try:
                return await self._renew(arguments)
            except NoTokenError as error:
                self._failure, self._failed_at = error, self._clock()
                raise

    async def _renew(self, arguments: dict[str, Any]) -> AccessToken:
        kind = type(self._credential).__name__
        try:
            answer = await self._credential.get_token(STORAGE_SCOPE, **arguments)
            token = AccessToken(answer.token, int(answer.expires_on))
        except Exception as error:
            # Not its text, which is the credential's own affair; Entra ID's code says most of it.
            code = _ENTRA_ERROR.search(str(error))
            why = f"{type(error).__name__} {code[0] if code else ''}".rstrip()
            raise NoTokenError(f"no token from {kind}: {why}") from error
        if not isinstance(token.token, str) or not _TOKEN.fullmatch(token.token):
            raise NoTokenError(f"no token from {kind}: what it gave cannot go into a header")
        now = self._clock()
        left = token.expires_on - now
        # One that is good for a few minutes only must not be renewed at every request.
        self._renew_at = now + max(left - RENEWAL_SECONDS, left / 2)
        self._end = now + max(left - MARGIN_SECONDS, left * 3 / 4)
        self._token, self._failure = token, None
        return token

    async def close(self) -> None:
        """Close the credential, if it is owned."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
        close = getattr(self._credential, "close", None)
        if self._owned and close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


def open_tokens(options: AzureBlobOptions) -> Tokens | None:
    """What gives the bearer tokens; None where the credential is no token credential.

    Raises:
        ConfigurationError: azure-identity refuses what it finds in the environment.
    """
    credential = options.credential
    if isinstance(credential, SharedKey | SasToken | Anonymous):
        return None
    if isinstance(credential, ClientSecret | DefaultCredential):
        return Tokens(_of_identity(credential, options.account_url), owned=True)
    return Tokens(credential)


def _of_identity(credential: ClientSecret | DefaultCredential, account_url: str) -> TokenCredential:
    # Here, so that nobody loads azure-identity who does not use it.
    from azure.identity import AzureAuthorityHosts
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

    authorities = {
        "core.chinacloudapi.cn": AzureAuthorityHosts.AZURE_CHINA,
        "core.usgovcloudapi.net": AzureAuthorityHosts.AZURE_GOVERNMENT,
    }
    # It tells at INFO what it tries and gets, which is normal work; whoever wants that lowers this
    # logger's level, or that of azdriver.http.
    log = logging.getLogger("azure.identity")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)
    host = urlsplit(account_url).hostname or ""
    arguments: dict[str, Any] = {"logger": logging.getLogger("azdriver.http")}
    if "AZURE_AUTHORITY_HOST" not in os.environ:
        for realm, authority in authorities.items():
            if host.endswith(f".{realm}"):
                arguments["authority"] = authority
    try:
        if isinstance(credential, DefaultCredential):
            if credential.client_id is not None:
                arguments["managed_identity_client_id"] = credential.client_id
                arguments["workload_identity_client_id"] = credential.client_id
            return DefaultAzureCredential(**arguments)
        return ClientSecretCredential(
            credential.tenant_id, credential.client_id, credential.secret, **arguments
        )
    except ValueError as error:
        kind = type(credential).__name__
        raise ConfigurationError(
            DRIVER_NAME, "credential", f"{kind} is refused by azure-identity"
        ) from error
