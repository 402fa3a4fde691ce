"""The lean lane: requests of our own through a plain azure-core pipeline.

The SDK's download joins chunks, asks for an empty blob twice, and leaks its connection when it
is cancelled; its listings parse every page twice into models; its batches build each member
through a pipeline of its own. These requests need little: an URL, a few headers and a body. All
parts are azure-core's and the SDK's public ones, the signature included; there is no signing
code here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, cast
from urllib.parse import quote, urlencode, urlsplit

from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncHTTPPolicy
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from azdriver.azureblob.batch import batch_body, batch_statuses
from azdriver.azureblob.contentrange import (
    content_length,
    content_range,
    size_of_unsatisfiable,
)
from azdriver.azureblob.httpdate import parse_http_date
from azdriver.azureblob.lane import BlobHead, BlobStream, ListedBlob, ListPage, date_of
from azdriver.azureblob.listpage import parse_list_page
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import AzureBlobOptions, RetrySettings, SasToken, SharedKey
from azdriver.azureblob.retry import RetryPolicy
from azdriver.azureblob.signing import start_of_signature
from azdriver.azureblob.tokens import STORAGE_SCOPE, Tokens
from azdriver.azureblob.translate import BLOB_IS_MISSING, checked_etag, quoted

__all__ = ["LeanLane", "LeanStream", "SignedRequest"]

# How long a locally made signature is good for, and how long before its end it is renewed.
SIGNATURE_LIFETIME: Final = timedelta(hours=1)
SIGNATURE_RENEWAL: Final = timedelta(minutes=15)

_METADATA: Final = "x-ms-meta-"


class SignedRequest(HttpRequest):
    """A request whose repr, which debuggers and reports show, keeps the signature to itself."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} [{self.method}], url: '{self.url.partition('?')[0]}'>"


class LeanLane:
    """The requests of :class:`azdriver.azureblob.lane.Lane`."""

    def __init__(
        self,
        options: AzureBlobOptions,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse],
        api_version: str,
        retry_policy: RetryPolicy,
        tokens: Tokens | None = None,
    ) -> None:
        self._options = options
        self._tokens = tokens
        self._base_url = f"{options.account_url}/{options.container}/"
        self._base_path = urlsplit(self._base_url).path  # with the account, on an emulator
        self._headers = {"x-ms-version": api_version, "User-Agent": "azdriver"}
        self._signature = _Signature(options)
        policies: list[AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]] = [retry_policy]
        if tokens is not None:
            # Behind the retries, as in the SDK's pipeline: each attempt has a token that is good.
            policies.append(AsyncBearerTokenCredentialPolicy(tokens, STORAGE_SCOPE))
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            transport, policies=policies
        )

    async def get(
        self,
        name: BlobName,
        *,
        first: int = 0,
        last: int | None = None,
        etag: str | None = None,
    ) -> LeanStream:
        headers = dict(self._headers)
        ranged = bool(first) or last is not None
        if ranged:
            headers["x-ms-range"] = f"bytes={first}-{'' if last is None else last}"
        if etag is not None:
            headers["If-Match"] = etag
        request = SignedRequest("GET", self._url(name), headers=headers)
        run = await self._pipeline.run(request, stream=True)
        response = run.http_response
        if response.status_code not in (200, 206):
            try:
                with suppress(
                    TimeoutError, ServiceRequestError, ServiceResponseError, IncompleteReadError
                ):
                    async with asyncio.timeout(self._options.retry.attempt_seconds):
                        await response.read()
                error = _failed("Get Blob", response)
                size = size_of_unsatisfiable(error)
                if error.status_code == 416 and (not ranged or (size is not None and first < size)):
                    raise DecodeError("malformed answer: 416 to a range that is there")
                raise error
            finally:
                await response.close()
        try:
            stream = LeanStream(response, self._options.retry)
            if stream.first != first or ranged != (response.status_code == 206):
                raise IncompleteReadError("the answer holds another range than asked for")
        except BaseException:
            await response.close()
            raise
        return stream

    async def head(self, name: BlobName) -> BlobHead | None:
        request = SignedRequest("HEAD", self._url(name), headers=self._headers)
        response = (await self._pipeline.run(request)).http_response
        headers = response.headers
        if response.status_code != 200:
            # Not by an error, which costs as much as the request: most puts find nothing.
            if response.status_code == 404 and headers.get("x-ms-error-code") in BLOB_IS_MISSING:
                return None
            raise _failed("Get Blob Properties", response)
        return BlobHead(
            size=content_length(headers.get("Content-Length")),
            etag=quoted(headers.get("ETag")),
            last_modified=parse_http_date(headers.get("Last-Modified")),
            blob_type=headers.get("x-ms-blob-type") or "",
            metadata={
                key[len(_METADATA) :]: value
                for key, value in headers.items()
                if key.lower().startswith(_METADATA)
            },
            committed_blocks=content_length(headers.get("x-ms-blob-committed-block-count") or "0"),
            copy_id=headers.get("x-ms-copy-id"),
            copy_status=headers.get("x-ms-copy-status"),
            date=date_of(headers),
        )

    async def list_page(
        self, prefix: str, *, marker: str = "", delimiter: str = "", limit: int | None = None
    ) -> ListPage:
        query = {"restype": "container", "comp": "list"}
        if prefix:
            query["prefix"] = prefix
        if delimiter:
            query["delimiter"] = delimiter
        if marker:
            query["marker"] = marker
        if limit is not None:
            query["maxresults"] = str(limit)
        encoded = urlencode(query, quote_via=quote, safe="")
        url = _signed(f"{self._base_url[:-1]}?{encoded}", self._signature.query())
        # The newest versions of the service have other formats as well.
        request = SignedRequest("GET", url, headers={**self._headers, "Accept": "application/xml"})
        answer = await self._answer(request, "List Blobs", 200)
        return parse_list_page(answer.content, has_prefixes=bool(delimiter))

    async def delete_batch(self, blobs: Sequence[ListedBlob]) -> list[int]:
        signature = self._signature.query()
        headers = {"x-ms-delete-snapshots": "include"}
        if self._tokens is not None:
            # The service authorises each member by itself, and what the batch has is not theirs:
            # https://github.com/Azure/azure-sdk-for-net/issues/18265
            token = await self._tokens.get_token(STORAGE_SCOPE)
            headers["Authorization"] = f"Bearer {token.token}"
        content_type, body = batch_body(
            (
                _signed(f"{self._base_path}{quote(blob.name, safe='/')}", signature),
                {"If-Match": blob.etag, **headers},
            )
            for blob in blobs
        )
        request = SignedRequest(
            "POST",
            _signed(f"{self._base_url[:-1]}?restype=container&comp=batch", signature),
            headers={**self._headers, "Content-Type": content_type},
            content=body,
        )
        answer = await self._answer(request, "Blob Batch", 202)
        return batch_statuses(answer.headers.get("Content-Type") or "", answer.content, len(blobs))

    def _url(self, name: BlobName) -> str:
        return _signed(f"{self._base_url}{quote(name, safe='/')}", self._signature.query())

    async def _answer(
        self, request: SignedRequest, operation: str, status: int
    ) -> AsyncHttpResponse:
        """An answer that was read whole."""
        response = (await self._pipeline.run(request)).http_response
        if response.status_code != status:
            raise _failed(operation, response)
        return response


