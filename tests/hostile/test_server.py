"""A hostile server: every operation × every request that it sends × every hostile answer.

A loopback server plays the service. It first answers politely, which tells what each operation
sends; then each of those requests is answered with each of the lies below, made out of the polite
answer. One of two ends is allowed: an error of the contract, or a result that a caller can use.
No hang, no flood of memory, no request to another container, host or port, no secret in a message.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import os
import posixpath
import re
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from azdriver import AzureBlobDriver, BackendError, FileInfo, StorageDriverError
from azdriver.azureblob import AzureBlobOptions, RetrySettings
from azdriver.azureblob import listing as listing_module
from azdriver.azureblob import session as session_module
from azdriver.azureblob.options import SasToken
from azdriver.paths import is_path
from azdriver.testing.recording import operation_of

SECRET: Final = "c2VjcmV0LXNpZ25hdHVyZQ"
CONTENT: Final = b"0123456789ab"
DATE: Final = "Sun, 01 Mar 2026 12:00:00 GMT"
BLOBS: Final = {
    "content": "BlockBlob",
    "stream": "AppendBlob",
    **{f"dir/{number}": "BlockBlob" for number in range(7)},
}
PAGE: Final = 3
# No cell may take longer. The longest is a legacy blob whose deletion is never answered: it is
# looked at 20 times, and each time the driver waits as long as for any request.
HANG_SECONDS: Final = 15.0


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


def polite(request: Request) -> Answer:
    """What the service would answer."""
    name = request.path.removeprefix("/account/cage").lstrip("/")
    match request.operation:
        case "Create Container" | "Put Blob" | "Create Append Blob" | "Append Block":
            return Answer("201 Created", STAMP)
        case "Delete Blob":
            return Answer("202 Accepted")
        case "Copy Blob":
            copied = (("x-ms-copy-id", "1"), ("x-ms-copy-status", "success"))
            return Answer("202 Accepted", STAMP + copied)
        case "Get Blob Properties":
            if name not in BLOBS:
                return Answer("404 Not Found", (("x-ms-error-code", "BlobNotFound"),))
            about = (("Content-Length", str(len(CONTENT))), ("x-ms-blob-type", BLOBS[name]))
            return Answer("200 OK", STAMP + about + (("x-ms-blob-committed-block-count", "1"),))
        case "Get Blob":
            return polite_content(request, name)
        case "List Blobs":
            return polite_listing(request)
        case "Blob Batch":
            count = len(re.findall(rb"^DELETE ", request.body, re.MULTILINE))
            return batch(["HTTP/1.1 202 Accepted\r\n\r\n" for _ in range(count)])
    return failed("400 Bad Request", "UnsupportedHttpVerb")


def polite_content(request: Request, name: str) -> Answer:
    if name not in BLOBS:
        return failed("404 Not Found", "BlobNotFound")
    wanted = request.headers.get("x-ms-range")
    if wanted is None:
        return Answer("200 OK", STAMP, body=CONTENT)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    part = CONTENT[int(first) : int(last) + 1 if last else None]
    if not part:
        refused = failed("416 Requested Range Not Satisfiable", "InvalidRange")
        return refused.having("Content-Range", f"bytes */{len(CONTENT)}")
    end = int(first) + len(part) - 1
    spans = (("Content-Range", f"bytes {first}-{end}/{len(CONTENT)}"),)
    return Answer("206 Partial Content", STAMP + spans, body=part)


def polite_listing(request: Request) -> Answer:
    prefix = request.query.get("prefix", "")
    marker = request.query.get("marker", "0")
    begin = int(marker) if marker.isdecimal() else 0  # one that a lie gave
    count = int(request.query.get("maxresults", str(PAGE)))
    items: dict[str, str] = {}
    for name in sorted(BLOBS):
        if name.startswith(prefix):
            segment, slash, _ = name[len(prefix) :].partition("/")
            if "delimiter" in request.query and slash:
                directory = prefix + segment + "/"
                items[directory] = f"<BlobPrefix><Name>{directory}</Name></BlobPrefix>"
            else:
                items[name] = entry(name, BlobType=BLOBS[name])
    page = list(items.values())[begin : begin + count]
    more = begin + count < len(items)
    following = str(begin + count) if more else ""
    return Answer("200 OK", XML, body=listing("".join(page), following, prefix))


def batch(parts: list[str], *, boundary: str = "batchresponse_1", end: str = "--\r\n") -> Answer:
    lines = "".join(
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n{part}\r\n"
        for number, part in enumerate(parts)
    )
    kind = (("Content-Type", "multipart/mixed; boundary=batchresponse_1"),)
    return Answer("202 Accepted", kind, body=f"{lines}--{boundary}{end}".encode())


# The lies.

Lie: TypeAlias = Callable[[Request, Answer], Answer]


@dataclass(frozen=True)
class Hostile:
    """One hostile answer.

    Attributes:
        name: for messages.
        lie: makes it out of the polite one.
        consistent: it is another answer that a server may well give: what comes out of it is
            only looked at for its form, since no client could know better.
        slow: the driver waits for it as long as it waits for anything.
        on: the only REST operation that this is a lie about; "" for all.
    """

    name: str
    lie: Lie
    consistent: bool = False
    slow: bool = False
    on: str = ""


def always(answer: Answer) -> Lie:
    return lambda request, polite_answer: answer


def having(header: str, value: str | bytes) -> Lie:
    return lambda request, answer: answer.having(header, value)


def having_status(status: str) -> Lie:
    return lambda request, answer: replace(answer, status=status)


def having_chunks(chunks: bytes) -> Lie:
    return lambda request, answer: _chunked(answer, chunks)


def packed(encoding: str, body: Callable[[bytes], bytes] | None) -> Lie:
    """The body as it was, compressed; or without one, a bomb."""
    pack = gzip.compress if encoding == "gzip" else _deflated

    def lie(request: Request, answer: Answer) -> Answer:
        content = _bomb(encoding) if body is None else pack(body(answer.body))
        return replace(answer.having("Content-Encoding", encoding), body=content)

    return lie


def with_body(body: bytes, kind: str = "application/xml") -> Lie:
    return lambda request, answer: replace(
        answer.without("Content-Length").having("Content-Type", kind), body=body
    )


_BAD_VALUES: Final[dict[str, tuple[str | bytes, ...]]] = {
    "missing": (),
    "empty": ("",),
    "a word": ("x",),
    "negative": ("-1",),
    "zero": ("0",),
    "huge": ("9" * 30,),
    "a fraction": ("1.5",),
    "digits that are not ASCII": ("١٢",),
    "quotes": ('"""',),
    "long": ("x" * 7000,),
    "too long": ("x" * 20_000,),
    "twice": ("3", "7"),
    "bytes that are no UTF-8": (b"\xff\xfe\x80",),
    "a NUL": (b"a\0b",),
    "a bare CR": (b"a\rb",),
    "a folded line": (b"a\r\n b",),
    "another header": (b"a\r\nContent-Length: 1",),
}
_HEADERS: Final = (
    "ETag",
    "Last-Modified",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "x-ms-blob-type",
    "x-ms-blob-committed-block-count",
    "x-ms-copy-id",
    "x-ms-copy-status",
    "x-ms-error-code",
)


