"""One container for this registry and the Go registry: what one has pushed, the other serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azdriver import StorageDriver, from_url
from registry_processes import (
    DOCKER_REGISTRY,
    RunningRegistry,
    docker_registry,
    oci_registry_process,
)
from skopeo import OciLayout, Skopeo, layer

pytestmark = pytest.mark.skipif(
    DOCKER_REGISTRY is None,
    reason="docker-registry is not here: Debian's package docker-registry has it",
)


@pytest.fixture
async def azure(
    container: str, storage_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[StorageDriver]:
    """A driver on the container of ``ours``."""
    for name, value in storage_environment.items():
        monkeypatch.setenv(name, value)
    async with from_url(f"azure:///{container}") as driver:
        yield driver


@pytest.fixture
async def ours(
    azure: StorageDriver, container: str, storage_environment: dict[str, str]
) -> AsyncIterator[RunningRegistry]:
    async with oci_registry_process(
        f"azure:///{container}", environment=storage_environment
    ) as registry:
        yield registry


async def _write_out(driver: StorageDriver, directory: Path) -> None:
    """Every content of the driver becomes the file of its path."""
    async for info in driver.walk("/"):
        file = directory / info.path.removeprefix("/")
        if info.is_dir:
            file.mkdir()
        else:
            file.write_bytes(await driver.get_content(info.path))


async def _read_in(directory: Path, driver: StorageDriver) -> None:
    for file in await asyncio.to_thread(lambda: [*directory.rglob("*")]):
        if file.is_file():
            path = f"/{file.relative_to(directory).as_posix()}"
            await driver.put_content(path, file.read_bytes())


def _images(layout: OciLayout) -> dict[str, str]:
    """Two tags that share a layer, and an index of both; the digests of all three."""
    shared = layer("shared", b"shared" * 10_000)
    one, described_one = layout.add_image("one", shared, layer("own", b"one"))
    two, described_two = layout.add_image("two", shared, architecture="arm64")
    both = layout.add_index("both", [described_one, described_two])
    return {"both": both, "one": one, "two": two}


async def _push(skopeo: Skopeo, layout: OciLayout, repository: str, tags: dict[str, str]) -> None:
    for tag, digest in tags.items():
        assert await skopeo.copy(layout[tag], f"{repository}:{tag}", "--all") == digest


async def _pull(skopeo: Skopeo, repository: str, tags: dict[str, str], pulled: Path) -> None:
    """Pull all tags; skopeo checks each blob by its digest."""
    # The Go registry lists in the order of its directory.
    assert sorted(await skopeo.tags(repository)) == sorted(tags)
    for tag, digest in tags.items():
        copied = await skopeo.copy(f"{repository}:{tag}", f"oci:{pulled}:{tag}", "--all")
        assert copied == digest


def _files(layout: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (layout / "blobs" / "sha256").iterdir()}


async def test_the_go_registry_serves_what_was_pushed_here(
    ours: RunningRegistry, azure: StorageDriver, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    tags = _images(layout)
    await _push(skopeo, layout, f"docker://{ours.host}/team/app", tags)

    stored = tmp_path / "stored"
    stored.mkdir()
    await _write_out(azure, stored)
    async with docker_registry(stored) as theirs:
        repository = f"docker://{theirs.host}/team/app"
        await _pull(skopeo, repository, tags, tmp_path / "pulled")
        # It can also delete, and push on top.
        await skopeo.delete(f"{repository}:both")
        assert set(await skopeo.tags(repository)) == {"one", "two"}
        await _push(skopeo, layout, repository, {"both": tags["both"]})
        assert set(await skopeo.tags(repository)) == tags.keys()

    assert _files(tmp_path / "pulled") == _files(layout.directory)


async def test_what_the_go_registry_took_is_served_here(
    ours: RunningRegistry, azure: StorageDriver, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    tags = _images(layout)
    stored = tmp_path / "stored"
    stored.mkdir()
    async with docker_registry(stored) as theirs:
        await _push(skopeo, layout, f"docker://{theirs.host}/team/app", tags)

    await _read_in(stored, azure)
    repository = f"docker://{ours.host}/team/app"
    await _pull(skopeo, repository, tags, tmp_path / "pulled")
    await skopeo.delete(f"{repository}:both")
    assert await skopeo.tags(repository) == ["one", "two"]
    await _push(skopeo, layout, repository, {"both": tags["both"]})
    assert await skopeo.tags(repository) == ["both", "one", "two"]

    assert _files(tmp_path / "pulled") == _files(layout.directory)
