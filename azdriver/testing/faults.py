"""Faults between a driver's retry policy and the network::

    faults = Faults(lose_answer(on="Append Block"))
    async with AzureBlobDriver(options, wrap_transport=faults.wrap) as driver:
        ...

Each fault strikes at the requests that it matches, as often as it says, and then lets through.
They stand below the retries and above the network, so that what is tested is what runs; the
answers that Azurite never gives (409 InvalidBlobType, 429, a pending copy) are played here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from azure.core.exceptions import HttpResponseError, IncompleteReadError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse
from azure.core.utils import case_insensitive_dict

from azdriver.azureblob.retry import NotSentError
from azdriver.testing.recording import TransportWrapper, operation_of

__all__ = [
    "CannedResponse",
    "Fault",
    "FaultTransport",
    "Faults",
    "Play",
    "Send",
    "answer",
    "answer_after",
    "arrive_late",
    "cut_answer",
    "lose_answer",
    "refuse",
    "reset",
    "stall",
]

Send: TypeAlias = Callable[[], Awaitable[Any]]
"""Really sends the request that a fault struck at."""
Play: TypeAlias = Callable[[Any, Send], Awaitable[Any]]
"""What a fault does. Given the request and its ``Send``, it answers or raises."""


@dataclass(slots=True)
class Fault:
    """What happens to a request, and to which.

    Attributes:
        name: for messages.
        play: is given the request and a function that really sends it; answers or raises.
        on: only requests of this REST operation, such as ``"Put Blob"``; None for all.
        after: lets so many matching requests through first.
        times: strikes so often; None for ever.
        struck: how often it did.
    """

    name: str
    play: Play
    on: str | None = None
    after: int = 0
    times: int | None = 1
    struck: int = 0
    _passed: int = field(default=0, init=False, repr=False)

    def strikes(self, request: Any) -> bool:
        """Whether it is this request's turn; counts it if it matches."""
        if self.on is not None and operation_of(request) != self.on:
            return False
        if self._passed < self.after:
            self._passed += 1
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True


class Faults:
    """The faults of one driver; of two that match a request, the first strikes."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)

    def wrap(self, inner: AsyncHttpTransport[Any, Any]) -> FaultTransport:
        """To be given to a driver as ``wrap_transport``."""
        return FaultTransport(inner, self)

    def add(self, fault: Fault) -> Fault:
        """Add one more; returns it, to be asked later how often it ``struck``."""
        self.faults.append(fault)
        return fault


class FaultTransport(TransportWrapper):
    """Lets faults strike, and everything else through."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def send(self, request: Any, **options: Any) -> Any:
        async def really() -> Any:
            return await self.inner.send(request, **options)

        for fault in self._faults.faults:
            if fault.strikes(request):
                return await fault.play(request, really)
        return await really()


def refuse(**which: Any) -> Fault:
    """No connection can be had; nothing is sent. Keywords are those of :class:`Fault`."""

    async def play(request: Any, send: Send) -> Any:
        raise NotSentError("injected: connection refused")

    return Fault("refused", play, **which)


def reset(**which: Any) -> Fault:
    """The connection is lost before the service has the request, which the client cannot know."""

    async def play(request: Any, send: Send) -> Any:
        raise ServiceResponseError("injected: connection lost")

    return Fault("reset before sending", play, **which)


def lose_answer(**which: Any) -> Fault:
    """The service applies the request; its answer is lost."""

    async def play(request: Any, send: Send) -> Any:
        await _consume(await send())
        raise ServiceResponseError("injected: answer lost")

    return Fault("reset after the effect", play, **which)


def arrive_late(*, on: str) -> tuple[Fault, Fault]:
    """The first request is thought lost, and reaches the service just before the second one."""
    late: list[Send] = []

    async def first(request: Any, send: Send) -> Any:
        late.append(send)
        raise ServiceResponseError("injected: connection lost")

    async def second(request: Any, send: Send) -> Any:
        await _consume(await late[0]())
        return await send()

    return Fault("late", first, on=on), Fault("behind a late one", second, on=on)


