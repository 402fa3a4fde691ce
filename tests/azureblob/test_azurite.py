"""Where Azurite differs from the service as the driver assumes.

Each test fails when an upgrade of Azurite changes that: then the branch that is for the service
alone may be tested for real, or one that is for Azurite alone may go. What the service does
instead is said with each.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from anyio.from_thread import start_blocking_portal
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobType,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import ContainerClient

from azdriver import AzureBlobDriver, NotAppendableError, PathNotFoundError
from azdriver.testing.azurite import AZURITE_VERSION, AzuriteServer, azurite
from azdriver.testing.recording import RecordedRequest, RecordingTransport

OLD_VERSION = "3.35.0"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def old_server() -> Iterator[AzuriteServer]:
    environment = {name: value for name, value in os.environ.items() if name != "AZDRIVER_AZURITE"}
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(
            azurite(version=OLD_VERSION, environment=environment)
        ) as server:
            yield server


@pytest.fixture
async def old_sdk(old_server: AzuriteServer, container: str) -> AsyncIterator[ContainerClient]:
    async with ContainerClient.from_connection_string(
        old_server.connection_string, container
    ) as client:
        await client.create_container()
        yield client


async def blob_type(sdk: ContainerClient, name: str) -> str:
    properties = await sdk.get_blob_client(name).get_blob_properties()
    return str(properties.blob_type.value)


async def plant(sdk: ContainerClient, name: str, kind: str) -> None:
    blob = sdk.get_blob_client(name)
    match kind:
        case "BlockBlob":
            await blob.upload_blob(b"old")
        case "AppendBlob":
            await blob.create_append_blob()
            await blob.append_block(b"old")
        case "PageBlob":
            await blob.create_page_blob(512)


def test_the_pins_are_for_the_version_that_is_tested(azurite_server: AzuriteServer) -> None:
    if azurite_server.version is None:
        pytest.skip("the version of an Azurite that was running already is not known")
    assert azurite_server.version == AZURITE_VERSION


class TestTypes:
    """The service refuses to change the type of a blob: 409 InvalidBlobType."""

    @pytest.mark.parametrize("kind", ["AppendBlob", "PageBlob"])
    async def test_put_blob_replaces_another_type(self, sdk: ContainerClient, kind: str) -> None:
        await plant(sdk, "blob", kind)
        await sdk.upload_blob("blob", b"new", overwrite=True)
        assert await blob_type(sdk, "blob") == BlobType.BLOCKBLOB

    @pytest.mark.parametrize("kind", ["BlockBlob", "PageBlob"])
    async def test_a_creation_replaces_another_type(self, sdk: ContainerClient, kind: str) -> None:
        await plant(sdk, "blob", kind)
        await sdk.get_blob_client("blob").create_append_blob()
        assert await blob_type(sdk, "blob") == BlobType.APPENDBLOB

    @pytest.mark.parametrize(
        ("source", "dest"), [("BlockBlob", "AppendBlob"), ("AppendBlob", "BlockBlob")]
    )
    async def test_a_copy_replaces_another_type(
        self, sdk: ContainerClient, source: str, dest: str
    ) -> None:
        await plant(sdk, "source", source)
        await plant(sdk, "dest", dest)
        answer: Any = await sdk.get_blob_client("dest").start_copy_from_url(
            sdk.get_blob_client("source").url
        )
        # The service may answer "pending".
        assert answer["copy_status"] == "success"
        assert await blob_type(sdk, "dest") == source

    async def test_a_creation_over_an_append_blob_truncates_it(self, sdk: ContainerClient) -> None:
        """So does the service."""
        await plant(sdk, "blob", "AppendBlob")
        await sdk.get_blob_client("blob").create_append_blob()
        assert (await sdk.get_blob_client("blob").get_blob_properties()).size == 0


class TestConditions:
    async def test_a_conditional_deletion_of_a_missing_blob_is_412(
        self, sdk: ContainerClient
    ) -> None:
        """The service answers 404; without a condition so does Azurite."""
        blob = sdk.get_blob_client("missing")
        with pytest.raises(HttpResponseError) as caught:
            await blob.delete_blob(etag='"0x1"', match_condition=MatchConditions.IfNotModified)
        assert caught.value.status_code == 412
        with pytest.raises(HttpResponseError) as caught:
            await blob.delete_blob()
        assert caught.value.status_code == 404

    async def test_a_stale_condition_is_412_while_the_code_is_of_a_409(
        self, sdk: ContainerClient
    ) -> None:
        await plant(sdk, "blob", "BlockBlob")
        with pytest.raises(HttpResponseError) as caught:
            await sdk.get_blob_client("blob").upload_blob(
                b"new", overwrite=False, etag='"0x1"', match_condition=MatchConditions.IfNotModified
            )
        assert caught.value.status_code == 412
        assert caught.value.error_code == "BlobAlreadyExists"  # type: ignore[attr-defined]


class TestRanges:
    """The service is said to answer 416 at the end of a blob too."""

    @pytest.mark.parametrize(
        ("size", "first", "last", "status", "content_range"),
        [
            (5, 4, "", 206, "bytes 4-4/5"),
            (5, 5, "", 206, "bytes 5-4/5"),
            (5, 5, 9, 206, "bytes 5-4/5"),
            (5, 6, "", 416, "bytes */5"),
            (5, 100, 200, 416, "bytes */5"),
            (0, 0, "", 206, "bytes 0--1/0"),
            (0, 0, 99, 416, "bytes */0"),
            (0, 1, "", 416, "bytes */0"),
        ],
    )
    async def test_an_answer_at_or_past_the_end(
        self,
        azurite_server: AzuriteServer,
        container: str,
        sdk: ContainerClient,
        size: int,
        first: int,
        last: int | str,
        status: int,
        content_range: str,
    ) -> None:
        await sdk.upload_blob("blob", bytes(size))
        signature = generate_container_sas(
            azurite_server.account_name,
            container,
            account_key=azurite_server.account_key,
            permission=ContainerSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        url = f"{azurite_server.blob_endpoint}/{container}/blob?{signature}"
        headers = {"x-ms-version": "2021-12-02", "x-ms-range": f"bytes={first}-{last}"}
        async with aiohttp.ClientSession() as session:
            async with session.get(url, headers=headers) as response:
                assert response.status == status
                assert response.headers.get("Content-Range") == content_range
                body = await response.read()
        if status == 206:
            assert body == bytes(max(0, size - first))

    @pytest.mark.parametrize("size", [0, 1, 5])
    @pytest.mark.parametrize("past", [0, 1, 100])
    async def test_the_driver_reads_nothing_there(
        self, driver: AzureBlobDriver, size: int, past: int
    ) -> None:
        await driver.put_content("/blob", bytes(size))
        for length in (None, 10):
            async with driver.reader("/blob", size + past, length=length) as reader:
                assert await reader.read() == b""
                assert (reader.size, reader.offset) == (size, size + past)


class TestBatches:
    NAMES = tuple(f"tree/{number}" for number in range(5))

    async def test_a_part_comes_back_for_each_request(self, sdk: ContainerClient) -> None:
        """So does the service."""
        for name in self.NAMES:
            await sdk.upload_blob(name, b"x")
        answers = await sdk.delete_blobs(*self.NAMES, "missing", raise_on_any_failure=False)
        assert [answer.status_code async for answer in answers] == [202] * 5 + [404]
        assert [name async for name in sdk.list_blob_names()] == []

    async def test_version_3_35_misreads_the_sdks_batches(self, old_sdk: ContainerClient) -> None:
        """One part, and nothing is deleted, though the answer as a whole is a success."""
        for name in self.NAMES:
            await old_sdk.upload_blob(name, b"x")
        answers = await old_sdk.delete_blobs(*self.NAMES, raise_on_any_failure=False)
        assert [answer.status_code async for answer in answers] == [400]
        assert [name async for name in old_sdk.list_blob_names()] == list(self.NAMES)


class TestSignatures:
    async def test_a_signature_for_https_alone_is_refused_over_http(
        self, azurite_server: AzuriteServer, container: str, sdk: ContainerClient
    ) -> None:
        """So does the service; hence ``spr=https`` only where the endpoint is https."""
        await sdk.upload_blob("blob", b"x")
        for protocol, status in (("https", 403), (None, 200)):
            signature = generate_blob_sas(
                azurite_server.account_name,
                container,
                "blob",
                account_key=azurite_server.account_key,
                permission="r",
                expiry=datetime.now(UTC) + timedelta(hours=1),
                protocol=protocol,
            )
            url = f"{azurite_server.blob_endpoint}/{container}/blob?{signature}"
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                assert response.status == status


class TestVersion335:
    """The driver on the older Azurite, which runs on an older Node.js too."""

    @pytest.fixture
    async def old_driver(
        self, old_server: AzuriteServer, container: str, requests: list[RecordedRequest]
    ) -> AsyncIterator[AzureBlobDriver]:
        async with AzureBlobDriver.from_connection_string(
            old_server.connection_string,
            container,
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        ) as driver:
            requests.clear()
            yield driver

    @pytest.mark.parametrize(("lean_lane", "one_by_one"), [(True, 0), (False, 300)])
    async def test_a_tree_of_300_is_deleted_although_the_sdks_batches_are_misread(
        self,
        old_server: AzuriteServer,
        container: str,
        requests: list[RecordedRequest],
        lean_lane: bool,
        one_by_one: int,
    ) -> None:
        async with AzureBlobDriver.from_connection_string(
            old_server.connection_string,
            container,
            lean_lane=lean_lane,
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        ) as driver:
            for number in range(300):
                await driver.put_content(f"/tree/{number}", b"x")
            await driver.put_content("/tree-like", b"x")
            requests.clear()
            await driver.delete("/tree")
            counts = Counter(request.operation for request in requests)
            assert counts["Blob Batch"] == 2
            assert counts["Delete Blob"] == 1 + one_by_one
            assert await driver.list("/") == ["/tree-like"]
            with pytest.raises(PathNotFoundError):
                await driver.delete("/tree")

    async def test_every_operation_works(self, old_driver: AzureBlobDriver) -> None:
        driver = old_driver
        content = random.Random(0).randbytes(9 * MIB + 1)
        info = await driver.put_content("/a/content", b"content")
        assert await driver.stat("/a/content") == info
        assert await driver.get_content("/a/content") == b"content"
        await driver.put_content("/a/content", b"new", if_match=info.etag)
        await driver.put_content("/a/empty", b"", if_absent=True)
        assert await driver.get_content("/a/empty") == b""

        async with driver.writer("/a/stream") as writer:
            await writer.write(content[: 5 * MIB])
        async with driver.writer("/a/stream", append=True) as writer:
            assert writer.size == 5 * MIB
            await writer.write(content[5 * MIB :])
            await writer.commit()
        async with driver.reader("/a/stream") as reader:
            assert await reader.read() == content
        async with driver.reader("/a/stream", 4 * MIB, length=2 * MIB) as reader:
            assert await reader.read() == content[4 * MIB : 6 * MIB]
        async with driver.reader("/a/stream", len(content) + 1) as reader:
            assert await reader.read() == b""
        with pytest.raises(NotAppendableError):
            async with driver.writer("/a/content", append=True):
                pass
        async with driver.writer("/a/cancelled") as writer:
            await writer.write(b"x")
            await writer.cancel()

        assert await driver.list("/a") == ["/a/content", "/a/empty", "/a/stream"]
        assert [info.path async for info in driver.walk("/")] == [
            "/a",
            "/a/content",
            "/a/empty",
            "/a/stream",
        ]
        assert (await driver.stat("/a")).is_dir
        await driver.move("/a/stream", "/b/moved")
        await driver.put_content("/b/moved", b"a content in the place of a stream")
        async with aiohttp.ClientSession() as session:
            async with session.get(await driver.url_for("/b/moved")) as response:
                assert await response.read() == b"a content in the place of a stream"
        for path in ("/a", "/b"):
            await driver.delete(path)
        assert await driver.list("/") == []