def _set(header: str, values: tuple[str | bytes, ...]) -> Lie:
    def lie(request: Request, answer: Answer) -> Answer:
        known = header == "Content-Length" or answer.get(header) is not None
        return answer.having(header, *values) if known else answer

    return lie


def _header_lies() -> Iterator[Hostile]:
    for header, (name, values) in itertools.product(_HEADERS, _BAD_VALUES.items()):
        # A shorter length that is right by itself makes a shorter content, a type that is
        # another one another blob.
        yield Hostile(f"{header}: {name}", _set(header, values), consistent=True)
    extra: dict[str, tuple[str, str | bytes]] = {
        "metadata that is no UTF-8": ("x-ms-meta-azdriver_write_id", b"\xff\xff"),
        "a bad creation time": ("x-ms-creation-time", "yesterday"),
        "a bad boolean": ("x-ms-server-encrypted", "perhaps"),
        "a bad MD5": ("Content-MD5", "not base64 !"),
        "a replication policy without a rule": ("x-ms-or-x", "complete"),
        "Retry-After of an age": ("Retry-After", "1e9"),
        "Retry-After that is no number": ("Retry-After", "nan"),
        "a cookie": ("Set-Cookie", "a=b"),
        "a service's transfer encoding": ("Transfer-Encoding", "gzip"),
        "an unknown content encoding": ("Content-Encoding", "br"),
        "a tag count of letters": ("x-ms-tag-count", "x"),
        "a lease of no kind": ("x-ms-lease-state", "x"),
        "a copy without end": ("x-ms-copy-progress", "x/y/z"),
    }
    for name, (header, value) in extra.items():
        yield Hostile(name, having(header, value))
    many = tuple((f"x-ms-meta-{number}", "x") for number in range(40_000))
    yield Hostile("40,000 headers", lambda r, a: replace(a, headers=a.headers + many))
    yield Hostile(
        "headers without end",
        always(Answer("200 OK", raw=b"HTTP/1.1 200 OK\r\n", tail=_without_end(b"a: b\r\n"))),
    )


