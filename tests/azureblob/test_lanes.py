"""Both lanes bring the same, and what the lean one reads by itself it reads right."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from azure.core.exceptions import DecodeError, HttpResponseError
from azure.storage.blob.aio import ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from azdriver import AzureBlobDriver
from azdriver.azureblob.batch import batch_body, batch_statuses
from azdriver.azureblob.httpdate import parse_http_date
from azdriver.azureblob.lane import BlobHead, Lane, ListPage
from azdriver.azureblob.lean import LeanLane, SignedRequest
from azdriver.azureblob.listpage import parse_list_page
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.sdklane import SdkLane
from azdriver.testing.azurite import AzuriteServer

NAMES = [
    "a&b",
    "a&amp;b",
    "angle<>brackets",
    "dir/one",
    "dir/two/three",
    "dir two/x",
    "dir&two/x",
    "percent%41%2F",
    "plus+plus",
    "quotes\"'",
    "question?mark=1",
    "ünïcode/ñ/🙂",
]
CONTENT = random.Random(0).randbytes(100_000)


@pytest.fixture
async def lanes(azurite_server: AzuriteServer, container: str) -> AsyncIterator[list[Lane]]:
    """The same container through each."""
    async with AsyncExitStack() as stack:
        found: list[Lane] = []
        for lean_lane in (True, False):
            driver = AzureBlobDriver.from_connection_string(
                azurite_server.connection_string, container, lean_lane=lean_lane
            )
            await stack.enter_async_context(driver)
            found.append(driver._clients.lane)
        assert isinstance(found[0], LeanLane)
        assert isinstance(found[1], SdkLane)
        yield found


@pytest.fixture
async def sdk(
    azurite_server: AzuriteServer, container: str, lanes: list[Lane]
) -> AsyncIterator[ContainerClient]:
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        yield client


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("prefix", ["", "dir", "dir/", "a&", "ünïcode/", "nothing"])
async def test_both_list_the_same(
    lanes: list[Lane], sdk: ContainerClient, prefix: str, delimiter: str
) -> None:
    for name in NAMES:
        await sdk.upload_blob(name, name.encode())
    lean, other = [await lane.list_page(prefix, delimiter=delimiter) for lane in lanes]
    assert lean.blobs == other.blobs
    assert sorted(lean.prefixes) == sorted(other.prefixes)
    assert lean.marker == other.marker == ""
    if not delimiter:
        assert [blob.name for blob in lean.blobs] == sorted(
            (name for name in NAMES if name.startswith(prefix)), key=lambda name: name.encode()
        )


async def test_both_turn_pages(lanes: list[Lane], sdk: ContainerClient) -> None:
    for number in range(5):
        await sdk.upload_blob(f"b/{number}", b"")
    for lane in lanes:
        first = await lane.list_page("b/", limit=2)
        assert [blob.name for blob in first.blobs] == ["b/0", "b/1"]
        second = await lane.list_page("b/", marker=first.marker, limit=4)
        assert [blob.name for blob in second.blobs] == ["b/2", "b/3", "b/4"]
        assert second.marker == ""


async def head(lane: Lane, name: str) -> BlobHead:
    found = await lane.head(BlobName(name))
    assert found is not None
    return found


async def test_both_see_the_same_blob(lanes: list[Lane], sdk: ContainerClient) -> None:
    blob = sdk.get_blob_client("dir/block & more")
    await blob.upload_blob(CONTENT, metadata={"Some_Name": "some value"})
    stream = sdk.get_blob_client("stream")
    await stream.create_append_blob()
    await stream.append_block(b"one")
    await stream.append_block(b"two")
    await sdk.get_blob_client("copy").start_copy_from_url(blob.url)
    for name in ("dir/block & more", "stream", "copy"):
        lean, other = [await head(lane, name) for lane in lanes]
        assert lean.date is not None
        assert other.date is not None
        for field in type(lean).__slots__:
            if field != "date":
                assert getattr(lean, field) == getattr(other, field), field
    assert (await head(lanes[0], "stream")).committed_blocks == 2
    assert (await head(lanes[0], "copy")).copy_status == "success"
    assert (await head(lanes[0], "dir/block & more")).metadata == {"Some_Name": "some value"}


@pytest.mark.parametrize(("first", "last"), [(0, None), (0, 0), (10, 19), (99_999, None)])
async def test_both_read_the_same(
    lanes: list[Lane], sdk: ContainerClient, first: int, last: int | None
) -> None:
    await sdk.upload_blob("blob", CONTENT)
    etag = (await head(lanes[0], "blob")).etag
    end = len(CONTENT) if last is None else last + 1
    for lane in lanes:
        async with await lane.get(BlobName("blob"), first=first, last=last, etag=etag) as stream:
            assert b"".join([chunk async for chunk in stream]) == CONTENT[first:end]
            assert (stream.size, stream.first) == (len(CONTENT), first)
            assert (stream.length, stream.etag) == (end - first, etag)


async def test_both_fail_alike(lanes: list[Lane], sdk: ContainerClient) -> None:
    await sdk.upload_blob("blob", CONTENT)
    await sdk.upload_blob("empty", b"")
    for lane in lanes:
        assert await lane.head(BlobName("missing")) is None
        async with await lane.get(BlobName("empty")) as stream:
            assert (stream.size, [chunk async for chunk in stream]) == (0, [])
        for call, status in (
            (lane.get(BlobName("missing")), 404),
            (lane.get(BlobName("blob"), etag='"0x1"'), 412),
            (lane.get(BlobName("blob"), first=len(CONTENT) + 1), 416),
        ):
            with pytest.raises(HttpResponseError) as caught:
                await call
            assert caught.value.status_code == status


async def test_both_delete_the_same(lanes: list[Lane], sdk: ContainerClient) -> None:
    for lane in lanes:
        for name in (*NAMES, "changed"):
            await sdk.upload_blob(name, b"x", overwrite=True)
        await sdk.get_blob_client(NAMES[0]).create_snapshot()
        listed = [blob for blob in (await lane.list_page("")).blobs if blob.name in NAMES]
        changed = (await lane.list_page("changed")).blobs[0]
        await sdk.upload_blob("changed", b"newer", overwrite=True)
        blobs = [changed._replace(name="missing"), *listed, changed]
        statuses = await lane.delete_batch(blobs)
        # Of If-Match on what is not there the service says 404, Azurite 412.
        assert statuses[0] in (404, 412)
        assert statuses[1:] == [*[202] * len(NAMES), 412]
        assert [name async for name in sdk.list_blob_names()] == ["changed"]


async def test_a_signature_says_when_it_begins_and_is_not_shown(
    lanes: list[Lane], azurite_server: AzuriteServer, container: str
) -> None:
    """An account with a policy on expiration refuses a SAS that does not."""
    assert isinstance(lanes[0], LeanLane)
    query = lanes[0]._signature.query()
    assert "st=" in query
    url = f"{azurite_server.blob_endpoint}/{container}/blob?{query}"
    request = SignedRequest("GET", url)
    assert "sig=" in request.url
    assert repr(request) == f"<SignedRequest [GET], url: '{url.partition('?')[0]}'>"


async def test_a_container_that_is_gone_fails_both_alike(
    lanes: list[Lane], sdk: ContainerClient
) -> None:
    await sdk.delete_container()
    for lane in lanes:
        with pytest.raises(HttpResponseError) as caught:
            await lane.list_page("")
        assert caught.value.status_code == 404
        with pytest.raises(HttpResponseError):
            await lane.head(BlobName("missing"))


# --- Listings ---------------------------------------------------------------------------------

BLOB = (
    "<Blob><Name>{name}</Name><Properties><Creation-Time>Tue, 24 Nov 2026 09:00:00 GMT"
    "</Creation-Time><Last-Modified>Tue, 24 Nov 2026 10:00:00 GMT</Last-Modified>"
    "<Etag>0x8D</Etag><Content-Length>7</Content-Length><BlobType>BlockBlob</BlobType>"
    "</Properties></Blob>"
)
PREFIX = "<BlobPrefix><Name>{name}</Name></BlobPrefix>"
BEGIN = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/">'
MARKER = "<NextMarker>{marker}</NextMarker></EnumerationResults>"


def listing(*items: str, marker: str = "") -> str:
    return f"{BEGIN}<Blobs>{''.join(items)}</Blobs>{MARKER.format(marker=marker)}"


# What XML can hold; its parsers turn \r into \n, so a name with it comes as a reference.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


@given(st.lists(TEXT), st.lists(TEXT), TEXT)
def test_listings_are_read_as_an_xml_parser_reads_them(
    blobs: list[str], prefixes: list[str], marker: str
) -> None:
    items = [BLOB.format(name=escape(name)) for name in blobs]
    items[len(items) // 2 : 0] = [PREFIX.format(name=escape(name)) for name in prefixes]
    text = listing(*items, marker=escape(marker))
    root = ElementTree.fromstring(text)
    page = parse_list_page(text.encode())
    assert [blob.name for blob in page.blobs] == [
        name.text or "" for name in root.iterfind("Blobs/Blob/Name")
    ]
    assert list(page.prefixes) == [
        name.text or "" for name in root.iterfind("Blobs/BlobPrefix/Name")
    ]
    assert page.marker == (root.findtext("NextMarker") or "")
    for blob in page.blobs:
        assert (blob.size, blob.etag) == (7, '"0x8D"')
        assert blob.last_modified == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        (f"{BEGIN}<Blobs/>{MARKER.format(marker='')}", ListPage([], [], "")),
        (f"\ufeff{BEGIN}<Blobs />{MARKER.format(marker='n')}\n", ListPage([], [], "n")),
        (f"{BEGIN}<Blobs></Blobs><NextMarker /></EnumerationResults>", ListPage([], [], "")),
        (f"{BEGIN}<Blobs></Blobs></EnumerationResults>", ListPage([], [], "")),
        (listing(PREFIX.format(name="a&#47;&#x2F;&apos;")), ListPage([], ["a//'"], "")),
        (
            listing('<BlobPrefix><Name Encoded="true">%EF%BF%BE/</Name></BlobPrefix>'),
            ListPage([], ["\ufffe/"], ""),
        ),
    ],
)
def test_forms_of_listings(text: str, page: ListPage) -> None:
    assert parse_list_page(text.encode()) == page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "<EnumerationResults></EnumerationResults>",
        BEGIN,
        f"{BEGIN}</EnumerationResults>",
        f"{BEGIN}<Blobs></EnumerationResults>",
        BEGIN.replace("utf-8", "utf-16") + "<Blobs/></EnumerationResults>",
        f"{BEGIN}<Blobs/></EnumerationResults><more/>",
        listing("<!-- a comment -->"),
        listing("<![CDATA[<Blob>]]>"),
        listing("<?target?>"),
        listing("<Other>1</Other>"),
        listing(BLOB.format(name="a").removesuffix("</Blob>")),
        listing(BLOB.format(name="a").replace("<Name>a</Name>", "")),
        listing(BLOB.format(name="<b>a</b>")),
        listing(BLOB.format(name="&unknown;")),
        listing(BLOB.format(name="a & b")),
        listing(BLOB.format(name="&#1114112;")),
        listing(BLOB.format(name="a").replace("Content-Length", "Length")),
        listing(BLOB.format(name="a").replace(">7<", ">-7<")),
        listing(BLOB.format(name="a").replace(">7<", ">٧<")),
        listing(BLOB.format(name="a").replace(">7<", f">{'7' * 30}<")),
        listing(BLOB.format(name="a").replace("0x8D", "")),
        listing(BLOB.format(name="a").replace("0x8D", "a\nb")),
        listing(BLOB.format(name="a").replace("24 Nov", "31 Nov")),
        listing(BLOB.format(name="a").replace("Last-Modified", "Modified")),
        listing('<BlobPrefix><Name Encoded="true">%FF</Name></BlobPrefix>'),
        listing("<BlobPrefix></BlobPrefix>"),
        listing(marker="&unknown;"),
        listing(BLOB.format(name="&#0;")),
        listing(BLOB.format(name="&#xD800;")),
        listing("<BlobPrefix>" * 3),
        listing().replace("<NextMarker>", "<NextMarker >"),
        listing(marker="more").replace("</NextMarker>", "</NextMarker >"),
    ],
)
def test_what_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="malformed answer"):
        parse_list_page(text.encode())


@pytest.mark.parametrize(
    ("element", "instead"),
    [
        ("<Content-Length>7</Content-Length>", ""),
        ("<Content-Length>", "<Length>"),
        ("<Etag>0x8D</Etag>", "<Etag>a b</Etag>"),
        ("<Last-Modified>Tue, 24", "<Last-Modified>Tue, 42"),
        ("</Blob>", ""),
        ("<Blob><Name>a</Name>", "<BlobPrefix>"),
    ],
)
def test_a_whole_page_in_which_something_is_missing_is_refused_at_once(
    element: str, instead: str
) -> None:
    """Without going over the page again for each of its blobs: that would take days."""
    with pytest.raises(DecodeError):
        parse_list_page(listing(BLOB.format(name="a").replace(element, instead) * 5000).encode())


def test_one_blob_without_an_end_is_refused_at_once() -> None:
    junk = "<Last-Modified>x</Last-Modified><Etag>a b</Etag>" * 100_000
    with pytest.raises(DecodeError):
        parse_list_page(listing(f"<Blob><Name>a</Name>{junk}</Blob>").encode())


def test_a_line_end_in_a_name_is_read_as_an_xml_parser_reads_it() -> None:
    [blob] = parse_list_page(listing(BLOB.format(name="a\r\nb\rc&#13;d")).encode()).blobs
    assert blob.name == "a\nb\nc\rd"


def test_a_listing_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(DecodeError, match="cannot be read"):
        parse_list_page(listing(BLOB.format(name="ü")).encode("latin-1"))


# --- Dates and batches ------------------------------------------------------------------------


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)))
def test_dates_are_read(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_http_date(f"{moment:%a, %d %b %Y %H:%M:%S} GMT") == moment


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "yesterday",
        "Tue, 24 Nov 2026 10:00:00",
        "Tue, 24 Nov 2026 10:00:00 UTC",
        "Tue, 24 Nov 2026 25:00:00 GMT",
        "Tue, 24 Nix 2026 10:00:00 GMT",
        "Tue, 24 No  2026 10:00:00 GMT",
        "Tue, 00 Nov 2026 10:00:00 GMT",
        "Tue, 24 Nov 2026 10:00:00 GMT+1",
    ],
)
def test_what_is_no_date_is_refused(text: str | None) -> None:
    with pytest.raises(DecodeError):
        parse_http_date(text)


def answered(*parts: str, boundary: str = "b") -> tuple[str, bytes]:
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return f"multipart/mixed; boundary={boundary}", body.encode()


def part(number: int, status: int) -> str:
    return (
        f"Content-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
        f"HTTP/1.1 {status} Said\r\nx-ms-request-id: 1\r\n\r\n<Error/>"
    )


def test_a_batch_is_written_as_the_service_wants_it() -> None:
    content_type, body = batch_body(
        [("/c/a?s", {"If-Match": '"1"', "x-ms-some": "1"}), ("/c/b%20c?s", {"If-Match": '"2"'})]
    )
    boundary = content_type.removeprefix("multipart/mixed; boundary=")
    assert boundary.startswith("batch_")
    first, second = body.decode().split(f"--{boundary}")[1:-1]
    assert 'Content-ID: 0\r\n\r\nDELETE /c/a?s HTTP/1.1\r\nIf-Match: "1"\r\n' in first
    assert "\r\nx-ms-some: 1\r\nContent-Length: 0\r\n\r\n" in first
    assert 'Content-ID: 1\r\n\r\nDELETE /c/b%20c?s HTTP/1.1\r\nIf-Match: "2"\r\n' in second
    assert body.endswith(f"--{boundary}--\r\n".encode())


def test_statuses_are_given_in_the_order_of_the_request() -> None:
    assert batch_statuses(*answered(part(1, 404), part(0, 202)), 2) == [202, 404]
    content_type, body = answered(part(0, 412))
    assert batch_statuses(content_type.replace("=b", '="b"'), body, 1) == [412]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("multipart/mixed", b""),
        ("text/plain; boundary=b", answered(part(0, 202), part(1, 202))[1]),
        answered(),
        answered(part(0, 202)),
        answered(part(0, 202), part(0, 202)),
        answered(part(0, 202), part(2, 202)),
        answered(part(0, 202), part(1, 202), part(2, 202)),
        answered(part(0, 202), "Content-ID: 1\r\n\r\nHTTP/1.1 Said\r\n"),
        answered(part(0, 202), "HTTP/1.1 202 Said\r\n"),
        (answered()[0], answered(part(0, 202), part(1, 202))[1][:-10]),
    ],
)
def test_a_batchs_answer_that_does_not_tell_of_each_tells_nothing(
    content_type: str, body: bytes
) -> None:
    assert batch_statuses(content_type, body, 2) == []
