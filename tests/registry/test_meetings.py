"""What another instance does between any two storage requests of one, and where one is killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aged_driver import AgedDriver, paths
from azdriver import BackendError, NotAppendableError, PathNotFoundError, StorageDriver
from oci_registry.garbage import GarbageCollector
from oci_registry.names import parse_digest, parse_repository
from oci_registry.settings import RegistrySettings
from oci_registry.storage import RegistryStorage
from oci_registry.web import make_app
from registry_client import IMAGE, Answer, RegistryClient, descriptor, sha256

ROOT = "/docker/registry/v2"
EVERYWHERE = pytest.mark.parametrize(
    "storage", ["memory", "azurite", "azurite-block"], indirect=True
)
# Where the blob is there already, and where it is not.
TARGETS = pytest.mark.parametrize(
    ("storage", "is_known"),
    [("memory", True), ("memory", False), ("azurite", True), ("azurite-block", False)],
    indirect=["storage"],
)


@dataclass(slots=True)
class Instances:
    """One instance, whose requests to storage are met, and another one."""

    storage: StorageDriver
    met: AgedDriver
    one: RegistryClient
    other: RegistryClient


@pytest.fixture
async def instances(storage: StorageDriver) -> AsyncIterator[Instances]:
    met = AgedDriver(storage)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def instance(driver: StorageDriver) -> RegistryClient:
            server = TestServer(make_app(driver))
            await stack.enter_async_context(server)
            return RegistryClient(session, server.make_url("/"))

        yield Instances(storage, met, await instance(met), await instance(storage))


async def _assert_is_no_other(storage: StorageDriver, digest: str) -> None:
    """What can be read under a digest has it."""
    value = digest.removeprefix("sha256:")
    try:
        content = await storage.get_content(f"{ROOT}/blobs/sha256/{value[:2]}/{value}/data")
    except PathNotFoundError:
        return
    assert sha256(content) == digest


class LateBody:
    """A body whose end is sent when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def __call__(self) -> AsyncIterator[bytes]:
        # Without a first byte aiohttp keeps back the head.
        yield b"x"
        self.started.set()
        await self.goes_on.wait()
        yield b"y"


@TARGETS
@pytest.mark.parametrize("what", ["PATCH", "late PATCH", "PUT", "DELETE"])
async def test_what_comes_after_it_was_verified_is_no_blob(
    instances: Instances, what: str, is_known: bool
) -> None:
    one, other, met = instances.one, instances.other, instances.met
    number, calls = 0, 1
    answers: set[int] = set()
    # Before the first request, before the second one, and so on until there are no more.
    while calls >= number:
        content = b"layer %d" % number
        digest = sha256(content)
        if is_known:
            # So old that it is written anew.
            await other.push_blob("known", content)
            await met.grow_old()
        location = await one.start("a")
        await one.ask("PATCH", location, content, status=202)
        late = LateBody()
        meddling: asyncio.Task[Answer] | None = None

        async def meddle() -> Answer:
            if what == "PUT":
                path = f"{location}?digest={sha256(content + b'xy')}"  # noqa: B023
                return await other.ask("PUT", path, b"xy")
            if what == "DELETE":
                return await other.ask("DELETE", location)  # noqa: B023
            return await other.ask("PATCH", location, late())  # noqa: B023

        calls = 0

        async def meet(operation: str, path: str) -> None:
            nonlocal calls, meddling
            await _assert_is_no_other(instances.storage, digest)  # noqa: B023
            if calls == number:  # noqa: B023
                late.goes_on.set()  # noqa: B023
                if meddling is None:
                    meddling = asyncio.create_task(meddle())
                await meddling
            calls += 1

        if what == "late PATCH":
            meddling = asyncio.create_task(meddle())
            await late.started.wait()
            await asyncio.sleep(0.02)  # so that the upload is open there, mostly
        met.meet = meet
        answer = await one.ask("PUT", f"{location}?digest={digest}")
        met.meet = None
        late.goes_on.set()
        if meddling is not None:
            assert (await meddling).status < 500
        answers.add(answer.status)
        # 400: it came before, and belonged to what was verified.
        assert answer.status in (201, 400, 404, 416), answer
        await _assert_is_no_other(instances.storage, digest)
        if answer.status != 201:
            await other.push_blob("a", content)
        for name in ("a", "known") if is_known else ("a",):
            for registry in (one, other):
                read = await registry.ask("GET", f"/v2/{name}/blobs/{digest}", status=200)
                assert read.body == content
        number += 1
    assert number > 3
    # In memory the first byte is stored when it comes.
    assert 201 in answers or what == "late PATCH"


