"""Both layouts against blobs that others wrote under the raw names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver, PathNotFoundError
from azdriver.testing.azurite import AzuriteServer


@dataclass(frozen=True)
class Layout:
    """The options, and what they put before the names."""

    root_directory: str
    legacy_root_prefix: bool
    base: str

    def driver(self, server: AzuriteServer, container: str) -> AzureBlobDriver:
        return AzureBlobDriver.from_connection_string(
            server.connection_string,
            container,
            root_directory=self.root_directory,
            legacy_root_prefix=self.legacy_root_prefix,
        )


LAYOUTS = [
    Layout("", False, ""),
    Layout("some/root", False, "some/root/"),
    Layout("//some/root//", False, "some/root/"),
    Layout("", True, "/"),
    Layout("some/root", True, "/some/root/"),
]
PAIRS = [(LAYOUTS[0], LAYOUTS[3]), (LAYOUTS[1], LAYOUTS[4]), (LAYOUTS[1], LAYOUTS[3])]


@pytest.fixture(params=LAYOUTS, ids=lambda layout: repr(layout.base))
def layout(request: pytest.FixtureRequest) -> Layout:
    assert isinstance(request.param, Layout)
    return request.param


@pytest.fixture
async def laid_out(
    azurite_server: AzuriteServer, container: str, sdk: ContainerClient, layout: Layout
) -> AsyncIterator[AzureBlobDriver]:
    async with layout.driver(azurite_server, container) as driver:
        yield driver


async def raw_names(sdk: ContainerClient) -> list[str]:
    return [name async for name in sdk.list_blob_names()]


async def raw_content(sdk: ContainerClient, name: str) -> bytes:
    return await (await sdk.download_blob(name)).readall()


async def test_blobs_of_others_are_found_under_their_paths(
    sdk: ContainerClient, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    for name in ("a", "a/b", "a/c/d", "e.f/g"):
        await sdk.upload_blob(layout.base + name, name.encode())
    assert await laid_out.list("/") == ["/a", "/e.f"]
    assert await laid_out.list("/a") == ["/a/b", "/a/c"]
    assert [info.path async for info in laid_out.walk("/")] == [
        "/a",
        "/a",
        "/a/b",
        "/a/c",
        "/a/c/d",
        "/e.f",
        "/e.f/g",
    ]
    assert [info.path async for info in laid_out.walk("/a")] == ["/a/b", "/a/c", "/a/c/d"]
    assert (await laid_out.stat("/a/b")).size == 3
    assert (await laid_out.stat("/a/c")).is_dir
    assert (await laid_out.stat("/")).is_dir
    for name in ("a", "a/b", "a/c/d", "e.f/g"):
        assert await laid_out.get_content(f"/{name}") == name.encode()
    async with laid_out.reader("/a/c/d", 2) as reader:
        assert await reader.read() == b"c/d"
    for path in ("/b", "/some/root/a", "/some"):
        with pytest.raises(PathNotFoundError):
            await laid_out.stat(path)


async def test_what_is_written_has_the_raw_name(
    sdk: ContainerClient, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    await laid_out.put_content("/a/content", b"content")
    async with laid_out.writer("/a/stream") as writer:
        await writer.write(b"stream")
        await writer.commit()
    assert await raw_names(sdk) == [f"{layout.base}a/content", f"{layout.base}a/stream"]
    assert await raw_content(sdk, f"{layout.base}a/content") == b"content"
    await laid_out.move("/a/content", "/b")
    assert await raw_names(sdk) == [f"{layout.base}a/stream", f"{layout.base}b"]
    assert await raw_content(sdk, f"{layout.base}b") == b"content"


async def test_legacy_append_blobs_are_migrated_where_they_are(
    sdk: ContainerClient, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    blob = sdk.get_blob_client(f"{layout.base}a/link")
    await blob.create_append_blob()
    await blob.append_block(b"old")
    assert await laid_out.get_content("/a/link") == b"old"
    async with laid_out.writer("/a/link", append=True) as writer:
        await writer.write(b", longer")
    assert await raw_content(sdk, f"{layout.base}a/link") == b"old, longer"
    await laid_out.put_content("/a/link", b"new")
    assert (await blob.get_blob_properties()).blob_type == "BlockBlob"
    assert await raw_names(sdk) == [f"{layout.base}a/link"]


async def test_a_blob_of_others_can_be_moved_and_a_tree_deleted(
    sdk: ContainerClient, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    for name in ("a/b", "tree", "tree/x", "tree/y/z", "tree-like"):
        await sdk.upload_blob(layout.base + name, name.encode())
    # The same names outside of the root directory are none of its business.
    outside = ["other/tree", "other/tree/x"]
    for name in outside:
        await sdk.upload_blob(name, b"outside")
    await laid_out.move("/a/b", "/a/c")
    await laid_out.delete("/tree")
    assert await raw_names(sdk) == sorted([layout.base + n for n in ("a/c", "tree-like")] + outside)
    assert await raw_content(sdk, f"{layout.base}a/c") == b"a/b"


async def test_the_url_has_the_raw_name_and_opens_it(
    sdk: ContainerClient, container: str, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    """In the legacy layout without a root that is ``container//a/b``, which no client may fold."""
    await sdk.upload_blob(f"{layout.base}a/b", b"content")
    url = await laid_out.url_for("/a/b")
    assert urlsplit(url).path == f"/devstoreaccount1/{container}/{layout.base}a/b"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (response.status, await response.read()) == (200, b"content")


