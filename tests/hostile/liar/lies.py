"""What a lie is, and what lies are made of."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from liar.messages import Answer, Request

__all__ = [
    "BOMBS",
    "LAUGHS",
    "Hostile",
    "Lie",
    "always",
    "bomb",
    "chunked",
    "cut",
    "deflated",
    "having",
    "having_chunks",
    "having_status",
    "packed",
    "with_body",
    "without_end",
]

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
    return lambda request, answer: chunked(answer, chunks)


def packed(encoding: str, body: Callable[[bytes], bytes] | None) -> Lie:
    """The body as it was, compressed; or without one, a bomb."""
    pack = gzip.compress if encoding == "gzip" else deflated

    def lie(request: Request, answer: Answer) -> Answer:
        content = bomb(encoding) if body is None else pack(body(answer.body))
        return replace(answer.having("Content-Encoding", encoding), body=content)

    return lie


def with_body(body: bytes, kind: str = "application/xml") -> Lie:
    return lambda request, answer: replace(
        answer.without("Content-Length").having("Content-Type", kind), body=body
    )


def cut(request: Request, answer: Answer) -> bytes:
    whole = answer.encoded(request.method)
    return whole[: len(whole) - (len(answer.body) + 1) // 2]


def chunked(answer: Answer, body: bytes) -> Answer:
    clean = answer.without("Content-Length").having("Transfer-Encoding", "chunked")
    return replace(clean, body=body, length=False)


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


BOMBS: dict[str, bytes] = {}


def bomb(encoding: str) -> bytes:
    """A hundred KB that are a hundred MB."""
    if encoding not in BOMBS:
        plain = bytes(100 * 1024 * 1024)
        BOMBS[encoding] = gzip.compress(plain, 6) if encoding == "gzip" else deflated(plain)
    return BOMBS[encoding]


def without_end(piece: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.repeat(piece)


LAUGHS: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE x [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 11))
    + b"]><Error><Code>&a10;</Code><Message>&a10;</Message></Error>"
)
