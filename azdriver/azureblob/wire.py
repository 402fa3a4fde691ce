"""What is seen of each request on its way: counters, and one debug line with the service's ids.

The line never has the URL's query or a header with a secret. It costs nothing while the logger
``azdriver.wire`` is not at DEBUG.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from typing import Any, Final
from uuid import uuid4

import aiohttp
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport

from azdriver.azureblob.restoperation import operation_of

__all__ = ["Meter", "WireTransport", "body_bytes", "tell_attempt"]

_log: Final = logging.getLogger("azdriver.wire")
_ATTEMPT: Final = "azdriver_attempt"
_CLIENT_ID: Final = "x-ms-client-request-id"
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class Meter:
    """Counters of one driver, since it was opened.

    Attributes:
        requests: by REST operation, each attempt by itself.
        retries: how often something was sent again after a failure.
        throttled: the answers by which the service said that it is overloaded.
        sent_bytes: of the requests' bodies.
        received_bytes: of the answers' bodies.
    """

    __slots__ = ("received_bytes", "requests", "retries", "sent_bytes", "throttled")

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.retries = 0
        self.throttled = 0
        self.sent_bytes = 0
        self.received_bytes = 0


class WireTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core loads it untyped
    """Counts and logs each request that is handed to the network; both lanes go through it.

    It only hands on to another transport, and is one of aiohttp's all the same: for those the SDK
    signs the path as aiohttp spells it, and any other signature of some names is refused
    (test_lanes.py::test_both_see_the_same_blob).
    """

    def __init__(
        self, inner: AsyncHttpTransport[Any, Any], meter: Meter, session: aiohttp.ClientSession
    ) -> None:
        super().__init__(session=session, session_owner=False)
        self._inner = inner
        self._meter = meter

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def send(self, request: Any, **options: Any) -> Any:
        operation = operation_of(request)
        self._meter.requests[operation] += 1
        self._meter.sent_bytes += body_bytes(request)
        attempt = options.pop(_ATTEMPT, 1)
        if not _log.isEnabledFor(logging.DEBUG):
            return await self._inner.send(request, **options)
        outcome, service_id = "", "-"
        began = time.perf_counter()
        try:
            response = await self._inner.send(request, **options)
            outcome = str(response.status_code)
            service_id = _shown_id(response.headers.get("x-ms-request-id"))
            return response
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            _log.debug(
                "%s: %s, attempt %d, %.1f ms, request id %s, client request id %s",
                operation,
                outcome,
                attempt,
                (time.perf_counter() - began) * 1000,
                service_id,
                _shown_id(request.headers.get(_CLIENT_ID)),
            )


def tell_attempt(request: PipelineRequest[Any], attempt: int) -> None:
    """Let the debug line know which attempt it is, and give it an id of its own.

    By that an attempt whose answer was lost can be found in the service's logs. The SDK gives each
    one such an id by itself.

    Args:
        request: on its way to a :class:`WireTransport`.
        attempt: 1 is the first.
    """
    if _log.isEnabledFor(logging.DEBUG):
        request.context.options[_ATTEMPT] = attempt
        request.http_request.headers[_CLIENT_ID] = str(uuid4())


def body_bytes(request: Any) -> int:
    """The length of a request's body."""
    if request.method in ("GET", "HEAD"):
        return 0
    text = request.headers.get("Content-Length") or "0"
    return int(text) if text.isdecimal() else 0


def _shown_id(value: object) -> str:
    """An id out of a header, which a server or a caller may have filled with anything."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else "-"