def _status_lies() -> Iterator[Hostile]:
    for status in (
        *("101 Switching Protocols", "200 OK", "201 Created", "202 Accepted", "203 X", "204 X"),
        *("205 X", "206 Partial Content", "226 X", "299 X", "300 X", "304 X", "305 X", "400 X"),
        *("401 X", "402 X", "403 X", "404 X", "405 X", "407 X", "408 X", "409 X", "410 X"),
        *("411 X", "412 X", "413 X", "414 X", "416 X", "417 X", "418 X", "421 X", "429 X"),
        *("431 X", "451 X", "500 X", "501 X", "502 X", "503 X", "504 X", "505 X", "511 X"),
        *("599 X", "600 X", "999 X", "000 X", "200", "20 X", "2000 X", "-20 X", "x X", ""),
    ):
        yield Hostile(f"status {status!r}", having_status(status))
    for code in ("BlobNotFound", "ContainerNotFound", "BlobAlreadyExists", "ConditionNotMet"):
        for status in ("200 OK", "404 X", "409 X", "412 X", "503 X"):
            yield Hostile(f"{status[:3]} {code}", always(failed(status, code)), consistent=True)
    bodies: dict[str, tuple[str, bytes]] = {
        "no message": ("application/xml", xml("<Error><Code>LeaseIdMissing</Code></Error>")),
        "no code": ("application/xml", xml("<Error><Message>x</Message></Error>")),
        "an empty element": ("application/xml", b"<Error/>"),
        "not XML": ("application/xml", b"<Error><Code>"),
        "HTML": ("text/html", b"<html>Bad gateway</html>"),
        "JSON": ("application/json", b'{"error": {"code": "X"}}'),
        "a JSON list": ("application/json", b"[1, 2]"),
        "a JSON text": ("application/json", b'"x"'),
        "a JSON error that is a list": ("application/json", b'{"error": [1]}'),
        "bad JSON": ("application/json", b"{"),
        "deep JSON": ("application/json", b"[" * 100_000),
        "a long JSON number": ("application/json", b"1" * 10_000),
        "bytes that are no UTF-8": ("application/xml", b"\xff\xff\xff"),
        "an unknown charset": ("application/xml; charset=nonsense", b"<Error/>"),
        "a charset that is no text": ("application/xml; charset=base64", b"<Error/>"),
        "no type": ("", b"<Error/>"),
        "a bomb": ("application/xml", _LAUGHS),
        "a bomb in UTF-16": (
            "application/xml; charset=utf-16",
            _LAUGHS.decode().replace("utf-8", "utf-16").encode("utf-16"),
        ),
    }
    for (name, (kind, body)), status in itertools.product(
        bodies.items(), ("400 X", "404 X", "409 X", "412 X")
    ):
        headers = (("Content-Type", kind),) if kind else ()
        yield Hostile(f"{status[:3]} with {name}", always(Answer(status, headers, body=body)))


