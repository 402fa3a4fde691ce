"""Retries made for web requests: short waits, Retry-After honoured, a deadline over all.

The SDK's own policy waits about 18 s before its first retry, ignores Retry-After, gives up on
429, and sends writes again whose answer was lost, although they may have been applied. Here a
request is sent again by the policy only if that cannot do harm:

- reads (GET, HEAD) after any transient failure;
- writes only if the service has certainly not applied them: no connection, 429, 503 ServerBusy.

A write whose answer was lost, or was a 5xx that may come after the effect, is *ambiguous*: it
goes back to the operation, which looks what became of it (see ``settle``).

Each attempt takes a slot of the driver's regulator. The wait for it counts for no time-out of
these: a burst is to be sent slowly, not to fail. It ends when the service answers nobody.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse

from azdriver.azureblob.options import RetrySettings
from azdriver.azureblob.regulator import Regulator
from azdriver.azureblob.translate import error_code
from azdriver.azureblob.wire import Meter, body_bytes, tell_attempt

__all__ = ["NotSentError", "Retrier", "RetryPolicy", "is_ambiguous"]

T = TypeVar("T")

_READS: Final = frozenset({"GET", "HEAD"})
_REFUSED: Final = frozenset({429, 503})
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})


class NotSentError(ServiceRequestError):
    """No connection could be had: the service has certainly not seen the request."""


def is_ambiguous(error: AzureError) -> bool:
    """Whether the request that failed so may have been applied all the same."""
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return error.status_code in _TRANSIENT and not _was_refused(
            error.status_code, error_code(error)
        )
    return isinstance(
        error, ServiceRequestError | ServiceResponseError | IncompleteReadError
    ) and not isinstance(error, NotSentError)


def _was_refused(status: int, code: str) -> bool:
    # A bare 503 may come from a proxy that lost the answer; the service's own says why.
    return status == 429 or (status == 503 and code == "ServerBusy")


def _is_overloaded(response: Any) -> bool:
    """Whether the answer says that too much is asked at once, of us or of the service.

    Source: https://learn.microsoft.com/azure/storage/blobs/scalability-targets
    """
    status = response.status_code
    return status in _REFUSED or (
        status == 500 and response.headers.get("x-ms-error-code") == "OperationTimedOut"
    )


class RetryPolicy(AsyncHTTPPolicy[Any, Any]):
    """Sends again what may be sent again. One instance per pipeline, never shared."""

    def __init__(
        self,
        settings: RetrySettings,
        regulator: Regulator,
        meter: Meter,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._regulator = regulator
        self._meter = meter
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        http_request = request.http_request
        # The SDK leaves these for its own retry policy, which we stand in for; the transport
        # would not know them. Pinned by every test that goes through the SDK.
        for option in ("hosts", "retry_to_secondary"):
            request.context.options.pop(option, None)
        location_mode = request.context.options.pop("location_mode", None)
        body_seconds = body_bytes(http_request) / self._settings.slowest_bytes_per_second
        deadline = self._clock() + self._settings.total_seconds + body_seconds
        for attempt in itertools.count():
            tell_attempt(request, attempt + 1)
            if not self._regulator.try_enter():
                began = self._clock()
                await self._wait_for_slot()
                deadline += self._clock() - began
            left = deadline - self._clock()
            limit = min(self._settings.attempt_seconds + body_seconds, max(left, 0.001))
            response: PipelineResponse[Any, Any] | None = None
            failure: AzureError | None = None
            try:
                response = await self._send_once(request, limit)
            except AzureError as error:
                if not self._may_resend(http_request.method, error):
                    raise
                failure = error
            else:
                if not self._may_resend_after(http_request.method, response):
                    response.http_response.location_mode = location_mode
                    return response
            wait = self._settings.delay(attempt, self._jitter())
            if response is not None:
                wait = max(wait, retry_after_seconds(response.http_response.headers))
            if attempt >= self._settings.retries or self._clock() + wait >= deadline:
                if failure is not None:
                    raise failure
                assert response is not None
                response.http_response.location_mode = location_mode
                return response
            if response is not None and isinstance(response.http_response, AsyncHttpResponse):
                # A streamed answer holds its connection until its body is read or closed.
                await response.http_response.close()
            await self._sleep(wait)
            self._meter.retries += 1
        raise AssertionError("unreachable")

    async def _wait_for_slot(self) -> None:
        try:
            await self._regulator.wait()
        except TimeoutError as error:
            message = "not sent: the service has answered none of the requests before it"
            raise NotSentError(message) from error

    async def _send_once(
        self, request: PipelineRequest[Any], limit: float
    ) -> PipelineResponse[Any, Any]:
        """Send in a slot that was taken already, and give it back."""
        window = self._regulator.window
        refused: bool | None = None
        try:
            async with asyncio.timeout(limit):
                response = await self.next.send(request)
            refused = _is_overloaded(response.http_response)
            self._meter.throttled += refused
            return response
        except TimeoutError as error:
            message = f"no answer within {limit:.1f} s"
            raise ServiceResponseTimeoutError(message, error=error) from error
        finally:
            self._regulator.leave(window, refused)

    @staticmethod
    def _may_resend(method: str, error: AzureError) -> bool:
        return isinstance(error, NotSentError) or (method in _READS and is_ambiguous(error))

    @staticmethod
    def _may_resend_after(method: str, response: PipelineResponse[Any, Any]) -> bool:
        status = response.http_response.status_code
        if method in _READS:
            return status in _TRANSIENT
        return status in _REFUSED and _was_refused(
            status, response.http_response.headers.get("x-ms-error-code", "")
        )


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """How long the service asks to wait: a number of seconds, or an HTTP date; 0 if it does not.

    Source: RFC 9110, section 10.2.3.
    """
    text = headers.get("Retry-After") or ""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


class Retrier:
    """Finds out what became of writes whose answer was lost, and sends them again if need be."""

    def __init__(self, settings: RetrySettings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter

    async def pause(self, attempt: int) -> None:
        """Wait before the next attempt (0 for the first retry), with jitter."""
        await asyncio.sleep(self._settings.delay(attempt, random.random()))
        self._meter.retries += 1

    async def settle(
        self,
        send: Callable[[], Awaitable[T]],
        look: Callable[[], Awaitable[T | None]],
    ) -> T:
        """Send a write until it is known what became of it.

        Args:
            send: sends the write once. It has to be harmless to send it again when ``look``
                has found that it was not applied: conditional, or overwriting its own effect.
            look: finds out whether the write was applied after all, and if so returns what
                ``send`` would have; raises if someone else's write makes it pointless.

        Raises:
            AzureError: what ``send`` raised last, when it was not ambiguous or the attempts
                are used up.
        """
        for attempt in itertools.count():
            try:
                return await send()
            except AzureError as error:
                if not is_ambiguous(error):
                    raise
                applied = await look()
                if applied is not None:
                    return applied
                if attempt >= self._settings.retries:
                    raise
                await self.pause(attempt)
        raise AssertionError("unreachable")
