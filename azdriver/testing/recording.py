"""Sees what a driver sends: a transport below the retry policy that records each request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver.azureblob.restoperation import operation_of

__all__ = ["RecordedRequest", "RecordingTransport", "TransportWrapper", "operation_of"]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as it was handed to the network.

    Attributes:
        operation: the REST operation.
        path: the URL's path, decoded; never the query, which may hold a signature.
        sent_bytes: the length of its body.
    """

    operation: str
    path: str
    sent_bytes: int


class TransportWrapper(AsyncHttpTransport[Any, Any]):
    """Hands everything on to another transport; subclasses look or interfere in ``send``."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any]) -> None:
        self.inner = inner

    async def send(self, request: Any, **options: Any) -> Any:
        return await self.inner.send(request, **options)

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.inner.__aexit__(exc_type, exc_value, traceback)


class RecordingTransport(TransportWrapper):
    """Records every request; ``AzureBlobDriver(options, wrap_transport=RecordingTransport)``
    or ``wrap_transport=lambda inner: RecordingTransport(inner, requests)`` for a list of yours.
    """

    def __init__(
        self, inner: AsyncHttpTransport[Any, Any], requests: list[RecordedRequest] | None = None
    ) -> None:
        super().__init__(inner)
        self.requests = [] if requests is None else requests

    async def send(self, request: Any, **options: Any) -> Any:
        path = unquote(urlsplit(request.url).path)
        length = int(request.headers.get("Content-Length") or 0)
        self.requests.append(RecordedRequest(operation_of(request), path, length))
        return await super().send(request, **options)

    def counts(self) -> dict[str, int]:
        """How many requests of each operation were sent."""
        return dict(Counter(request.operation for request in self.requests))
