"""Lies in what a body says: listings, and the parts of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from xml.sax.saxutils import escape

from liar.lies import LAUGHS, Hostile, always, having, with_body
from liar.messages import Answer, entry, listing
from liar.polite import batch

__all__ = ["batch_lies", "listing_lies"]


def listing_lies() -> Iterator[Hostile]:
    external = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{what}">]>'
    results = "<EnumerationResults><Blobs>{0}</Blobs><NextMarker/></EnumerationResults>"
    quadratic = f'<!DOCTYPE x [<!ENTITY e "{"x" * 100_000}">]>'
    documents: dict[str, bytes] = {
        "laughs": LAUGHS,
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


def batch_lies() -> Iterator[Hostile]:
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
