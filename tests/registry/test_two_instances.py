"""Two instances of the registry, each with a driver of its own, on one container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from azdriver import AzureBlobDriver
from azdriver.testing.azurite import AzuriteServer
from oci_registry.web import make_app
from registry_client import IMAGE, Answer, RegistryClient, send_and_cut, sha256

BLOB = bytes(range(256)) * 4000
BLOCK_BYTES = 64 * 1024

Instances = tuple[RegistryClient, RegistryClient]


@pytest.fixture(params=["append", "block"])
async def instances(
    request: pytest.FixtureRequest, registry_azurite: AzuriteServer, container: str
) -> AsyncIterator[Instances]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def instance() -> RegistryClient:
            driver = AzureBlobDriver.from_connection_string(
                registry_azurite.connection_string,
                container,
                write_mode=request.param,
                append_block_bytes=BLOCK_BYTES,
                block_bytes=BLOCK_BYTES,
            )
            server = TestServer(make_app(await stack.enter_async_context(driver)))
            await stack.enter_async_context(server)
            return RegistryClient(session, server.make_url("/"))

        yield await instance(), await instance()


async def test_one_blob_is_pushed_through_both_at_once(instances: Instances) -> None:
    digest = sha256(BLOB)

    async def push(number: int) -> Answer:
        registry = instances[number % 2]
        # Repositories that both push to, and some that one does.
        name = f"a{number % 3}"
        if number < 4:
            return await registry.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", BLOB)
        location = await registry.start(name)
        await registry.ask("PATCH", location, BLOB, status=202)
        return await registry.ask("PUT", f"{location}?digest={digest}")

    async def read(number: int) -> None:
        # From whichever: what shows is whole, however often it is written anew meanwhile.
        answer = await instances[number % 2].ask("GET", f"/v2/a0/blobs/{digest}")
        assert (answer.status, answer.body) == (200, BLOB) or answer.status == 404

    async with asyncio.TaskGroup() as group:
        pushes = [group.create_task(push(number)) for number in range(8)]
        for number in range(8):
            group.create_task(read(number))
    for each in pushes:
        answer = each.result()
        assert answer.status == 201
        for registry in instances:
            assert (await registry.ask("GET", answer.location, status=200)).body == BLOB


async def test_one_tag_is_moved_through_both_at_once(instances: Instances) -> None:
    first, second = instances
    images = [await first.image("a", b"layer %d" % number) for number in range(6)]
    answer = await first.push_manifest("a", "latest", images[0])
    known = {answer.headers["Docker-Content-Digest"]}
    finished = asyncio.Event()

    async def read(registry: RegistryClient) -> set[str]:
        seen: set[str] = set()
        while not finished.is_set():
            answer = await registry.ask("GET", "/v2/a/manifests/latest", status=200)
            assert sha256(answer.body) == answer.headers["Docker-Content-Digest"]
            seen.add(sha256(answer.body))
        return seen

    readers = [asyncio.create_task(read(registry)) for registry in instances]
    try:
        answers = await asyncio.gather(
            *(
                registry.push_manifest("a", "latest", image)
                for image in images
                for registry in instances
            )
        )
    finally:
        finished.set()
        seen = await asyncio.gather(*readers)
    known |= {answer.headers["Docker-Content-Digest"] for answer in answers}
    assert set().union(*seen) <= known
    at_last = [
        (await registry.ask("GET", "/v2/a/manifests/latest", status=200)).body
        for registry in instances
    ]
    assert at_last[0] == at_last[1]
    assert await second.tags("a") == ["latest"]


async def test_one_manifest_is_pushed_through_both_at_once(instances: Instances) -> None:
    image = await instances[0].image("a", b"layer")
    answers = await asyncio.gather(
        *(instances[number % 2].push_manifest("a", f"v{number % 4}", image) for number in range(8))
    )
    (digest,) = {answer.headers["Docker-Content-Digest"] for answer in answers}
    for registry in instances:
        assert await registry.tags("a") == ["v0", "v1", "v2", "v3"]
        for reference in ("v0", "v1", "v2", "v3", digest):
            answer = await registry.ask("GET", f"/v2/a/manifests/{reference}", status=200)
            assert sha256(answer.body) == digest
            assert answer.headers["Content-Type"] == IMAGE


async def test_an_upload_that_was_cut_goes_on_at_the_other(instances: Instances) -> None:
    digest = sha256(BLOB)
    location = await instances[0].start("a")
    size = 0
    for number in range(4):
        one, other = instances[number % 2], instances[1 - number % 2]
        part = BLOB[size : size + 3 * BLOCK_BYTES + 1]
        await send_and_cut(one, "PATCH", location, part)
        # The other may ask while the one still stores what came.
        status = await other.ask("GET", location, status=204)
        end = int(status.headers["Range"].removeprefix("0-"))
        assert size <= (end + 1 if end else 0) <= size + len(part)
        size = end + 1 if end else 0
    while True:
        headers = {"Content-Range": f"{size}-{len(BLOB) - 1}"}
        answer = await instances[0].ask("PATCH", location, BLOB[size:], headers=headers)
        if answer.status == 202:
            break
        # It was stored after all: the answer says from where to go on.
        assert (answer.status, answer.code) == (416, "RANGE_INVALID")
        size = int(answer.headers["Range"].removeprefix("0-")) + 1
    await instances[1].ask("PUT", f"{location}?digest={digest}", status=201)
    for registry in instances:
        assert (await registry.ask("GET", f"/v2/a/blobs/{digest}", status=200)).body == BLOB