@pytest.mark.parametrize(
    ("one", "two"), PAIRS, ids=[f"{a.base!r} and {b.base!r}" for a, b in PAIRS]
)
async def test_layouts_side_by_side_do_not_see_each_others_blobs(
    azurite_server: AzuriteServer, container: str, sdk: ContainerClient, one: Layout, two: Layout
) -> None:
    paths = ["/a", "/a/b", "/c/d"]
    async with (
        one.driver(azurite_server, container) as first,
        two.driver(azurite_server, container) as second,
    ):
        for driver, content in ((first, b"first"), (second, b"second")):
            for path in paths:
                await driver.put_content(path, content)
        assert len(await raw_names(sdk)) == 6
        for driver, content in ((first, b"first"), (second, b"second")):
            assert await driver.list("/") == ["/a", "/c"]
            files = [info.path async for info in driver.walk("/") if not info.is_dir]
            assert files == paths
            for path in paths:
                assert await driver.get_content(path) == content
        await first.move("/c/d", "/c/e")
        await first.delete("/a")
        assert await first.list("/") == ["/c"]
        assert await first.list("/c") == ["/c/e"]
        for path in paths:
            assert await second.get_content(path) == b"second"
        await second.delete("/a")
        await second.delete("/c")
        assert await second.list("/") == []
        assert await raw_names(sdk) == [f"{one.base}c/e"]


async def test_names_that_are_no_paths_are_not_returned(
    azurite_server: AzuriteServer, container: str, sdk: ContainerClient
) -> None:
    for name in ("a/b", "a//b", "a/c d", "a/é", "/a/b", "//x", "é"):
        await sdk.upload_blob(name, b"x")
    async with LAYOUTS[0].driver(azurite_server, container) as default:
        assert await default.list("/") == ["/a"]
        assert await default.list("/a") == ["/a/b"]
        assert [info.path async for info in default.walk("/")] == ["/a", "/a/b"]
    async with LAYOUTS[3].driver(azurite_server, container) as legacy:
        assert await legacy.list("/") == ["/a"]
        assert [info.path async for info in legacy.walk("/")] == ["/a", "/a/b"]


REGISTRY = "/docker/registry/v2"
LINK = f"{REGISTRY}/repositories/alpine/_manifests/tags/latest/current/link"
DATA = f"{REGISTRY}/blobs/sha256/ab/abcd/data"
UPLOAD = f"{REGISTRY}/repositories/alpine/_uploads/0-1/data"
STARTED = f"{REGISTRY}/repositories/alpine/_uploads/0-1/startedat"