@TARGETS
async def test_a_push_that_is_killed_between_two_requests_can_be_made_again(
    instances: Instances, is_known: bool
) -> None:
    one, other, met = instances.one, instances.other, instances.met
    number = 0
    answer = None
    while answer is None or answer.status != 201:
        content = b"layer %d" % number
        digest = sha256(content)
        if is_known:
            await other.push_blob("known", content)
            await met.grow_old()
        location = await one.start("a")
        await one.ask("PATCH", location, content, status=202)
        calls = 0

        async def meet(operation: str, path: str) -> None:
            nonlocal calls
            await _assert_is_no_other(instances.storage, digest)  # noqa: B023
            calls += 1
            if calls > number:  # noqa: B023
                raise RuntimeError("killed")  # and so is every request that would follow

        met.meet = meet
        answer = await one.ask("PUT", f"{location}?digest={digest}")
        met.meet = None
        await _assert_is_no_other(instances.storage, digest)
        if is_known:
            await other.ask("GET", f"/v2/known/blobs/{digest}", status=200)
        status = await other.ask("GET", location)
        assert status.status in (204, 404)
        again = await other.ask("PUT", f"{location}?digest={digest}")
        assert again.status == (201 if status.status == 204 else 404)
        if again.status != 201:
            await other.push_blob("a", content)
        assert (await other.ask("GET", f"/v2/a/blobs/{digest}", status=200)).body == content
        number += 1
    assert number > 5
    await met.grow_old()
    await GarbageCollector(met, RegistrySettings()).collect()
    assert not [path async for path in paths(met) if "_uploads" in path]


@EVERYWHERE
async def test_a_push_that_storage_fails_can_be_finished(instances: Instances) -> None:
    one, met = instances.one, instances.met
    content = b"layer"
    digest = sha256(content)
    location = await one.start("a")
    await one.ask("PATCH", location, content, status=202)
    moves = 0

    async def meet(operation: str, path: str) -> None:
        nonlocal moves
        moves += operation == "move"
        if operation == "move" and moves == 2:
            raise BackendError("test", path, "move", reason="the storage is away")

    met.meet = meet
    await one.ask("PUT", f"{location}?digest={digest}", status=503)
    await one.ask("HEAD", f"/v2/a/blobs/{digest}", status=404)
    await one.ask("PUT", f"{location}?digest={digest}", status=201)
    await one.ask("HEAD", f"/v2/a/blobs/{digest}", status=200)
    assert not [path async for path in paths(met) if "_uploads" in path]


@EVERYWHERE
@pytest.mark.parametrize("method", ["DELETE", "PUT"])
async def test_a_chunk_is_refused_whose_upload_ended_at_another_instance(
    instances: Instances, method: str
) -> None:
    one, other, met = instances.one, instances.other, instances.met
    content = b"layer"
    location = await other.start("a")
    await other.ask("PATCH", location, content, status=202)
    body = LateBody()
    is_open = asyncio.Event()

    async def meet(operation: str, path: str) -> None:
        if operation == "writer":
            is_open.set()

    met.meet = meet
    chunk = asyncio.create_task(one.ask("PATCH", location, body()))
    async with asyncio.timeout(10):
        await is_open.wait()
    await asyncio.sleep(0.1)  # so that it is open indeed
    query = f"?digest={sha256(content)}" if method == "PUT" else ""
    ended = await other.ask(method, location + query)
    body.goes_on.set()
    # 400: in memory the first byte of the chunk was stored when it came. The upload ends anyway.
    assert ended.status in (201, 204, 400)
    assert (await chunk).status == 404
    await one.ask("GET", location, status=404)