def _framing_lies() -> Iterator[Hostile]:
    for name, raw in {
        "nothing": b"",
        "an empty line": b"\r\n",
        "garbage": b"\x00\x01\x02\x03 garbage \xff\xff\r\n\r\n",
        "HTTP/0.9": b"<html>hello</html>",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x15\x03\x01\x00\x02\x02\x50",
        "a version that is none": b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "no version": b"200 OK\r\n\r\n",
        "half a status line": b"HTTP/1.1 20",
        "half a header": b"HTTP/1.1 200 OK\r\nETa",
        "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "a header's name with a space": b"HTTP/1.1 200 OK\r\nETag : x\r\n\r\n",
        "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "a long status line": b"HTTP/1.1 200 " + b"x" * 20_000 + b"\r\n\r\n",
        "a hundred continues": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    }.items():
        yield Hostile(name, always(Answer("", raw=raw, keep_alive=False)))
    yield Hostile(
        "early hints first",
        lambda r, a: replace(
            a, raw=b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + a.encoded(r.method)
        ),
    )
    yield Hostile(
        "continues without end",
        always(Answer("", raw=b"", tail=_without_end(b"HTTP/1.1 100 Continue\r\n\r\n"))),
        slow=True,
    )
    yield Hostile("two answers at once", lambda r, a: replace(a, raw=a.encoded(r.method) * 2))
    yield Hostile(
        "a body after none", lambda r, a: replace(a, raw=a.encoded(r.method) + b"x" * 1000)
    )
    yield Hostile("half of the body", lambda r, a: replace(a, raw=_cut(r, a), keep_alive=False))
    yield Hostile(
        "a length that is too long",
        lambda r, a: replace(a.having("Content-Length", str(len(a.body) + 9)), keep_alive=False),
        consistent=True,
    )
    yield Hostile(
        "a length of a terabyte",
        lambda r, a: replace(a.having("Content-Length", str(10**12)), keep_alive=False),
        consistent=True,
    )
    yield Hostile(
        "a body up to the end of the connection",
        lambda r, a: replace(a, length=False, keep_alive=False),
    )
    yield Hostile(
        "chunked", lambda r, a: _chunked(a, b"%x\r\n%s\r\n0\r\n\r\n" % (len(a.body), a.body))
    )
    yield Hostile(
        "chunked without an end", lambda r, a: _chunked(a, b"%x\r\n%s\r\n" % (len(a.body), a.body))
    )
    yield Hostile(
        "chunked and a length",
        lambda r, a: _chunked(a, b"%x\r\n%s\r\n0\r\n\r\n" % (len(a.body), a.body)).having(
            "Content-Length", "3"
        ),
    )
    for size in (b"x", b"-1", b"0x3", b"ffffffffffffffffff", b"", b"9" * 10_000):
        yield Hostile(
            f"a chunk of the size {size[:20]!r}",
            having_chunks(size + b"\r\nabc\r\n0\r\n\r\n"),
        )
    yield Hostile(
        "chunks without end",
        lambda r, a: replace(
            _chunked(a, b""), tail=_without_end(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        ),
    )
    yield Hostile(
        "trailers without end",
        lambda r, a: replace(_chunked(a, b"0\r\n"), tail=_without_end(b"a: b\r\n")),
    )
    for encoding in ("gzip", "deflate"):
        yield Hostile(f"{encoding}, which it is not", having("Content-Encoding", encoding))
        yield Hostile(encoding, packed(encoding, bytes), consistent=True)
        yield Hostile(f"{encoding}, a bomb", packed(encoding, None), consistent=True)
    yield Hostile(
        "stalled before the answer",
        always(Answer("", raw=b"", tail=lambda: iter((b"",)), pause_seconds=60)),
        slow=True,
    )
    yield Hostile(
        "stalled in the body",
        lambda r, a: replace(a, raw=_cut(r, a), tail=lambda: iter((b"",)), pause_seconds=60),
        slow=True,
    )
    yield Hostile(
        "a slow drip of headers",
        always(
            Answer(
                "", raw=b"HTTP/1.1 200 OK\r\n", tail=_without_end(b"a: b\r\n"), pause_seconds=0.05
            )
        ),
        slow=True,
    )
    yield Hostile(
        "a slow drip of a body",
        lambda r, a: replace(
            a.having("Content-Length", str(10**6)),
            body=b"",
            tail=_without_end(b"x"),
            pause_seconds=0.05,
        ),
        slow=True,
        consistent=True,
    )


def _cut(request: Request, answer: Answer) -> bytes:
    whole = answer.encoded(request.method)
    return whole[: len(whole) - (len(answer.body) + 1) // 2]


def _chunked(answer: Answer, body: bytes) -> Answer:
    clean = answer.without("Content-Length").having("Transfer-Encoding", "chunked")
    return replace(clean, body=body, length=False)


def _deflated(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


_BOMBS: dict[str, bytes] = {}


def _bomb(encoding: str) -> bytes:
    """A hundred KB that are a hundred MB."""
    if encoding not in _BOMBS:
        plain = bytes(100 * 1024 * 1024)
        _BOMBS[encoding] = gzip.compress(plain, 6) if encoding == "gzip" else _deflated(plain)
    return _BOMBS[encoding]


def _without_end(piece: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.repeat(piece)


_LAUGHS: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE x [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 11))
    + b"]><Error><Code>&a10;</Code><Message>&a10;</Message></Error>"
)


def _redirect_lies() -> Iterator[Hostile]:
    for status in ("300 X", "301 X", "302 X", "303 X", "307 X", "308 X"):
        for place in (
            "{bait}/account/cage/content",
            "/account/other/content",
            "//{bait_host}/account/cage/content",
            "../other/content",
            "file:///etc/passwd",
            "http://[",
            "",
        ):
            yield Hostile(
                f"{status[:3]} to {place}",
                always(Answer(status, (("Location", place),))),
            )
    yield Hostile("refresh", lambda r, a: a.having("Refresh", "0; url={bait}"))
    yield Hostile("alternative service", lambda r, a: a.having("Alt-Svc", 'h2="{bait_host}"'))
    yield Hostile("content location", lambda r, a: a.having("Content-Location", "{bait}/x"))
    yield Hostile(
        "a proxy asks for a login", always(Answer("407 X", (("Proxy-Authenticate", "Basic"),)))
    )
    yield Hostile(
        "a server asks for a login",
        always(Answer("401 X", (("WWW-Authenticate", 'Bearer authorization_uri="{bait}"'),))),
    )


def _listing_lies() -> Iterator[Hostile]:
    external = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{what}">]>'
    results = "<EnumerationResults><Blobs>{0}</Blobs><NextMarker/></EnumerationResults>"
    quadratic = f'<!DOCTYPE x [<!ENTITY e "{"x" * 100_000}">]>'
    documents: dict[str, bytes] = {
        "laughs": _LAUGHS,
        "a quadratic bomb": (quadratic + results.format(entry("&e;" * 1000))).encode(),
        "an external entity": (
            external.format(what="file:///etc/passwd") + results.format(entry("&e;"))
        ).encode(),
        "an entity from the bait": (
            external.format(what="{bait}/dtd") + results.format(entry("&e;"))
        ).encode(),
        "an external DTD": b'<!DOCTYPE x SYSTEM "{bait}/x.dtd">' + results.format("").encode(),
        "an undefined entity": results.format(entry("&undefined;")).encode(),
        "no document": b"",
        "spaces": b"   ",
        "text": b"hello",
        "an unclosed tag": b"<EnumerationResults><Blobs>",
        "half": listing(entry("dir/1"))[:-40],
        "another root": b"<Other/>",
        "a bare root": b"<EnumerationResults/>",
        "no Blobs": b"<EnumerationResults><NextMarker/></EnumerationResults>",
        "Blobs twice": listing("</Blobs><Blobs>"),
        "no marker": b"<EnumerationResults><Blobs/></EnumerationResults>",
        "UTF-16": listing(entry("dir/1")).decode().replace("utf-8", "utf-16").encode("utf-16"),
        "Latin-1": listing(entry("dir/\xe9")).decode().encode("latin-1"),
        "a lie about the encoding": listing(entry("dir/\xe9")).replace(b"utf-8", b"ascii"),
        "an unknown encoding": listing(entry("dir/1")).replace(b"utf-8", b"nonsense"),
        "a NUL": listing(entry("dir/\0")),
        "no UTF-8": listing(entry("dir/1")).replace(b"dir", b"\xff\xfe"),
        "a byte order mark": b"\xef\xbb\xbf" + listing(entry("dir/1")),
        "a deep nest": listing("<a>" * 50_000 + "</a>" * 50_000),
        "many elements": listing("<a/>" * 200_000),
        "a namespace": listing(entry("dir/1")).replace(
            b"<EnumerationResults", b'<EnumerationResults xmlns="urn:x"'
        ),
        "a processing instruction": b'<?xml-stylesheet href="{bait}/x.xsl"?>' + listing(""),
        "an include": listing(
            '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{bait}"/>'
        ),
        "no Name": listing(entry("dir/1").replace("<Name>dir/1</Name>", "")),
        "an empty Name": listing(entry("")),
        "a Name of elements": listing(entry("<b>dir</b>")),
        "Name twice": listing(entry("dir/1</Name><Name>dir/2")),
        "an encoded Name": listing(
            entry("dir/1").replace("<Name>", '<Name Encoded="true">%2e%2e%2f')
        ),
        "a Name with a bad flag": listing(
            entry("dir/1").replace("<Name>", '<Name Encoded="perhaps">')
        ),
        "no Properties": listing("<Blob><Name>dir/1</Name></Blob>"),
        "empty Properties": listing("<Blob><Name>dir/1</Name><Properties/></Blob>"),
        "a BlobPrefix without a Name": listing("<BlobPrefix/>"),
        "a bare BlobPrefix": listing("<BlobPrefix><Name>/</Name></BlobPrefix>"),
        "a BlobPrefix that climbs": listing("<BlobPrefix><Name>dir/../</Name></BlobPrefix>"),
        "a name twice": listing(entry("dir/1") * 2),
        "names out of order": listing(entry("dir/2") + entry("dir/1")),
        "a name of another directory": listing(entry("other/1")),
        "two names that climb": listing(entry("dir/1") + entry("dir/../../other/x")),
    }  # fmt: skip
    for key in ("Etag", "Last_Modified", "Content_Length", "BlobType", "Content_Type"):
        for value in (None, "", "x", "-1", "1.5", "9" * 30, "٣", "\n", "true", "\ud7ff"):
            documents[f"{key} {value!r}"] = listing(entry("dir/1", **{key: value}))
    for key in ("Creation-Time", "LeaseStatus", "AccessTier", "Content-MD5", "TagCount", "Sealed"):
        documents[f"{key} of nonsense"] = listing(entry("dir/1", **{key: "nonsense"}))
    for name, document in documents.items():
        yield Hostile(f"XML: {name}", with_body(document), consistent=True)
    for name in (
        *(
            "../x",
            "dir/../../x",
            "dir/..",
            ".",
            "/",
            "//",
            "dir//",
            "dir/",
            "/etc/passwd",
            "dir/\\x",
        ),
        *("dir/%2e%2e", "dir/a?b", "dir/a#b", "dir/\r\nx", "dir/ x", "dir/\u202e", "dir/\x7f"),
        *("x" * 1025, "dir/" + "y" * 1_000_000, "/".join("x" * 300), "dir/é", "cage/dir/1"),
    ):
        shown = name if len(name) < 40 else f"{name[:20]}… ({len(name)})"
        yield Hostile(f"name {shown!r}", with_body(listing(entry(escape(name)))), consistent=True)
    for kind in (
        "",
        "text/plain",
        "application/json",
        "text/html",
        "x" * 5000,
        "application/vnd.apache.arrow.stream",
        "multipart/mixed; boundary=x",
    ):
        yield Hostile(f"a listing as {kind[:40]!r}", having("Content-Type", kind))
    yield Hostile(
        "the same marker for ever", with_body(listing(entry("dir/1"), "again")), consistent=True
    )
    yield Hostile(
        "empty pages with the same marker", with_body(listing("", "again")), consistent=True
    )
    numbers = itertools.count()
    yield Hostile(
        "empty pages for ever",
        lambda r, a: with_body(listing("", f"m{next(numbers)}"))(r, a),
        consistent=True,
    )
    yield Hostile(
        "a marker of a megabyte",
        with_body(listing(entry("dir/1"), "m" * 1_000_000)),
        consistent=True,
    )
    yield Hostile(
        "a marker that injects",
        with_body(listing(entry("dir/1"), "a&amp;comp=x#\r\nX: y")),
        consistent=True,
    )


def _batch_lies() -> Iterator[Hostile]:
    good = "HTTP/1.1 202 Accepted\r\n\r\n"
    answers: dict[str, Answer] = {
        "no part": batch([]),
        "one part": batch([good]),
        "a thousand parts": batch([good] * 1000),
        "another boundary": batch([good] * 3, boundary="other"),
        "no end": batch([good] * 3, end=""),
        "empty parts": batch([""] * 3),
        "garbage": batch(["\0\1\2"] * 3),
        "no status": batch(["HTTP/1.1 \r\n\r\n"] * 3),
        "a status of letters": batch(["HTTP/1.1 abc X\r\n\r\n"] * 3),
        "a status of 9 digits": batch(["HTTP/1.1 202202202 X\r\n\r\n"] * 3),
        "no HTTP": batch(["202 Accepted\r\n\r\n"] * 3),
        "a nest": batch(["HTTP/1.1 202 X\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y"]),
        "all gone": batch(["HTTP/1.1 404 Not Found\r\n\r\n"] * 7),
        "all refused": batch(["HTTP/1.1 403 Forbidden\r\n\r\n"] * 7),
        "one throttled": batch([good] * 6 + ["HTTP/1.1 503 Busy\r\n\r\n"]),
        "long headers": batch([f"HTTP/1.1 202 X\r\na: {'x' * 100_000}\r\n\r\n"] * 7),
        "many headers": batch(["HTTP/1.1 202 X\r\n" + "a: b\r\n" * 1000 + "\r\n"] * 7),
    }
    for name, answer in answers.items():
        yield Hostile(f"batch of {name}", always(answer))
    for kind in ("", "multipart/mixed", "multipart/mixed; boundary=", "text/plain", "multipart/é"):
        yield Hostile(
            f"a batch as {kind!r}", always(batch([good] * 7).having("Content-Type", kind))
        )
    nested = "HTTP/1.1 202 X\r\n\r\n"
    part = batch([good]).having("Content-Type", "multipart/mixed; boundary=batchresponse_1")
    inner = replace(
        part, body=part.body.replace(b"application/http", b"multipart/mixed; boundary=z")
    )
    yield Hostile(f"a batch in a batch {nested[:8]}", always(inner))


LIES: Final = [
    *_header_lies(),
    *_status_lies(),
    *_framing_lies(),
    *_redirect_lies(),
    *(replace(hostile, on="List Blobs") for hostile in _listing_lies()),
    *(replace(hostile, on="Blob Batch") for hostile in _batch_lies()),
]


# The server.


@dataclass
class Server:
    """Answers politely until it is told what to lie, and to which request."""

    endpoint: str = ""
    requests: list[Request] = field(default_factory=list)
    lie: Lie | None = None
    operation: str = ""
    skip: int = 0  # so many requests of this operation are answered politely first
    bait: str = ""
    visitors: int = 0  # connections to the bait

    def reset(self) -> None:
        self.requests.clear()
        self.lie = None

    def answer(self, request: Request) -> Answer:
        answer = polite(request)
        if self.lie is None or request.operation != self.operation:
            return answer
        if self.skip:
            self.skip -= 1
            return answer
        return self.lie(request, answer)

    def _named(self, data: bytes) -> bytes:
        if b"{bait" not in data:
            return data
        host = urlsplit(self.bait).netloc
        return data.replace(b"{bait}", self.bait.encode()).replace(b"{bait_host}", host.encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep_alive = True
        while keep_alive and (head := await reader.readuntil(b"\r\n\r\n")):
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines if line)
            headers = {key.strip().lower(): value.strip() for key, _, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Request(method, target, headers, body)
            self.requests.append(request)
            answer = self.answer(request)
            writer.write(self._named(answer.encoded(method)))
            await writer.drain()
            if answer.tail is not None:
                for piece in answer.tail():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(answer.pause_seconds)
            keep_alive = answer.keep_alive and answer.tail is None

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visitors += 1


Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncGenerator[str, None]:
    """A loopback server that hangs up when its handler ends; yields its URL."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await handle(reader, writer)
                await writer.drain()
                writer.close()
                return
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=8 * 1024 * 1024)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        await asyncio.sleep(0.01)  # for what was accepted this moment
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()


@asynccontextmanager
async def hostile_server() -> AsyncGenerator[Server, None]:
    server = Server()
    async with listening(server.serve) as endpoint, listening(server.visited) as bait:
        server.endpoint = f"{endpoint}/account"
        server.bait = bait
        yield server


def hurried(server: Server, *, connections: int = 2, lean_lane: bool = True) -> AzureBlobDriver:
    """A driver that gives up soon, with blocks and ranges of five bytes."""
    return AzureBlobDriver(
        AzureBlobOptions(
            account_url=server.endpoint,
            container="cage",
            credential=SasToken(f"sv=2021-12-02&sig={SECRET}"),
            append_block_bytes=5,
            read_range_bytes=5,
            connections=connections,
            lean_lane=lean_lane,
            connect_timeout_seconds=0.3,
            pool_timeout_seconds=0.3,
            read_timeout_seconds=0.2,
            copy_poll_seconds=0.01,
            copy_timeout_seconds=0.1,
            retry=RetrySettings(
                retries=1,
                first_delay_seconds=0.001,
                longest_delay_seconds=0.002,
                attempt_seconds=0.2,
                total_seconds=0.4,
            ),
        )
    )


# The operations.


async def _read(driver: AzureBlobDriver, offset: int = 0, length: int | None = None) -> bytes:
    async with driver.reader("/content", offset, length=length) as reader:
        parts = []
        async for chunk in reader:
            parts.append(chunk)
            assert sum(map(len, parts)) < 10_000_000, "more than anyone asked for"
        return b"".join(parts)


async def _write(driver: AzureBlobDriver, end: str = "commit", *, append: bool = False) -> int:
    async with driver.writer("/stream", append=append) as writer:
        await writer.write(CONTENT)
        await getattr(writer, end)()
        return 0 if end == "cancel" else writer.size


async def _walk(driver: AzureBlobDriver, *, skip: bool = False) -> list[FileInfo]:
    infos: list[FileInfo] = []
    walk = driver.walk("/")
    async for info in walk:
        infos.append(info)
        assert len(infos) < 1000, "more than anyone stored"
        if skip and info.is_dir:
            walk.skip()
    return infos


async def _open(driver: AzureBlobDriver) -> None:
    async with AzureBlobDriver(driver.options):
        pass


Call: TypeAlias = Callable[[AzureBlobDriver], Awaitable[Any]]

OPERATIONS: Final[dict[str, Call]] = {
    "open": _open,
    "get_content": lambda d: d.get_content("/content"),
    "put_content": lambda d: d.put_content("/new", CONTENT),
    "put_content over a legacy blob": lambda d: d.put_content("/stream", CONTENT),
    "put_content if_match": lambda d: d.put_content("/content", CONTENT, if_match='"0x8D1"'),
    "put_content if_absent": lambda d: d.put_content("/new", CONTENT, if_absent=True),
    "reader": _read,
    "reader with an offset": lambda d: _read(d, 3, 6),
    "reader past the end": lambda d: _read(d, 100),
    "reader of nothing": lambda d: _read(d, 0, 0),
    "writer": _write,
    "writer, append": lambda d: _write(d, append=True),
    "writer, close": lambda d: _write(d, "close"),
    "writer, cancel": lambda d: _write(d, "cancel"),
    "stat a file": lambda d: d.stat("/content"),
    "stat a directory": lambda d: d.stat("/dir"),
    "stat the root": lambda d: d.stat("/"),
    "list": lambda d: d.list("/dir"),
    "walk": _walk,
    "walk and skip": lambda d: _walk(d, skip=True),
    "move": lambda d: d.move("/content", "/new"),
    "delete a blob": lambda d: d.delete("/content"),
    "delete a tree": lambda d: d.delete("/dir"),
}


Target: TypeAlias = tuple[str, int]
"""A request of an operation: its REST operation, and which one of that kind."""


async def requests_of(server: Server, call: Call) -> dict[Target, Request]:
    """What an operation sends when all goes well."""
    async with hurried(server) as driver:
        server.reset()
        await call(driver)
        counts: dict[str, int] = {}
        seen: dict[Target, Request] = {}
        for request in server.requests:
            number = counts.setdefault(request.operation, 0)
            counts[request.operation] += 1
            seen[request.operation, number] = request
        return seen


# What is known to be wrong, by the operation's name and the lie's: not run, so that it does not
# hang. Each is to be taken out when it is repaired.
def cells(
    name: str, targets: dict[Target, Request], *, slow: bool
) -> Iterator[tuple[Target, Hostile]]:
    """Each request with each lie that is one about it.

    The default run takes a fourth of them, and a 16th for the second and later requests of a
    kind; another fourth for each operation, so that each lie has its turn. ``AZDRIVER_SOAK``
    takes them all.
    """
    shift = list(OPERATIONS).index(name)
    for turn, (target, request) in enumerate(targets.items()):
        answer = polite(request)
        for number, hostile in enumerate(LIES):
            if hostile.slow != slow or hostile.on not in ("", target[0]):
                continue
            if hostile.lie(request, answer) == answer:
                continue
            every = 4 if target[1] == 0 else 16
            if "AZDRIVER_SOAK" in os.environ or (number + turn + shift) % every == 0:
                yield target, hostile


def _is_info(info: object) -> bool:
    if not isinstance(info, FileInfo) or not is_path(info.path):
        return isinstance(info, FileInfo) and info.path == "/" and info.is_dir
    if info.is_dir:
        return (info.size, info.mod_time, info.etag) == (0, None, None)
    return (
        isinstance(info.size, int)
        and info.size >= 0
        and info.mod_time is not None
        and info.mod_time.utcoffset() == timedelta(0)
        and isinstance(info.etag, str)
        and len(info.etag) > 2
        and info.etag[0] == info.etag[-1] == '"'
    )


def fault_of(name: str, result: Any, right: Any, *, consistent: bool) -> str:
    """What is wrong with a result; "" if nothing is."""
    if isinstance(right, FileInfo):
        # After a lost answer a put does not always know the version.
        if name.startswith("put") and isinstance(result, FileInfo) and result.etag is None:
            result = replace(result, etag=right.etag)
        if not _is_info(result) or result.path != right.path:
            return f"no FileInfo: {result!r:.200}"
    elif name == "list":
        if not all(is_path(path) and path.startswith("/dir/") for path in result):
            return f"paths from elsewhere: {result!r:.200}"
        if result != sorted(set(result)):
            return f"not sorted, or twice: {result!r:.200}"
    elif name.startswith("walk"):
        if not all(_is_info(info) for info in result):
            return f"no FileInfo: {result!r:.200}"
    elif type(result) is not type(right):
        return f"another type: {result!r:.200}"
    if not consistent and not name.startswith(("put", "stat")) and result != right:
        return f"wrong: {result!r:.200}"
    return ""


async def struck(
    server: Server,
    driver: AzureBlobDriver,
    name: str,
    right: Any,
    target: Target,
    hostile: Hostile,
) -> str:
    """Run one cell; what is wrong with its outcome, "" if nothing is."""
    server.reset()
    server.lie, (server.operation, server.skip) = hostile.lie, target
    try:
        async with asyncio.timeout(HANG_SECONDS):
            result = await OPERATIONS[name](driver)
    except StorageDriverError as error:
        fault = "a secret in the message" if SECRET in str(error) else ""
        if len(str(error)) > 10_000:  # a header, which aiohttp bounds
            fault = f"a message of {len(str(error))} characters"
    except TimeoutError:
        fault = "hangs"
    except Exception as error:
        fault = f"{type(error).__module__}.{type(error).__name__}: {error!s:.200}"
    else:
        fault = fault_of(name, result, right, consistent=hostile.consistent)
    for request in server.requests:
        inner = re.findall(rb"^(?:DELETE|PUT|GET) (/[^ ?]*)", request.body, re.MULTILINE)
        for path in [request.path, *(unquote(part.decode()) for part in inner)]:
            if not f"{posixpath.normpath(path)}/".startswith("/account/cage/"):
                fault = fault or f"a request to {path}"
    if server.visitors:
        server.visitors = 0
        fault = fault or "a visit to another host"
    return fault


@pytest.fixture(autouse=True)
def short_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a listing without end ends soon."""
    monkeypatch.setattr(listing_module, "MAX_EMPTY_PAGES", 20)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with hostile_server() as server:
        yield server


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_hostile_answer(server: Server, name: str) -> None:
    targets = await requests_of(server, OPERATIONS[name])
    assert targets
    faults: dict[str, str] = {}
    async with hurried(server) as driver:
        server.reset()
        right = await OPERATIONS[name](driver)
        for target, hostile in cells(name, targets, slow=False):
            fault = await struck(server, driver, name, right, target, hostile)
            if fault:
                faults[f"{target[0]} #{target[1]}: {hostile.name}"] = fault
        # Neither a connection nor anything else was lost in all that.
        server.reset()
        async with asyncio.timeout(HANG_SECONDS):
            again = await OPERATIONS[name](driver)
        assert not fault_of(name, again, right, consistent=False)
    assert not faults, f"{len(faults)}: " + "".join(
        f"\n{cell}: {fault}" for cell, fault in faults.items()
    )


async def test_every_slow_answer() -> None:
    """All at once, each with a server of its own: most of the time is waited."""
    faults: dict[str, str] = {}

    async def one(name: str, target: Target, hostile: Hostile) -> None:
        async with hostile_server() as server, hurried(server) as driver:
            right = None if "tree" in name else await OPERATIONS[name](driver)
            fault = await struck(server, driver, name, right, target, hostile)
            if fault:
                faults[f"{name}: {target[0]} #{target[1]}: {hostile.name}"] = fault

    async with asyncio.TaskGroup() as group:
        for name, call in OPERATIONS.items():
            async with hostile_server() as polite_server:
                targets = await requests_of(polite_server, call)
            for target, hostile in cells(name, targets, slow=True):
                group.create_task(one(name, target, hostile))
    assert not faults, f"{len(faults)}: " + "".join(
        f"\n{cell}: {fault}" for cell, fault in faults.items()
    )


def _flood(chunk: bytes, status: str = "200 OK") -> Lie:
    """A body that is valid as far as it goes, and goes on."""
    head = f'HTTP/1.1 {status}\r\nETag: "0x8D1"\r\nLast-Modified: {DATE}\r\n'
    head += "Content-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return always(Answer("", raw=head.encode(), tail=_without_end(piece)))


def _endless(begin: bytes, piece: bytes) -> Lie:
    return always(Answer("", raw=begin, tail=_without_end(piece)))


FLOODS: Final[dict[str, Lie]] = {
    "a body without end": _flood(b"x" * 65536),
    "an error without end": _flood(b"x" * 65536, "409 Conflict"),
    "elements without end": _flood(b"<a/>" * 16384),
    "headers without end": _endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 999),
    "a header without end": _endless(b"HTTP/1.1 200 OK\r\na:", b"b" * 65536),
    "a status line without end": _endless(b"HTTP/1.1 200 ", b"b" * 65536),
    "a bomb of gzip": packed("gzip", None),
    "a bomb of deflate": packed("deflate", None),
    "laughs": with_body(_LAUGHS),
    "laughs in an error": always(Answer("409 X", XML, body=_LAUGHS)),
    "many elements": with_body(listing("<a/>" * 150_000)),
    "too many elements": with_body(listing("<a/>" * 2_500_000)),
    "a name of 20 MB": with_body(listing(entry("dir/" + "y" * 20_000_000))),
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("name", ["get_content", "put_content", "walk", "delete a tree"])
async def test_memory_is_bounded(server: Server, name: str, flood: str) -> None:
    """By what the longest honest answer takes, and not by what a server sends."""
    targets = await requests_of(server, OPERATIONS[name])
    bombs = [_bomb("gzip"), _bomb("deflate")]  # made before memory is counted
    async with hurried(server) as driver:
        server.reset()
        server.lie, (server.operation, server.skip) = FLOODS[flood], list(targets)[-1]
        tracemalloc.start()
        try:
            async with asyncio.timeout(3 * HANG_SECONDS):
                with suppress(StorageDriverError):
                    await OPERATIONS[name](driver)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert bombs
    # The body, its text, and the tree of its elements.
    assert peak < 8 * session_module.MAX_ANSWER_BYTES


async def test_a_defect_of_our_own_is_not_taken_for_a_malformed_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code of ours that the SDK calls: what it raises by mistake has to be seen."""
    async with hurried(server) as driver:
        monkeypatch.setattr(session_module, "MAX_ANSWER_BYTES", "not a number")
        with pytest.raises(TypeError, match="not supported between"):
            await driver.list("/dir")


async def test_a_malformed_answer_keeps_its_status_and_its_cause(server: Server) -> None:
    """Here the SDK adds None to a text, since the error has no message."""
    body = xml("<Error><Code>LeaseIdMissing</Code></Error>")
    async with hurried(server, lean_lane=False) as driver:
        server.lie = always(Answer("409 Conflict", XML, body=body))
        server.operation = "List Blobs"
        with pytest.raises(BackendError, match="malformed answer: TypeError") as caught:
            await driver.list("/dir")
    assert caught.value.status == 409
    assert isinstance(caught.value.__cause__, TypeError)
