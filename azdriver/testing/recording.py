"""Sees what a driver sends: a transport below the retry policy that records each request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from azure.core.pipeline.transport import AsyncHttpTransport

__all__ = ["RecordedRequest", "RecordingTransport", "TransportWrapper", "operation_of"]

# The REST operation by method and the query or header that tells it from the others.
# https://learn.microsoft.com/rest/api/storageservices/operations-on-blobs
_BY_COMP = {
    ("PUT", "appendblock"): "Append Block",
    ("PUT", "block"): "Put Block",
    ("PUT", "blocklist"): "Put Block List",
    ("GET", "blocklist"): "Get Block List",
    ("PUT", "copy"): "Abort Copy Blob",
    ("POST", "batch"): "Blob Batch",
    ("POST", "userdelegationkey"): "Get User Delegation Key",
    ("GET", "list"): "List Blobs",
    ("GET", "tags"): "Get Blob Tags",
}
_PROPERTIES_OF = {"account": "Get Account Information", "service": "Get Blob Service Properties"}


def operation_of(request: Any) -> str:
    """The name of the REST operation that a request is, such as ``"Put Blob"``."""
    query = parse_qs(urlsplit(request.url).query)
    comp = query.get("comp", [""])[0]
    if (request.method, comp) in _BY_COMP:
        return _BY_COMP[request.method, comp]
    if comp == "properties" and request.method == "GET":
        return _PROPERTIES_OF.get(query.get("restype", [""])[0], "GET properties")
    if query.get("restype") == ["container"]:
        return {"PUT": "Create Container", "DELETE": "Delete Container"}.get(
            request.method, "Get Container Properties"
        )
    if request.method == "PUT":
        if "x-ms-copy-source" in request.headers:
            return "Copy Blob"
        is_append = request.headers.get("x-ms-blob-type") == "AppendBlob"
        return "Create Append Blob" if is_append else "Put Blob"
    return {
        "GET": "Get Blob",
        "HEAD": "Get Blob Properties",
        "DELETE": "Delete Blob",
    }.get(request.method, f"{request.method} {comp}".strip())


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