async def registry_of_2016(sdk: ContainerClient, base: str) -> None:
    """All by append blobs, in blocks of 4 MiB at most."""
    for path, content in (
        (LINK, b"sha256:abcd"),
        (DATA, b"layer"),
        (UPLOAD, b"la"),
        (STARTED, b"2016"),
    ):
        blob = sdk.get_blob_client(base + path[1:])
        await blob.create_append_blob()
        for byte in content:
            await blob.append_block(bytes([byte]))


async def registry_of_today(sdk: ContainerClient, base: str) -> None:
    """Contents by block blobs, streams by append blobs."""
    for path, content in ((LINK, b"sha256:0123"), (STARTED, b"2026")):
        await sdk.upload_blob(base + path[1:], content)
    for path, content in ((DATA, b"newer layer"), (UPLOAD, b"new")):
        blob = sdk.get_blob_client(base + path[1:])
        await blob.create_append_blob()
        await blob.append_block(content)


@pytest.mark.parametrize("two", [LAYOUTS[0], LAYOUTS[1]], ids=lambda layout: repr(layout.base))
async def test_one_container_holds_a_registry_of_each_go_driver(
    azurite_server: AzuriteServer, container: str, sdk: ContainerClient, two: Layout
) -> None:
    old, new = LAYOUTS[3], two
    await registry_of_2016(sdk, old.base)
    await registry_of_today(sdk, new.base)
    async with (
        old.driver(azurite_server, container) as first,
        new.driver(azurite_server, container) as second,
    ):
        paths = sorted([LINK, DATA, UPLOAD, STARTED])
        for driver, link, layer in (
            (first, b"sha256:abcd", b"layer"),
            (second, b"sha256:0123", b"newer layer"),
        ):
            assert await driver.list("/") == ["/docker"]
            assert await driver.list(f"{REGISTRY}/repositories/alpine") == [
                f"{REGISTRY}/repositories/alpine/_manifests",
                f"{REGISTRY}/repositories/alpine/_uploads",
            ]
            walked = [info async for info in driver.walk("/")]
            assert sorted(info.path for info in walked if not info.is_dir) == paths
            assert await driver.get_content(LINK) == link
            assert (await driver.stat(DATA)).size == len(layer)
            async with driver.reader(DATA, 3) as reader:
                assert await reader.read() == layer[3:]
        # An upload is finished, moved to its place, and its traces deleted, as a registry does it.
        async with first.writer(UPLOAD, append=True) as writer:
            assert writer.size == 2
            await writer.write(b"yer")
            await writer.commit()
        await first.move(UPLOAD, DATA)
        await first.delete(f"{REGISTRY}/repositories/alpine/_uploads/0-1")
        await first.put_content(LINK, b"sha256:ef01")
        assert await first.get_content(DATA) == b"layer"
        assert sorted([info.path async for info in first.walk("/") if not info.is_dir]) == sorted(
            [LINK, DATA]
        )
        # Nothing of the other has changed.
        assert [await second.get_content(path) for path in (LINK, DATA, UPLOAD, STARTED)] == [
            b"sha256:0123",
            b"newer layer",
            b"new",
            b"2026",
        ]
        await second.delete("/docker")
        assert sorted(await raw_names(sdk)) == sorted([LINK, DATA])


async def test_page_blobs_of_others_are_read_moved_and_deleted(
    sdk: ContainerClient, layout: Layout, laid_out: AzureBlobDriver
) -> None:
    page = b"p" * 512
    blob = sdk.get_blob_client(f"{layout.base}disks/page")
    await blob.create_page_blob(512)
    await blob.upload_page(page, offset=0, length=512)
    assert await laid_out.get_content("/disks/page") == page
    assert (await laid_out.stat("/disks/page")).size == 512
    await laid_out.move("/disks/page", "/disks/moved")
    assert await raw_content(sdk, f"{layout.base}disks/moved") == page
    await laid_out.put_content("/disks/moved", b"content")
    assert await laid_out.get_content("/disks/moved") == b"content"
    await laid_out.delete("/disks")
    assert await raw_names(sdk) == []
