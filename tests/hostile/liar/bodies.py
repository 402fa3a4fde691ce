"""Lies about where a body ends, and how it is packed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from liar.lies import Hostile, always, chunked, cut, having, having_chunks, packed, without_end
from liar.messages import Answer

__all__ = ["framing_lies"]


def framing_lies() -> Iterator[Hostile]:
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
        always(Answer("", raw=b"", tail=without_end(b"HTTP/1.1 100 Continue\r\n\r\n"))),
        slow=True,
    )
    yield Hostile("two answers at once", lambda r, a: replace(a, raw=a.encoded(r.method) * 2))
    yield Hostile(
        "a body after none", lambda r, a: replace(a, raw=a.encoded(r.method) + b"x" * 1000)
    )
    yield Hostile("half of the body", lambda r, a: replace(a, raw=cut(r, a), keep_alive=False))
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
        "chunked", lambda r, a: chunked(a, b"%x\r\n%s\r\n0\r\n\r\n" % (len(a.body), a.body))
    )
    yield Hostile(
        "chunked without an end", lambda r, a: chunked(a, b"%x\r\n%s\r\n" % (len(a.body), a.body))
    )
    yield Hostile(
        "chunked and a length",
        lambda r, a: chunked(a, b"%x\r\n%s\r\n0\r\n\r\n" % (len(a.body), a.body)).having(
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
            chunked(a, b""), tail=without_end(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        ),
    )
    yield Hostile(
        "trailers without end",
        lambda r, a: replace(chunked(a, b"0\r\n"), tail=without_end(b"a: b\r\n")),
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
        lambda r, a: replace(a, raw=cut(r, a), tail=lambda: iter((b"",)), pause_seconds=60),
        slow=True,
    )
    yield Hostile(
        "a slow drip of headers",
        always(
            Answer(
                "", raw=b"HTTP/1.1 200 OK\r\n", tail=without_end(b"a: b\r\n"), pause_seconds=0.05
            )
        ),
        slow=True,
    )
    yield Hostile(
        "a slow drip of a body",
        lambda r, a: replace(
            a.having("Content-Length", str(10**6)),
            body=b"",
            tail=without_end(b"x"),
            pause_seconds=0.05,
        ),
        slow=True,
        consistent=True,
    )
