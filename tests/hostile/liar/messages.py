"""What goes over the wire: requests as the server got them, and answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from azdriver.testing.recording import operation_of

__all__ = [
    "CONTENT",
    "DATE",
    "SECRET",
    "STAMP",
    "XML",
    "Answer",
    "Request",
    "entry",
    "failed",
    "listing",
    "xml",
]

SECRET: Final = "c2VjcmV0LXNpZ25hdHVyZQ"


CONTENT: Final = b"0123456789ab"


DATE: Final = "Sun, 01 Mar 2026 12:00:00 GMT"


@dataclass(frozen=True)
class Request:
    """One request as the server got it; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        query = urlsplit(self.target).query
        return {key: values[0] for key, values in parse_qs(query).items()}

    @property
    def operation(self) -> str:
        return operation_of(
            SimpleNamespace(url=self.target, method=self.method, headers=self.headers)
        )


@dataclass(frozen=True)
class Answer:
    """What goes back; ``tail`` is sent after it, without end where it has none."""

    status: str
    headers: tuple[tuple[str, str | bytes], ...] = ()
    body: bytes = b""
    length: bool = True
    raw: bytes | None = None
    tail: Callable[[], Iterator[bytes]] | None = None
    pause_seconds: float = 0.0
    keep_alive: bool = True

    def get(self, name: str) -> str | None:
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value if isinstance(value, str) else value.decode("latin-1")
        return None

    def without(self, name: str) -> Answer:
        rest = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=rest)

    def having(self, name: str, *values: str | bytes) -> Answer:
        clean = self.without(name)
        return replace(
            clean,
            headers=(*clean.headers, *((name, value) for value in values)),
            length=self.length and name.lower() != "content-length",
        )

    def encoded(self, method: str) -> bytes:
        if self.raw is not None:
            return self.raw
        head = [f"HTTP/1.1 {self.status}".encode()]
        for key, value in self.headers:
            shown = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
            head.append(key.encode() + b": " + shown)
        if self.length and self.get("Content-Length") is None:
            head.append(f"Content-Length: {len(self.body)}".encode())
        return b"\r\n".join(head) + b"\r\n\r\n" + (b"" if method == "HEAD" else self.body)


def xml(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()


def failed(status: str, code: str) -> Answer:
    body = xml(f"<Error><Code>{code}</Code><Message>polite</Message></Error>")
    return Answer(
        status, (("x-ms-error-code", code), ("Content-Type", "application/xml")), body=body
    )


def entry(name: str, **changed: str | None) -> str:
    """One blob of a listing; a field that is changed to None is left out."""
    fields: dict[str, str | None] = {
        "Last-Modified": DATE,
        "Etag": "0x8D1",
        "Content-Length": str(len(CONTENT)),
        "Content-Type": "application/octet-stream",
        "BlobType": "BlockBlob",
        **{key.replace("_", "-"): value for key, value in changed.items()},
    }
    inside = "".join(
        f"<{key}>{value}</{key}>" for key, value in fields.items() if value is not None
    )
    return f"<Blob><Name>{name}</Name><Properties>{inside}</Properties></Blob>"


def listing(blobs: str, marker: str = "", prefix: str = "") -> bytes:
    return xml(
        '<EnumerationResults ServiceEndpoint="http://x/" ContainerName="cage">'
        # The SDK asks for the next page with the prefix that the last answer says.
        f"<Prefix>{prefix}</Prefix><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )


XML: Final = (("Content-Type", "application/xml"),)


STAMP: Final = (("ETag", '"0x8D1"'), ("Last-Modified", DATE))
