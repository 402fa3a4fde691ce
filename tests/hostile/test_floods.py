"""A hostile server that sends without end: the driver's memory is bounded."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import suppress
from typing import Final

import pytest

from azdriver import StorageDriverError
from azdriver.azureblob import session as session_module
from liar.cells import HANG_SECONDS
from liar.lies import LAUGHS, Lie, always, bomb, packed, with_body, without_end
from liar.messages import DATE, XML, Answer, entry, listing
from liar.operations import OPERATIONS, requests_of
from liar.server import Server, hurried


def _flood(chunk: bytes, status: str = "200 OK") -> Lie:
    """A body that is valid as far as it goes, and goes on."""
    head = f'HTTP/1.1 {status}\r\nETag: "0x8D1"\r\nLast-Modified: {DATE}\r\n'
    head += "Content-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return always(Answer("", raw=head.encode(), tail=without_end(piece)))


def _endless(begin: bytes, piece: bytes) -> Lie:
    return always(Answer("", raw=begin, tail=without_end(piece)))


FLOODS: Final[dict[str, Lie]] = {
    "a body without end": _flood(b"x" * 65536),
    "an error without end": _flood(b"x" * 65536, "409 Conflict"),
    "elements without end": _flood(b"<a/>" * 16384),
    "headers without end": _endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 999),
    "a header without end": _endless(b"HTTP/1.1 200 OK\r\na:", b"b" * 65536),
    "a status line without end": _endless(b"HTTP/1.1 200 ", b"b" * 65536),
    "a bomb of gzip": packed("gzip", None),
    "a bomb of deflate": packed("deflate", None),
    "laughs": with_body(LAUGHS),
    "laughs in an error": always(Answer("409 X", XML, body=LAUGHS)),
    "many elements": with_body(listing("<a/>" * 150_000)),
    "too many elements": with_body(listing("<a/>" * 2_500_000)),
    "a name of 20 MB": with_body(listing(entry("dir/" + "y" * 20_000_000))),
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("name", ["get_content", "put_content", "walk", "delete a tree"])
async def test_memory_is_bounded(server: Server, name: str, flood: str) -> None:
    """By what the longest honest answer takes, and not by what a server sends."""
    targets = await requests_of(server, OPERATIONS[name])
    bombs = [bomb("gzip"), bomb("deflate")]  # made before memory is counted
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