class LeanStream(BlobStream):
    """The :class:`azdriver.azureblob.lane.BlobStream` of a streamed answer."""

    def __init__(self, response: AsyncHttpResponse, settings: RetrySettings) -> None:
        """
        Raises:
            DecodeError: the headers do not say what the body is.
        """
        self._response = response
        # An async generator in azure-core's own responses, although the type does not say so.
        self._body = cast("AsyncGenerator[bytes, None]", response.iter_raw())
        self.etag = checked_etag(response.headers.get("ETag"))
        self.length = self._left = content_length(response.headers.get("Content-Length"))
        self.first, self.size = 0, self.length
        if response.status_code == 206:
            self.first, self.size = content_range(response.headers)
        self._stall = settings.attempt_seconds
        self._slowest = settings.slowest_bytes_per_second
        self._patience = self._stall + self.length / self._slowest

    async def close(self) -> None:
        """Release the connection: kept if the body was read to its end, else dropped."""
        # Not left to the garbage collector, which would close it in a task of its own.
        await self._body.aclose()
        await self._response.close()

    async def __anext__(self) -> bytes:
        """The next bytes of the body, as they come.

        Raises:
            IncompleteReadError: the connection was lost.
            ServiceResponseTimeoutError: it stalled.
            AzureError: the body is slower than the settings allow. The time that the caller
                takes between two chunks does not count.
        """
        limit = min(self._stall, self._patience)
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                chunk = await anext(self._body, None)
        except TimeoutError as error:
            if limit < self._stall:
                raise AzureError(f"a body slower than {self._slowest} bytes/s") from error
            raise ServiceResponseTimeoutError(f"no byte within {limit:g} s") from error
        self._patience -= time.monotonic() - began
        if chunk is None:
            if self._left:
                raise IncompleteReadError(f"{self._left} bytes of the body are missing")
            raise StopAsyncIteration
        self._left -= len(chunk)
        return chunk


def _signed(url: str, signature: str) -> str:
    """With the query that authorises it, if that is how requests are authorised."""
    if not signature:
        return url
    return f"{url}{'&' if '?' in url else '?'}{signature}"


def _failed(operation: str, response: AsyncHttpResponse) -> HttpResponseError:
    message = f"{operation} answered {response.status_code}"
    return HttpResponseError(message=message, response=response)


class _Signature:
    """The query that authorises requests in one container; ``""`` where none is needed.

    With an account key it is a signature for this container alone, made locally and renewed: a
    request that went astray could not even be sent to another container.
    """

    def __init__(self, options: AzureBlobOptions) -> None:
        self._options = options
        self._query = ""
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    def query(self) -> str:
        credential = self._options.credential
        if isinstance(credential, SasToken):
            return credential.token.lstrip("?")
        if not isinstance(credential, SharedKey):
            return ""
        now = datetime.now(UTC)
        if now >= self._renew_at:
            self._query = self._sign(credential, now + SIGNATURE_LIFETIME)
            self._renew_at = now + SIGNATURE_LIFETIME - SIGNATURE_RENEWAL
        return self._query

    def _sign(self, credential: SharedKey, expiry: datetime) -> str:
        return generate_container_sas(
            credential.account_name,
            self._options.container,
            account_key=credential.account_key,
            permission=ContainerSasPermissions(read=True, list=True, delete=True),
            start=start_of_signature(),
            expiry=expiry,
        )