async def test_an_upload_that_is_committed_in_this_moment_is_refused(
    instances: Instances,
) -> None:
    one, met = instances.one, instances.met
    location = await one.start("a")

    async def meet(operation: str, path: str) -> None:
        if operation == "writer":
            # What is found of a stream in block mode, when its commit comes in between.
            raise NotAppendableError("test", path, "BlockBlob")

    for method, path in (("PATCH", location), ("PUT", f"{location}?digest={sha256(b'x')}")):
        met.meet = meet
        answer = await one.ask(method, path, b"x", status=416)
        assert answer.code == "RANGE_INVALID"
        met.meet = None
    await one.ask("PUT", path, b"x", status=201)


async def _push_referrer(registry: RegistryClient, subject: dict[str, Any], tag: str) -> str:
    return await registry.push_image("a", tag, b"layer", subject=subject, artifactType="x/y")


async def _assert_lists_are_right(registry: RegistryClient, subject: str) -> None:
    """Whatever is listed is there."""
    for tag in await registry.tags("a"):
        await registry.ask("GET", f"/v2/a/manifests/{tag}", status=200)
    for item in await registry.referrers("a", subject):
        await registry.ask("GET", f"/v2/a/manifests/{item['digest']}", status=200)


async def test_a_manifests_delete_that_is_killed_can_be_made_again(instances: Instances) -> None:
    one, other, met = instances.one, instances.other, instances.met
    subject = descriptor(b"subject", IMAGE)
    number, status = 0, 500
    while status != 202:
        digest = await _push_referrer(other, subject, "v1")
        await other.push_manifest("a", "v2", json.loads(await _manifest(other, digest)))
        calls = 0

        async def meet(operation: str, path: str) -> None:
            nonlocal calls
            calls += 1
            if calls > number:  # noqa: B023
                raise RuntimeError("killed")  # and so is every request that would follow

        met.meet = meet
        status = (await one.ask("DELETE", f"/v2/a/manifests/{digest}")).status
        met.meet = None
        await _assert_lists_are_right(other, subject["digest"])
        assert (await other.ask("DELETE", f"/v2/a/manifests/{digest}")).status in (202, 404)
        assert await other.tags("a") == []
        assert await other.referrers("a", subject["digest"]) == []
        number += 1
    assert number > 5


async def test_what_a_delete_left_goes_with_the_next_one(instances: Instances) -> None:
    # As the Go registry leaves referrers, which it does not know.
    subject = descriptor(b"subject", IMAGE)
    digest = await _push_referrer(instances.one, subject, "v1")
    link = f"{ROOT}/repositories/a/_manifests/revisions/sha256/{digest[7:]}/link"
    await instances.storage.delete(link)
    await instances.one.ask("DELETE", f"/v2/a/manifests/{digest}", status=404)
    assert await instances.one.tags("a") == []
    assert await instances.one.referrers("a", subject["digest"]) == []


@pytest.mark.parametrize("is_other", [True, False])
async def test_a_manifest_that_is_pushed_again_beside_its_delete_is_listed(
    instances: Instances, is_other: bool
) -> None:
    one, other, met = instances.one, instances.other, instances.met
    pusher = other if is_other else one
    subject = descriptor(b"subject", IMAGE)
    number, calls = 0, 1
    seen: set[int] = set()
    while calls >= number:
        digest = await _push_referrer(other, subject, "v1")
        manifest = json.loads(await _manifest(other, digest))
        pushing: asyncio.Task[Answer] | None = None
        calls = 0

        async def meet(operation: str, path: str) -> None:
            nonlocal calls, pushing
            calls += 1
            if pushing is None and calls > number:  # noqa: B023
                pushing = asyncio.create_task(
                    pusher.push_manifest("a", "v1", manifest)  # noqa: B023
                )
                # It may have to wait for what comes after this call.
                await asyncio.wait({pushing}, timeout=1 if is_other else 0.1)

        met.meet = meet
        await one.ask("DELETE", f"/v2/a/manifests/{digest}", status=202)
        met.meet = None
        if pushing is not None:
            await pushing
        await _assert_lists_are_right(other, subject["digest"])
        status = (await other.ask("HEAD", f"/v2/a/manifests/{digest}")).status
        seen.add(status)
        if status == 200:
            (listed,) = await other.referrers("a", subject["digest"])
            assert listed["digest"] == digest
            assert listed["artifactType"] == "x/y"
            if not is_other:
                assert await other.tags("a") == ["v1"]
        number += 1
    assert seen == {200, 404}


