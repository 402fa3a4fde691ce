"""The aiohttp session as the SDK's transport sees it.

The transport takes any session; this one sends each request once, bounds what waits and what is
received, keeps secrets out of what it raises, and sends large bodies in slices.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import aiohttp
from azure.core.exceptions import (
    AzureError,
    DecodeError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)

from azdriver.azureblob.options import AzureBlobOptions
from azdriver.azureblob.retry import NotSentError
from azdriver.azureblob.wire import Meter

__all__ = ["SingleSendSession", "open_aiohttp_session"]

# A body handed to aiohttp whole is copied into the event loop's write buffer at once; in slices
# the buffer stays at its high-water mark, and other tasks get their turn.
BODY_SLICE_BYTES: Final = 256 * 1024
# How long an idle connection is kept. A server that closes it in the moment in which it is used
# again loses a request, so it has to be shorter than the server's own time: minutes for the
# service; 5 s for Azurite, as for every server on Node.js.
SERVICE_KEEPALIVE_SECONDS: Final = 15.0
EMULATOR_KEEPALIVE_SECONDS: Final = 4.0
READ_BUFFER_BYTES: Final = 512 * 1024
# Of an answer that is read whole. The longest is a listing: 5,000 blobs of some 1,200 bytes each
# and a name of up to 1,024 characters of up to 4 bytes.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_ANSWER_TAGS: Final = 2_000_000  # some 60 a blob; parsed, each takes about 100 bytes

_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


def open_aiohttp_session(options: AzureBlobOptions) -> aiohttp.ClientSession:
    """The driver's own session; to be made within the event loop, and closed by the caller."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=options.connections,
            keepalive_timeout=(
                SERVICE_KEEPALIVE_SECONDS
                if options.account_url.startswith("https://")
                else EMULATOR_KEEPALIVE_SECONDS
            ),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=options.use_env_settings,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
    )


class SingleSendSession:
    """An ``aiohttp.ClientSession`` behind the part of it that ``AioHttpTransport`` calls."""

    auto_decompress: Final = False

    def __init__(
        self, session: aiohttp.ClientSession, options: AzureBlobOptions, meter: Meter
    ) -> None:
        self._session = session
        self._meter = meter
        self._timeout = aiohttp.ClientTimeout(
            connect=options.pool_timeout_seconds,
            sock_connect=options.connect_timeout_seconds,
            sock_read=options.read_timeout_seconds,
        )

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        """Nothing: whoever opened the session closes it."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: Any = None,
        timeout: object,
        **arguments: Any,
    ) -> BoundedAnswer:
        """Send one request, once.

        Raises:
            NotSentError: no connection could be had.
            ServiceResponseError: the request may have been applied.
        """
        if isinstance(data, bytes | bytearray | memoryview) and len(data) > BODY_SLICE_BYTES:
            data = _slices(memoryview(data))
        # aiohttp's own errors may hold the URL, whose query may be a signature: their class and
        # a host are what is kept of them.
        try:
            answer = await self._session.request(
                method,
                url,
                # aiohttp would ask for compression, which no answer here is the better for.
                headers={**headers, "Accept-Encoding": "identity"},
                data=data,
                timeout=self._timeout,
                middlewares=(_send_once,),
                **arguments,
            )
            return BoundedAnswer(answer, self._meter)
        except aiohttp.ClientConnectorError as error:
            failure: AzureError = NotSentError(f"no connection to {error.host}:{error.port}")
        except aiohttp.ConnectionTimeoutError:
            failure = NotSentError("no connection within the time-out")
        except TimeoutError:
            failure = ServiceResponseTimeoutError("no answer within the read time-out")
        except aiohttp.ClientError as error:
            cause = error.__cause__ or error
            failure = ServiceResponseError(f"no answer: {type(cause).__name__}")
        raise failure  # out here, so that theirs is not even its __context__


class BoundedAnswer:
    """An ``aiohttp.ClientResponse`` whose body is bounded and plain where it is read whole.

    A streamed body (a blob's content) is handed on as it is, and counted.
    """

    def __init__(self, response: aiohttp.ClientResponse, meter: Meter) -> None:
        self._response = response
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    @property
    def content(self) -> _CountedStream:
        """The body, as the transport streams it."""
        return _CountedStream(self._response.content, self._meter)

    async def read(self) -> bytes:
        """The body.

        Raises:
            DecodeError: it is longer than any that the service sends, or would unfold into more
                when it is parsed. The connection is closed.
        """
        chunks: list[bytes] = []
        length = 0
        try:
            async for chunk in self._response.content.iter_any():
                chunks.append(chunk)
                length += len(chunk)
                self._meter.received_bytes += len(chunk)
                if length > MAX_ANSWER_BYTES:
                    raise DecodeError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
            body = b"".join(chunks)
            if body:
                self._require_plain(body)
            await self._response.read()  # at the end already: gives the connection back
        except BaseException:
            self._response.close()
            raise
        return body

    def _require_plain(self, body: bytes) -> None:
        encoding = self._response.headers.get("Content-Encoding", "identity")
        if encoding.lower() not in ("identity", ""):
            raise DecodeError(f"a compressed answer ({encoding[:20]}), which was not asked for")
        charset = _CHARSET.search(self._response.headers.get("Content-Type", ""))
        # In another charset the text of the next check would be other bytes.
        if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
            raise DecodeError(f"an answer in another charset than UTF-8: {charset[1][:20]}")
        if body.count(b"<") > MAX_ANSWER_TAGS:
            raise DecodeError(f"an answer of more than {MAX_ANSWER_TAGS} tags")
        # Entities are declared in a DOCTYPE, which no answer of the service has.
        if b"!" in body and b"<!DOCTYPE" in body:
            raise DecodeError("XML with a DOCTYPE")


class _CountedStream:
    """The part of an ``aiohttp.StreamReader`` that the transport calls."""

    def __init__(self, stream: aiohttp.StreamReader, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, n: int) -> bytes:
        chunk = await self._stream.read(n)
        self._meter.received_bytes += len(chunk)
        return chunk


async def _slices(body: memoryview) -> AsyncIterator[memoryview]:
    # The SDK sets Content-Length, so aiohttp sends these without chunked encoding.
    for start in range(0, len(body), BODY_SLICE_BYTES):
        yield body[start : start + BODY_SLICE_BYTES]


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending again behind the retry policy's back.

    It sends PUT, GET, HEAD and DELETE once more when a kept-alive connection drops, although the
    first may have been applied. It does so for two classes of errors only: raise another.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError("connection lost") from error
