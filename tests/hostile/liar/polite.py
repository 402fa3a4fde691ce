"""The answers of a server that means well; the lies are made out of them."""

from __future__ import annotations

import re
from typing import Final

from liar.messages import CONTENT, STAMP, XML, Answer, Request, entry, failed, listing

__all__ = ["BLOBS", "PAGE", "batch", "polite", "polite_content", "polite_listing"]

BLOBS: Final = {
    "content": "BlockBlob",
    "stream": "AppendBlob",
    **{f"dir/{number}": "BlockBlob" for number in range(7)},
}


PAGE: Final = 3


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
