"""Reads the answer to List Blobs.

An XML parser takes ten times as long as this, and the SDK's models a hundred times. The service
writes one form, which is all that is read here: what has another form is refused as malformed,
never read otherwise than an XML parser would. The tests hold this against one.

Source: https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from azure.core.exceptions import DecodeError

from azdriver.azureblob.httpdate import parse_day, parse_http_date
from azdriver.azureblob.lane import ListedBlob, ListPage
from azdriver.azureblob.translate import quoted

__all__ = ["parse_list_page"]

_START: Final = re.compile(
    r"\s*<\?xml version=[\"']1\.0[\"'](?: encoding=[\"']utf-?8[\"'])?"
    r"(?: standalone=[\"'](?:yes|no)[\"'])?\s*\?>\s*<EnumerationResults[^<>]*>",
    re.IGNORECASE,
)
_END: Final = "</EnumerationResults>"
_BLOBS: Final = re.compile(r"<Blobs\s*/>|<Blobs>")
_NAME: Final = re.compile(r"\s*<Name(?P<encoded> Encoded=\"true\")?>(?P<text>[^<]*)</Name>")
# A blob without a reference in its name, its elements in the service's order. The groups are
# atomic: where an element is missing, there is nothing to be tried again.
_USUAL_BLOB: Final = re.compile(
    r"<Blob><Name>([^<&\r]*)</Name>"
    r"(?>.*?<Last-Modified>)[A-Z][a-z]{2}, ([0-9]{2} [A-Z][a-z]{2} [0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT</Last-Modified>"
    r"(?>.*?<Etag>)\"?([!#-%'-;=-~]+)\"?</Etag>"
    r"(?>.*?<Content-Length>)([0-9]{1,18})</Content-Length>",
    re.DOTALL,
)
_MARKER: Final = re.compile(r"<NextMarker>(?P<text>[^<]*)</NextMarker>|<NextMarker\s*/>")
_REFERENCE: Final = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9a-fA-F]{1,6}));")
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_SIZE: Final = re.compile(r"[0-9]{1,18}")  # [0-9], since \d is the digits of any script


def parse_list_page(body: bytes, *, has_prefixes: bool = True) -> ListPage:
    """
    Args:
        body: the answer.
        has_prefixes: whether virtual directories may be in it, which is asked for by a delimiter.

    Raises:
        DecodeError: it is not a listing, or not as the service writes one.
    """
    try:
        return _parse(body.decode("utf-8-sig"), has_prefixes)
    except ValueError as error:  # of what is not UTF-8, nor a character
        raise DecodeError("malformed answer: a listing that cannot be read") from error


def _parse(text: str, has_prefixes: bool) -> ListPage:
    start = _START.match(text)
    if start is None or not text.rstrip().endswith(_END) or _has_more_than_tags(text, start.end()):
        raise DecodeError("malformed answer: not a listing")
    opening = _BLOBS.search(text, start.end())
    if opening is None:
        raise DecodeError("malformed answer: a listing without Blobs")
    if opening[0] != "<Blobs>":
        return ListPage([], [], _marker(text, opening.end()))
    end = text.rfind("</Blobs>")
    if end < opening.end():
        raise DecodeError("malformed answer: a listing without an end")
    inside = text[opening.end() : end]
    prefixes: list[str] = []
    if has_prefixes and "<BlobPrefix>" in inside:
        prefixes, inside = _without_prefixes(inside)
    return ListPage(_blobs(inside), prefixes, _marker(text, end))


def _without_prefixes(inside: str) -> tuple[list[str], str]:
    """The virtual directories, and what is left without them."""
    first, *parts = inside.split("<BlobPrefix>")
    prefixes: list[str] = []
    rest = [first]
    for part in parts:
        prefix, closing, after = part.partition("</BlobPrefix>")
        if not closing:
            raise DecodeError("malformed answer: a listing of something else")
        prefixes.append(_name(prefix)[0])
        rest.append(after)
    return prefixes, "".join(rest)


def _has_more_than_tags(text: str, after: int) -> bool:
    """A comment, CDATA or a processing instruction could hide or fake any tag."""
    # One character is found many times faster than two, of which the first is everywhere.
    return any(
        text.find(mark, after) >= 0 and text.find(f"<{mark}", after) >= 0 for mark in ("!", "?")
    )


def _blobs(inside: str) -> list[ListedBlob]:
    usual: list[ListedBlob] = []
    position = 0
    while position < len(inside):
        # Within one blob: an expression that may go on to the next ones would do so again and
        # again where something is missing.
        end = inside.find("</Blob>", position)
        found = _USUAL_BLOB.match(inside, position, end) if end >= 0 else None
        if found is None:
            return [_blob(part) for part in _parts(inside)]
        name, day, hour, minute, second, etag, size = found.groups()
        year, month, day_of_month = parse_day(day)
        last_modified = datetime(
            year, month, day_of_month, int(hour), int(minute), int(second), 0, UTC
        )
        usual.append(ListedBlob._make((name, int(size), last_modified, f'"{etag}"')))
        position = end + 7
    return usual


def _parts(inside: str) -> list[str]:
    before, *parts = inside.split("<Blob>")
    if before.strip() or not all(part.rstrip().endswith("</Blob>") for part in parts):
        raise DecodeError("malformed answer: a listing of something else")
    return parts


def _marker(text: str, after: int) -> str:
    if text.find("NextMarker", after) < 0:
        return ""
    found = _MARKER.search(text, after)
    if found is None:  # to be taken for the end would lose the rest
        raise DecodeError("malformed answer: a marker that cannot be read")
    return _text(found["text"] or "")


def _blob(part: str) -> ListedBlob:
    name, end = _name(part)
    size = _between(part, "<Content-Length>", "</Content-Length>", end)
    if not _SIZE.fullmatch(size):
        raise DecodeError("malformed answer: no size")
    etag = _between(part, "<Etag>", "</Etag>", end)
    return ListedBlob(
        name,
        int(size),
        parse_http_date(_between(part, "<Last-Modified>", "</Last-Modified>", end)),
        quoted(_text(etag)),
    )


def _name(part: str) -> tuple[str, int]:
    """The name that a blob or a prefix begins with, and where it ends."""
    if part.startswith("<Name>"):
        end = part.find("<", 6)
        if part.startswith("</Name>", end):
            return _text(part[6:end]), end
    found = _NAME.match(part)
    if found is None:
        raise DecodeError("malformed answer: no name")
    text = _text(found["text"])
    # Names with characters that XML cannot hold, such as U+FFFE, are percent-encoded.
    return (unquote(text, errors="strict") if found["encoded"] else text), found.end()


def _between(part: str, opening: str, closing: str, after: int) -> str:
    start = part.find(opening, after)
    end = part.find("<", start + len(opening))
    if start < 0 or not part.startswith(closing, end):
        return ""
    return part[start + len(opening) : end]


def _text(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # as XML wants it
    if "&" not in text:
        return text
    resolved, count = _REFERENCE.subn(_character, text)
    if count != text.count("&"):
        raise DecodeError("malformed answer: an unknown entity")
    return resolved


def _character(reference: re.Match[str]) -> str:
    entity, decimal, hexadecimal = reference.groups()
    if entity is not None:
        return _ENTITIES[entity]
    number = int(decimal) if decimal is not None else int(hexadecimal, 16)
    if number == 0 or 0xD800 <= number <= 0xDFFF:
        raise DecodeError("malformed answer: a reference to no character")
    return chr(number)
