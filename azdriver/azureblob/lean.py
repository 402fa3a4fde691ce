"""The second lane: requests of our own through a plain azure-core pipeline.

The SDK's download joins chunks, asks for an empty blob twice, and leaks its connection when it
is cancelled. A Get Blob needs little: an URL, two headers and a streamed body. All parts are
azure-core's and the SDK's public ones, the signature included; there is no signing code here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self, cast
from urllib.parse import quote

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
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import AzureBlobOptions, RetrySettings, SasToken, SharedKey
from azdriver.azureblob.retry import RetryPolicy
from azdriver.azureblob.translate import checked_etag

__all__ = ["BlobStream", "LeanLane", "size_of_unsatisfiable"]

# How long a locally made signature is good for, and how long before its end it is renewed.
SIGNATURE_LIFETIME: Final = timedelta(hours=1)
SIGNATURE_RENEWAL: Final = timedelta(minutes=15)

# Numbers of up to 60 bits; [0-9], since \d is the digits of any script.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(
    r"bytes (?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})|\*)/(?P<size>[0-9]{1,18})"
)


class LeanLane:
    """Get Blob, streamed."""

    def __init__(
        self,
        options: AzureBlobOptions,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse],
        api_version: str,
    ) -> None:
        self._options = options
        self._base_url = f"{options.account_url}/{options.container}/"
        self._headers = {"x-ms-version": api_version, "User-Agent": "azdriver"}
        self._signature = _Signature(options)
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            transport, policies=[RetryPolicy(options.retry)]
        )

    async def get(
        self,
        name: BlobName,
        *,
        first: int = 0,
        last: int | None = None,
        etag: str | None = None,
    ) -> BlobStream:
        """One Get Blob; the body is read from what is returned, which has to be closed.

        Args:
            name: which blob.
            first: the first byte.
            last: the last byte, itself included; None for the rest.
            etag: only if this is still the blob's version.

        Raises:
            HttpResponseError: 404, 412 (another version), 416 (``first`` is at the end or
                past it), or whatever else is not 200 or 206.
        """
        headers = dict(self._headers)
        ranged = bool(first) or last is not None
        if ranged:
            headers["x-ms-range"] = f"bytes={first}-{'' if last is None else last}"
        if etag is not None:
            headers["If-Match"] = etag
        url = f"{self._base_url}{quote(name, safe='/')}?{self._signature.query()}"
        run = await self._pipeline.run(HttpRequest("GET", url, headers=headers), stream=True)
        response = run.http_response
        if response.status_code not in (200, 206):
            try:
                with suppress(
                    TimeoutError, ServiceRequestError, ServiceResponseError, IncompleteReadError
                ):
                    async with asyncio.timeout(self._options.retry.attempt_seconds):
                        await response.read()
                error = HttpResponseError(
                    message=f"Get Blob answered {response.status_code}", response=response
                )
                size = size_of_unsatisfiable(error)
                if error.status_code == 416 and (not ranged or (size is not None and first < size)):
                    raise DecodeError("malformed answer: 416 to a range that is there")
                raise error
            finally:
                await response.close()
        try:
            stream = BlobStream(response, self._options.retry)
            if stream.first != first or ranged != (response.status_code == 206):
                raise IncompleteReadError("the answer holds another range than asked for")
        except BaseException:
            await response.close()
            raise
        return stream


class BlobStream:
    """The body of one Get Blob, and what its headers say.

    Attributes:
        size: bytes of the whole blob.
        etag: its version, quotes included.
        first: where in the blob the body begins.
        length: bytes of the body.
    """

    def __init__(self, response: AsyncHttpResponse, settings: RetrySettings) -> None:
        """
        Raises:
            DecodeError: the headers do not say what the body is.
        """
        self._response = response
        # An async generator in azure-core's own responses, although the type does not say so.
        self._body = cast("AsyncGenerator[bytes, None]", response.iter_raw())
        self.etag = checked_etag(response.headers.get("ETag"))
        length = response.headers.get("Content-Length") or ""
        if not _LENGTH.fullmatch(length):
            raise DecodeError("malformed answer: no Content-Length")
        self.length = self._left = int(length)
        self.first, self.size = 0, self.length
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
            if match is None or match["first"] is None:
                raise DecodeError("malformed answer: no Content-Range")
            self.first, self.size = int(match["first"]), int(match["size"])
            if int(match["last"]) >= self.size or self.first > self.size:
                raise DecodeError("malformed answer: a Content-Range past the blob's end")
        self._stall = settings.attempt_seconds
        self._slowest = settings.slowest_bytes_per_second
        self._patience = self._stall + self.length / self._slowest

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release the connection: kept if the body was read to its end, else dropped."""
        # Not left to the garbage collector, which would close it in a task of its own.
        await self._body.aclose()
        await self._response.close()

    def __aiter__(self) -> Self:
        return self

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


def size_of_unsatisfiable(error: HttpResponseError) -> int | None:
    """The blob's size in bytes out of a 416 answer; None where the service did not say it."""
    headers = getattr(error.response, "headers", {})
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range") or "")
    return None if match is None else int(match["size"])


class _Signature:
    """The query that authorises requests in one container.

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
            permission=ContainerSasPermissions(read=True),
            expiry=expiry,
        )
