"""What the doctor keeps of the blobs that it looks at: no more for millions than for hundreds."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob import AzureBlobOptions
from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.doctor import examine
from azdriver.azureblob.doctor.sampling import Sample
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse, Fault, Faults, Send
from azdriver.testing.recording import RecordedRequest, RecordingTransport

REGISTRY = "docker/registry/v2"


def blob(name: str) -> BlobProperties:
    """As the SDK's listings have it."""
    return BlobProperties(name=name, **{"x-ms-blob-type": "BlockBlob", "Content-Length": 1})


def sample_of(names: list[str], **bounds: int) -> Sample:
    sample = Sample("z", **bounds)
    for name in names:
        sample.add(blob(name))
    return sample


def test_registries_beyond_the_bound_are_counted_together() -> None:
    names = [f"{root}/{REGISTRY}/{number}" for root in "abcd" for number in range(2)]
    sample = sample_of([*names, f"z/{REGISTRY}/1", "/z/1", "other"], max_layouts=2)
    layouts = {(layout.root_directory, layout.blobs) for layout in sample.layouts()}
    # What is in the set root directory is never among the others.
    assert layouts == {("a", 2), ("b", 2), ("z", 1), ("", 1)}
    assert len(sample.layouts()) == 5
    counts = sample.counts()
    assert (counts.blobs, counts.of_more_registries) == (11, 4)
    assert counts.examples["of_more_registries"][0] == f"c/{REGISTRY}/0"


@pytest.mark.parametrize(
    ("names", "only"),
    [
        (["a/1", "a/2", "/a/3"], "a"),
        (["a/1", "b/1", "a/2"], ""),
        (["a/1", "b/1", "b/2"], ""),
        (["a/1", "a"], ""),
        (["a", "a/1"], ""),
        ([], ""),
    ],
)
def test_the_only_directory_at_the_top(names: list[str], only: str) -> None:
    assert sample_of(names).only_directory == only


def test_memory_is_flat() -> None:
    def names(kind: str, count: int) -> Iterator[str]:
        for number in range(count):
            yield f"{kind}{number}/x"
            yield f"{kind}{number}/{REGISTRY}/x"

    sample = sample_of(list(names("first", 100)))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for name in names("then", 5_000):
            sample.add(blob(name))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sample.counts().blobs == 10_200
    assert after - before < 20_000  # 5,000 names take 300,000 bytes and more


async def test_a_container_of_many_registries(
    azurite_server: AzuriteServer, container: str, plant: Callable[..., None]
) -> None:
    names = [f"{number:02}/{REGISTRY}/x" for number in range(25)]
    await asyncio.to_thread(plant, container, names)
    options = options_from_connection_string(
        azurite_server.connection_string, container, root_directory="24"
    )
    diagnosis = await examine(options, whole=True)
    assert diagnosis.is_healthy
    assert len(diagnosis.layouts) == 21
    found = {finding.code: finding.text for finding in diagnosis.findings}
    assert found["registries-many"] == (
        f"there are more than 21 registries: 4 blobs of others, such as '20/{REGISTRY}/x'"
    )


def empty_pages(count: int | None) -> Fault:
    """The first pages of each listing are empty, or all of them are, and there is more.

    Azurite never answers so; the service does where it had much to pass over.
    """

    async def play(request: Any, send: Send) -> Any:
        query = dict(parse_qsl(urlsplit(request.url).query))
        marker = query.get("marker", "")
        # A marker of Azurite's is a name: these come before all others.
        if count is not None and len(marker) >= count:
            return await send()
        body = (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<EnumerationResults ServiceEndpoint="http://localhost/" ContainerName="c">'
            # The SDK asks for the next page by what it reads in this one.
            f"<Prefix>{query.get('prefix', '')}</Prefix>"
            f"<MaxResults>{query.get('maxresults', 5000)}</MaxResults>"
            f"<Blobs/><NextMarker>{marker}!</NextMarker></EnumerationResults>"
        )
        return CannedResponse(request, 200, body=body.encode())

    return Fault("empty pages", play, on="List Blobs", times=None)


@pytest.mark.parametrize("whole", [False, True])
async def test_empty_pages_are_not_the_end(
    azurite_server: AzuriteServer, container: str, plant: Callable[..., None], whole: bool
) -> None:
    await asyncio.to_thread(plant, container, [f"/{REGISTRY}/x", f"/{REGISTRY}/y"])
    options = options_from_connection_string(azurite_server.connection_string, container)
    faults = Faults(empty_pages(3))
    diagnosis = await examine(options, whole=whole, wrap_transport=faults.wrap)
    assert diagnosis.counts.is_whole
    assert diagnosis.counts.blobs == 2
    assert diagnosis.recommended == {"legacyrootprefix": True}


async def test_a_sample_with_empty_pages_has_every_layout(
    azurite_server: AzuriteServer, container: str, plant: Callable[..., None]
) -> None:
    names = [f"-{number:04}/x" for number in range(1050)]
    await asyncio.to_thread(plant, container, [*names, f"/{REGISTRY}/x", f"{REGISTRY}/x", "/y/x"])
    options = options_from_connection_string(
        azurite_server.connection_string, container, root_directory="y"
    )
    diagnosis = await examine(options, wrap_transport=Faults(empty_pages(1)).wrap)
    assert not diagnosis.counts.is_whole
    found = {(one.root_directory, one.legacy_root_prefix) for one in diagnosis.layouts}
    assert found == {("", True), ("", False), ("y", True)}


@pytest.mark.parametrize("root", ["", "r"])
async def test_nothing_is_empty_that_was_not_looked_through(
    sdk: ContainerClient, azurite_server: AzuriteServer, container: str, root: str
) -> None:
    await sdk.upload_blob("r/a", b"x")
    options = options_from_connection_string(
        azurite_server.connection_string, container, root_directory=root
    )
    requests: list[RecordedRequest] = []
    faults = Faults(empty_pages(None))
    diagnosis = await examine(
        options,
        wrap_transport=lambda inner: RecordingTransport(faults.wrap(inner), requests),
    )
    (told,) = (finding for finding in diagnosis.findings if finding.code == "none-seen")
    assert told.severity == "warning"
    assert not {"empty"} & {finding.code for finding in diagnosis.findings}
    assert not diagnosis.counts.is_whole
    assert len(requests) <= 110


async def requests_to_examine(options: AzureBlobOptions, faults: Faults) -> list[RecordedRequest]:
    requests: list[RecordedRequest] = []
    await examine(
        options, wrap_transport=lambda inner: RecordingTransport(faults.wrap(inner), requests)
    )
    return requests


async def test_a_sample_takes_no_more_requests_than_it_says(
    azurite_server: AzuriteServer, container: str, plant: Callable[..., None]
) -> None:
    names = [f"{top:02}/{REGISTRY}/x" for top in range(40)]
    # More than a page, so that it is sampled.
    names += [f"00/{REGISTRY}/{number:04}" for number in range(1000)]
    await asyncio.to_thread(plant, container, names)
    options = options_from_connection_string(
        azurite_server.connection_string, container, root_directory="20"
    )
    for empty, at_least, at_most in ((0, 60, 74), (1, 75, 74 + 25)):
        requests = await requests_to_examine(options, Faults(empty_pages(empty)))
        listings = sum(request.operation == "List Blobs" for request in requests)
        assert at_least <= listings <= at_most
        assert len(requests) <= listings + 11