async def test_a_tag_that_moves_is_there_all_the_time(instances: Instances) -> None:
    one, other, met = instances.one, instances.other, instances.met
    number, calls = 0, 1
    while calls >= number:
        # Twice: the second time, it moves while it is looked for again.
        digests = [await other.push_image("a", f"v{each}", b"%d" % each) for each in range(3)]
        manifests = [json.loads(await _manifest(other, digest)) for digest in digests]
        await other.push_manifest("a", "latest", manifests[0])
        at = 0
        calls = 0

        async def meet(operation: str, path: str) -> None:
            nonlocal calls, at
            calls += 1
            if calls in (number + 1, number + 3):  # noqa: B023
                at += 1
                await other.push_manifest("a", "latest", manifests[at])  # noqa: B023
                await other.ask("DELETE", f"/v2/a/manifests/{digests[at - 1]}", status=202)  # noqa: B023

        met.meet = meet
        answer = await one.ask("GET", "/v2/a/manifests/latest", status=200)
        met.meet = None
        assert sha256(answer.body) in digests
        number += 1
    assert number > 2


async def _manifest(registry: RegistryClient, digest: str) -> bytes:
    return (await registry.ask("GET", f"/v2/a/manifests/{digest}", status=200)).body


class LostMove(AgedDriver):
    """Whose first move of an upload is made, and its answer lost."""

    def __init__(self, inner: StorageDriver) -> None:
        super().__init__(inner)
        self.is_lost = False

    async def move(self, source: str, dest: str) -> None:
        await super().move(source, dest)
        if "/verified-" in dest and not self.is_lost:
            self.is_lost = True
            raise BackendError(self.name, source, "move", reason="the answer was lost")


async def test_a_move_whose_answer_was_lost_loses_no_upload(storage: StorageDriver) -> None:
    driver = LostMove(storage)
    async with TestServer(make_app(driver)) as server, aiohttp.ClientSession() as session:
        registry = RegistryClient(session, server.make_url("/"))
        location = await registry.start("a")
        await registry.ask("PATCH", location, b"layer", status=202)
        await registry.ask("PUT", f"{location}?digest={sha256(b'layer')}", status=503)
        assert driver.is_lost
        await registry.ask("PUT", f"{location}?digest={sha256(b'layer')}", status=201)
    assert not [path async for path in paths(storage) if "_uploads" in path]


@pytest.mark.parametrize("before", ["/verified-", "/data"])
async def test_an_upload_whose_last_request_was_cut_can_be_finished(
    storage: StorageDriver, before: str
) -> None:
    driver = AgedDriver(storage)
    registry = RegistryStorage(driver, RegistrySettings())
    name, digest = parse_repository("a"), parse_digest(sha256(b"layer"))
    identifier = await registry.uploads.start(name, "sha256")

    async def body(content: bytes) -> AsyncIterator[bytes]:
        yield content

    await registry.uploads.append(name, identifier, body(b"layer"))

    async def meet(operation: str, path: str) -> None:
        if operation == "move" and before in path:
            driver.meet = None
            finishing.cancel()

    driver.meet = meet
    finishing = asyncio.create_task(registry.uploads.finish(name, identifier, digest, body(b"")))
    with pytest.raises(asyncio.CancelledError):
        await finishing
    elsewhere = RegistryStorage(storage, RegistrySettings())
    assert await elsewhere.uploads.size(name, identifier) == len(b"layer")
    await elsewhere.uploads.finish(name, identifier, digest, body(b""))
    assert (await elsewhere.blobs.find(name, digest)).size == len(b"layer")
