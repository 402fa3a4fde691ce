"""Images through skopeo: what comes out has the digests of what went in."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import aiohttp
import pytest

from registry_client import sha256
from registry_processes import RunningRegistry, oci_registry_process
from skopeo import OciLayout, Skopeo, SkopeoError, layer

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"


def _blobs(directory: Path) -> set[str]:
    """The digests of all blobs of a layout, whose contents are checked."""
    files = list((directory / "blobs" / "sha256").iterdir())
    for file in files:
        assert sha256(file.read_bytes()) == f"sha256:{file.name}"
    return {file.name for file in files}


async def test_an_image_goes_in_and_out(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    noise = random.Random(1).randbytes(3_000_000)
    digest, _ = layout.add_image("v1", layer("noise", noise), layer("hello", b"hello"))
    image = f"docker://{running.host}/team/app:v1"

    assert await skopeo.copy(layout["v1"], image) == digest

    assert sha256(await skopeo.raw(image)) == digest
    inspected = await skopeo.inspect(image)
    assert (inspected["Digest"], inspected["RepoTags"]) == (digest, ["v1"])
    assert inspected["Labels"] == {"tag": "v1"}
    pulled = tmp_path / "pulled"
    by_digest = f"docker://{running.host}/team/app@{digest}"
    assert await skopeo.copy(by_digest, f"oci:{pulled}:v1") == digest
    assert _blobs(pulled) == _blobs(layout.directory)


async def test_an_image_is_copied_between_repositories(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    digest, _ = layout.add_image("v1", layer("a", b"a" * 100_000))
    first, second = (f"docker://{running.host}/{name}" for name in ("first", "second/deeper"))
    await skopeo.copy(layout["v1"], f"{first}:v1")

    assert await skopeo.copy(f"{first}:v1", f"{second}:v2") == digest

    # Of its own: it stays when the other one goes.
    await skopeo.delete(f"{first}:v1")
    pulled = tmp_path / "pulled"
    assert await skopeo.copy(f"{second}:v2", f"oci:{pulled}:v2") == digest
    assert _blobs(pulled) == _blobs(layout.directory)


async def test_tags_are_listed_and_deleted(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout
) -> None:
    repository = f"docker://{running.host}/app"
    base = layer("base", b"base")
    for tag in ("v10", "v2", "latest"):
        layout.add_image(tag, base)
        await skopeo.copy(layout[tag], f"{repository}:{tag}")
    assert await skopeo.tags(repository) == ["latest", "v10", "v2"]

    await skopeo.delete(f"{repository}:v10")

    assert await skopeo.tags(repository) == ["latest", "v2"]
    with pytest.raises(SkopeoError, match="manifest unknown"):
        await skopeo.inspect(f"{repository}:v10")
    # Pushed once more, it is there again.
    await skopeo.copy(layout["v10"], f"{repository}:v10")
    assert await skopeo.tags(repository) == ["latest", "v10", "v2"]


async def test_an_index_of_two_architectures(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    images = [
        layout.add_image(architecture, layer("binary", name), architecture=architecture)[1]
        for architecture, name in (("amd64", b"for amd64"), ("arm64", b"for arm64"))
    ]
    digest = layout.add_index("multi", images)
    image = f"docker://{running.host}/multi:v1"

    assert await skopeo.copy(layout["multi"], image, "--all") == digest

    assert json.loads(await skopeo.raw(image))["manifests"] == images
    pulled = tmp_path / "pulled"
    assert await skopeo.copy(image, f"oci:{pulled}:v1", "--all") == digest
    assert _blobs(pulled) == _blobs(layout.directory)
    # One architecture out of it.
    for described in images:
        inspected = await skopeo.run(
            *("--override-arch", described["platform"]["architecture"], "--override-os", "linux"),
            *("inspect", "--tls-verify=false", image),
        )
        assert json.loads(inspected)["Architecture"] == described["platform"]["architecture"]


async def test_dockers_own_format(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    layout.add_image("v1", layer("a", b"a"), layer("b", b"b"))
    image = f"docker://{running.host}/docker:v1"

    digest = await skopeo.copy(layout["v1"], image, "--format", "v2s2")

    manifest = await skopeo.raw(image)
    assert sha256(manifest) == digest
    assert json.loads(manifest)["mediaType"] == DOCKER_IMAGE
    pulled = tmp_path / "pulled"
    assert await skopeo.copy(image, f"dir:{pulled}") == digest
    assert (pulled / "manifest.json").read_bytes() == manifest
    for blob in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
        content = (pulled / blob["digest"].removeprefix("sha256:")).read_bytes()
        assert sha256(content) == blob["digest"]


async def test_sixteen_pushes_side_by_side(
    running: RunningRegistry, skopeo: Skopeo, layout: OciLayout, tmp_path: Path
) -> None:
    shared = [
        layer(f"shared-{number}", random.Random(number).randbytes(500_000)) for number in range(3)
    ]
    tags = [f"v{number:02}" for number in range(16)]
    expected = {tag: layout.add_image(tag, *shared, layer("own", tag.encode()))[0] for tag in tags}
    repository = f"docker://{running.host}/busy"

    async def push(tag: str) -> str:
        # Each with a cache of its own: none knows what another one has pushed.
        client = Skopeo(tmp_path / f"skopeo-{tag}")
        return await client.copy(layout[tag], f"{repository}:{tag}")

    pushed = await asyncio.gather(*(push(tag) for tag in tags))

    assert dict(zip(tags, pushed, strict=True)) == expected
    assert await skopeo.tags(repository) == tags
    pulled = tmp_path / "pulled"
    for tag in tags:
        copied = await skopeo.copy(f"{repository}:{tag}", f"oci:{pulled}:{tag}")
        assert copied == expected[tag]
    assert _blobs(pulled) == _blobs(layout.directory)


async def test_blobs_come_from_where_they_are_stored(
    skopeo: Skopeo,
    layout: OciLayout,
    container: str,
    storage_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    digest, _ = layout.add_image("v1", layer("noise", random.Random(3).randbytes(1_000_000)))
    async with oci_registry_process(
        f"azure:///{container}", "--redirect", environment=storage_environment
    ) as registry:
        image = f"docker://{registry.host}/elsewhere:v1"
        await skopeo.copy(layout["v1"], image)
        pulled = tmp_path / "pulled"
        assert await skopeo.copy(image, f"oci:{pulled}:v1") == digest
        async with aiohttp.ClientSession(registry.url) as session:
            (noise,) = json.loads(await skopeo.raw(image))["layers"]
            path = f"/v2/elsewhere/blobs/{noise['digest']}"
            async with session.get(path, allow_redirects=False) as response:
                assert response.status == 307
    assert _blobs(pulled) == _blobs(layout.directory)


async def test_pushes_side_by_side_through_two_instances(
    skopeo: Skopeo,
    layout: OciLayout,
    container: str,
    storage_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    shared = layer("shared", random.Random(4).randbytes(1_000_000))
    expected = {
        tag: layout.add_image(tag, shared, layer("own", tag.encode()))[0] for tag in "abcdef"
    }
    url = f"azure:///{container}"
    async with (
        oci_registry_process(url, environment=storage_environment) as one,
        oci_registry_process(url, environment=storage_environment) as other,
    ):

        async def push(tag: str, registry: RunningRegistry) -> None:
            client = Skopeo(tmp_path / f"skopeo-{registry.pid}-{tag}")
            copied = await client.copy(layout[tag], f"docker://{registry.host}/both:{tag}")
            assert copied == expected[tag]

        # Each image through both, all at once.
        async with asyncio.TaskGroup() as group:
            for tag in expected:
                for registry in (one, other):
                    group.create_task(push(tag, registry))

        for registry in (one, other):
            repository = f"docker://{registry.host}/both"
            assert await skopeo.tags(repository) == sorted(expected)
            pulled = tmp_path / f"pulled-{registry.pid}"
            for tag, digest in expected.items():
                assert await skopeo.copy(f"{repository}:{tag}", f"oci:{pulled}:{tag}") == digest
            assert _blobs(pulled) == _blobs(layout.directory)
