"""What the doctor keeps of the blobs that it looks at: no more for millions than for hundreds."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from azure.storage.blob import BlobProperties

from azdriver.azureblob.connectionstring import options_from_connection_string
from azdriver.azureblob.doctor import examine
from azdriver.azureblob.doctor.sampling import Sample
from azdriver.testing.azurite import AzuriteServer

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
