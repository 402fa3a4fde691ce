"""The aiohttp session as the SDK's transport sees it.

The transport takes any session; this one sends each request once, bounds what waits, keeps
secrets out of what it raises, and sends large bodies in slices.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Self

import aiohttp
from azure.core.exceptions import (
    ServiceResponseError,
    ServiceResponseTimeoutError,
)

from azdriver.azureblob.options import AzureBlobOptions
from azdriver.azureblob.retry import NotSentError

__all__ = ["SingleSendSession", "open_aiohttp_session"]

# A body handed to aiohttp whole is copied into the event loop's write buffer at once; in slices
# the buffer stays at its high-water mark, and other tasks get their turn.
BODY_SLICE_BYTES: Final = 256 * 1024
READ_BUFFER_BYTES: Final = 512 * 1024


def open_aiohttp_session(options: AzureBlobOptions) -> aiohttp.ClientSession:
    """The driver's own session; to be made within the event loop, and closed by the caller."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=options.connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=options.use_env_settings,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
    )


class SingleSendSession:
    """An ``aiohttp.ClientSession`` behind the part of it that ``AioHttpTransport`` calls."""

    auto_decompress: Final = False

    def __init__(self, session: aiohttp.ClientSession, options: AzureBlobOptions) -> None:
        self._session = session
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
        self, method: str, url: str, *, data: Any = None, timeout: object, **arguments: Any
    ) -> aiohttp.ClientResponse:
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
            return await self._session.request(
                method,
                url,
                data=data,
                timeout=self._timeout,
                middlewares=(_send_once,),
                **arguments,
            )
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"no connection to {error.host}:{error.port}") from None
        except aiohttp.ConnectionTimeoutError:
            raise NotSentError("no connection within the time-out") from None
        except TimeoutError:
            raise ServiceResponseTimeoutError("no answer within the read time-out") from None
        except aiohttp.ClientError as error:
            cause = error.__cause__ or error
            raise ServiceResponseError(f"no answer: {type(cause).__name__}") from None


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