def cut_answer(*, keep: float = 0.5, **which: Any) -> Fault:
    """The answer's body is cut off after a part ``keep`` of it."""

    async def play(request: Any, send: Send) -> Any:
        response = await send()
        if isinstance(response, AsyncHttpResponse) and not response.is_stream_consumed:
            return _CutResponse(response, keep)
        await _consume(response)
        raise IncompleteReadError("injected: answer cut")

    return Fault("reset in mid-answer", play, **which)


def stall(**which: Any) -> Fault:
    """Nothing comes back, for longer than anyone waits."""

    async def play(request: Any, send: Send) -> Any:
        await asyncio.sleep(3600)

    return Fault("stalled", play, **which)


def answer(
    status: int,
    error_code: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    **which: Any,
) -> Fault:
    """The service answers so, and does nothing."""

    async def play(request: Any, send: Send) -> Any:
        return CannedResponse(request, status, error_code, headers=headers, body=body)

    return Fault(f"{status} {error_code}".strip(), play, **which)


def answer_after(
    status: int, error_code: str = "", *, headers: Mapping[str, str] | None = None, **which: Any
) -> Fault:
    """The service applies the request, and answers so all the same."""

    async def play(request: Any, send: Send) -> Any:
        await _consume(await send())
        return CannedResponse(request, status, error_code, headers=headers)

    return Fault(f"{status} {error_code} after the effect", play, **which)


async def _consume(response: Any) -> None:
    if isinstance(response, AsyncHttpResponse) and not response.is_stream_consumed:
        await response.read()
        await response.close()


class CannedResponse(AsyncHttpResponse):
    """An answer that no server gave."""

    def __init__(
        self,
        request: Any,
        status: int,
        error_code: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        if body is None:
            body = b""
            if error_code and request.method != "HEAD":
                message = f"<Code>{escape(error_code)}</Code><Message>injected</Message>"
                body = f'<?xml version="1.0" encoding="utf-8"?><Error>{message}</Error>'.encode()
        own = {"Content-Length": str(len(body)), "x-ms-request-id": "injected"}
        if body:
            own["Content-Type"] = "application/xml"
        if error_code:
            own["x-ms-error-code"] = error_code
        self._request = request
        self._status = status
        self._headers = case_insensitive_dict({**own, **(headers or {})})
        self._body = body
        self._closed = False
        self._encoding: str | None = "utf-8"

    @property
    def request(self) -> Any:
        return self._request

    @property
    def status_code(self) -> int:
        return self._status

    @property
    def headers(self) -> Any:
        return self._headers

    @property
    def reason(self) -> str:
        return "injected"

    @property
    def content_type(self) -> str | None:
        return self._headers.get("Content-Type")

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def is_stream_consumed(self) -> bool:
        return self._closed

    @property
    def encoding(self) -> str | None:
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def url(self) -> str:
        return str(self._request.url)

    @property
    def content(self) -> bytes:
        return self._body

    def body(self) -> bytes:
        return self._body

    def parts(self) -> AsyncIterator[Any]:
        raise ValueError("not multipart")

    def text(self, encoding: str | None = None) -> str:
        return self._body.decode(encoding or self._encoding or "utf-8")

    def json(self) -> Any:
        return json.loads(self._body)

    def raise_for_status(self) -> None:
        if self._status >= 400:
            raise HttpResponseError(response=self)

    async def read(self) -> bytes:
        return self._body

    async def iter_raw(self, **kwargs: Any) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def iter_bytes(self, **kwargs: Any) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def close(self) -> None:
        self._closed = True

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _CutResponse(CannedResponse):
    """A real streamed answer whose body ends early, as a lost connection ends it."""

    def __init__(self, inner: AsyncHttpResponse, keep: float) -> None:
        super().__init__(inner.request, inner.status_code, headers=inner.headers, body=b"")
        self._inner = inner
        self._keep = int(int(inner.headers.get("Content-Length") or 0) * keep)

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.iter_raw()])

    async def iter_raw(self, **kwargs: Any) -> AsyncIterator[bytes]:
        left = self._keep
        async for chunk in self._inner.iter_raw():
            if left:
                yield chunk[:left]
            left -= min(left, len(chunk))
            if not left:
                break
        await self.close()
        raise IncompleteReadError("injected: answer cut")

    async def close(self) -> None:
        await super().close()
        await self._inner.close()
