"""Opens and closes what a driver talks through: session, transport, the SDK's clients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import aiohttp
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, DecodeError
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from azdriver.azureblob.lane import Lane
from azdriver.azureblob.lean import LeanLane
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import (
    DRIVER_NAME,
    MAX_PUT_BLOB_BYTES,
    Anonymous,
    AzureBlobOptions,
    SasToken,
    SharedKey,
)
from azdriver.azureblob.regulator import Regulator
from azdriver.azureblob.retry import Retrier, RetryPolicy
from azdriver.azureblob.sdklane import SdkLane
from azdriver.azureblob.session import (
    READ_BUFFER_BYTES,
    SingleSendSession,
    open_aiohttp_session,
)
from azdriver.azureblob.signing import UrlSigner
from azdriver.azureblob.tokens import Tokens, open_tokens
from azdriver.azureblob.translate import error_code, status_of
from azdriver.azureblob.wire import Meter, WireTransport
from azdriver.errors import ConfigurationError

__all__ = ["Clients", "WrapTransport"]

WrapTransport: TypeAlias = Callable[[AsyncHttpTransport[Any, Any]], AsyncHttpTransport[Any, Any]]
"""Puts something between the retry policy and the network, such as a fault or a counter."""

MAX_BLOB_CLIENTS: Final = 128

# The SDK logs every request at INFO; here that is asked for, by lowering this logger's level.
_http_log: Final = logging.getLogger("azdriver.http")
if _http_log.level == logging.NOTSET:
    _http_log.setLevel(logging.WARNING)


class Clients:
    """The SDK's clients, and the second lane, over one transport and one session."""

    def __init__(
        self,
        options: AzureBlobOptions,
        session: aiohttp.ClientSession | None,
        wrap_transport: WrapTransport | None,
    ) -> None:
        """To be made within the event loop.

        Args:
            options: how to reach the container.
            session: the caller's own, left open by ``close``; None for one of our own.
            wrap_transport: what to put below the retry policies and the counters.

        Raises:
            ConfigurationError: what only the SDK or azure-identity can judge.
        """
        self._tokens = open_tokens(options)
        self.meter = Meter()
        self.regulator = Regulator(
            options.max_requests_in_flight or options.connections,
            adaptive=options.adaptive_limit,
            patience_seconds=options.retry.total_seconds,
        )
        self._own_session = None if session is not None else open_aiohttp_session(options)
        single_send = cast(
            aiohttp.ClientSession,
            SingleSendSession(session or cast(Any, self._own_session), options, self.meter),
        )
        # A transport that is passed in takes none of the client's settings: set them all here.
        transport: AsyncHttpTransport[Any, Any] = AioHttpTransport(
            session=single_send,
            session_owner=False,
            use_env_settings=options.use_env_settings,
            connection_data_block_size=READ_BUFFER_BYTES,
            connection_verify=options.verify_tls,
        )
        if wrap_transport is not None:
            transport = wrap_transport(transport)
        transport = WireTransport(transport, self.meter, single_send)
        arguments: dict[str, Any] = {}
        if options.api_version is not None:
            arguments["api_version"] = options.api_version
        try:
            self.service = BlobServiceClient(
                options.account_url,
                credential=_sdk_credential(options, self._tokens),
                transport=transport,
                retry_policy=RetryPolicy(options.retry, self.regulator, self.meter),
                # So that upload_blob is always one Put Blob, never staged blocks.
                max_single_put_size=MAX_PUT_BLOB_BYTES,
                # The service never redirects; the SDK would go wherever an answer sends it.
                permit_redirects=False,
                logger=_http_log,
                **arguments,
            )
        except ValueError as error:
            if self._own_session is not None:
                self._own_session.detach()  # nothing was sent yet: this is all of closing it
            # The one option that only the SDK can judge.
            raise ConfigurationError(
                DRIVER_NAME, "api_version", f"is unknown to the SDK: {options.api_version!r}"
            ) from error
        self.container = self.service.get_container_client(options.container)
        # Making one costs as much CPU as a request of the lean lane; some blobs are written often.
        self._blob_client = lru_cache(MAX_BLOB_CLIENTS)(self.container.get_blob_client)
        self.options = options
        self.retrier = Retrier(options.retry, self.meter)
        self.signer = UrlSigner(options, self.service, self.retrier)
        self.lane: Lane = (
            LeanLane(
                options,
                transport,
                self.service.api_version,
                RetryPolicy(options.retry, self.regulator, self.meter),
                self._tokens,
            )
            if options.lean_lane
            else SdkLane(self.container, self.blob)
        )

    def blob(self, name: BlobName) -> BlobClient:
        """The SDK's client of one blob.

        Raises:
            DecodeError: a name out of a listing that URL libraries would fold into the name of
                another blob, or of another container.
        """
        if "/." in f"/{name}" and not {".", ".."}.isdisjoint(name.split("/")):
            raise DecodeError("a name with a dot segment, which cannot be asked for")
        return self._blob_client(name)

    async def ensure_container(self) -> None:
        """Create the container where it does not exist.

        A credential that may not create containers is no error while the container is there.
        An anonymous caller never may, and where the public may read single blobs it may not even
        look: nothing is asked. Nor is anything with a SAS token of a single blob.

        Raises:
            ConfigurationError: it does not exist, and is not to be created.
            AzureError: it does not exist and cannot be created, or cannot be reached.
        """
        credential = self.options.credential
        if isinstance(credential, Anonymous) or (
            isinstance(credential, SasToken) and credential.is_of_one_blob
        ):
            return
        if not self.options.create_container:
            await self.require_container()
            return

        async def look() -> None:
            return None  # a second creation is harmless: the first one is then found

        try:
            await self.retrier.settle(self.container.create_container, look)
        except AzureError as error:
            if status_of(error) == 409 and error_code(error) == "ContainerAlreadyExists":
                return
            if status_of(error) != 403:
                raise
            not_listed = await self._list_container()
            if not_listed is not None:
                raise not_listed from error

    async def require_container(self) -> None:
        """Look whether the container is there, as far as the credential may know.

        Raises:
            ConfigurationError: it does not exist.
            AzureError: it cannot be reached.
        """
        not_listed = await self._list_container()
        if not_listed is None:
            return
        if error_code(not_listed) == "ContainerNotFound":
            reason = f"does not exist: {self.options.container}"
            raise ConfigurationError(DRIVER_NAME, "container", reason) from not_listed
        raise not_listed

    async def _list_container(self) -> AzureError | None:
        """Why it cannot be listed."""
        # Not "is it there?", which not every credential may ask.
        try:
            async for _ in self.container.list_blob_names(results_per_page=1).by_page():
                break
        except AzureError as error:
            # It is known, but may not list either: its first operation will tell the rest.
            return None if error_code(error) == "AuthorizationPermissionMismatch" else error
        return None

    async def close(self) -> None:
        async with AsyncExitStack() as stack:  # the next even if one fails
            if self._tokens is not None:
                stack.push_async_callback(self._tokens.close)
            if self._own_session is not None:
                stack.push_async_callback(self._own_session.close)
            await self.service.close()


def _sdk_credential(
    options: AzureBlobOptions, tokens: Tokens | None
) -> AzureNamedKeyCredential | AzureSasCredential | Tokens | None:
    credential = options.credential
    if isinstance(credential, SharedKey):
        return AzureNamedKeyCredential(credential.account_name, credential.account_key)
    if isinstance(credential, SasToken):
        return AzureSasCredential(credential.token.lstrip("?"))
    return tokens
