"""Lies in the head of an answer: headers, the status, where to go instead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from liar.lies import LAUGHS, Hostile, Lie, always, having, having_status, without_end
from liar.messages import Answer, Request, failed, xml

__all__ = ["BAD_VALUES", "HEADERS", "header_lies", "redirect_lies", "setting", "status_lies"]

BAD_VALUES: Final[dict[str, tuple[str | bytes, ...]]] = {
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


HEADERS: Final = (
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


def setting(header: str, values: tuple[str | bytes, ...]) -> Lie:
    def lie(request: Request, answer: Answer) -> Answer:
        known = header == "Content-Length" or answer.get(header) is not None
        return answer.having(header, *values) if known else answer

    return lie


def header_lies() -> Iterator[Hostile]:
    for header, (name, values) in itertools.product(HEADERS, BAD_VALUES.items()):
        # A shorter length that is right by itself makes a shorter content, a type that is
        # another one another blob.
        yield Hostile(f"{header}: {name}", setting(header, values), consistent=True)
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
        always(Answer("200 OK", raw=b"HTTP/1.1 200 OK\r\n", tail=without_end(b"a: b\r\n"))),
    )


def status_lies() -> Iterator[Hostile]:
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
        "a bomb": ("application/xml", LAUGHS),
        "a bomb in UTF-16": (
            "application/xml; charset=utf-16",
            LAUGHS.decode().replace("utf-8", "utf-16").encode("utf-16"),
        ),
    }
    for (name, (kind, body)), status in itertools.product(
        bodies.items(), ("400 X", "404 X", "409 X", "412 X")
    ):
        headers = (("Content-Type", kind),) if kind else ()
        yield Hostile(f"{status[:3]} with {name}", always(Answer(status, headers, body=body)))


def redirect_lies() -> Iterator[Hostile]:
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
