"""The registry killed with SIGKILL in mid-push: whatever shows afterwards is whole."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import aiohttp
import pytest

from azdriver.testing.azurite import AzuriteServer
from registry_client import IMAGE, Answer, RegistryClient, descriptor, sha256
from registry_processes import registry_url, start_registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

# 20 of them.
KILLS: Final = {"append": 12, "block": 8}
PUSHERS: Final = 3
MIB: Final = 1024 * 1024
# Of the layers. Small ones are between two requests more often, large ones in a body.
SIZES: Final = (MIB, MIB + 1, 2 * MIB - 1, 3 * MIB, 8 * MIB)
CHUNK: Final = 768 * 1024
# A life ends so many requests after its first push, and so long after the last of them began.
MAX_REQUESTS: Final = 30
MAX_DELAY_SECONDS: Final = 0.08
CHECKS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Bytes:
    """Content that is made anew when it is wanted: all of a run is more than there is memory."""

    seed: str
    size: int

    def made(self) -> bytes:
        return random.Random(self.seed).randbytes(self.size)


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    tag: str
    blobs: tuple[Bytes, ...]  # the first is the configuration


@dataclass(slots=True)
class Upload:
    """An upload whose end was not acknowledged."""

    name: str
    location: str
    content: Bytes
    is_finishing: bool = False


Blob = tuple[str, str]
"""A repository, and a digest."""


@dataclass(slots=True)
class Ledger:
    """What was pushed, and what of it was acknowledged.

    Attributes:
        blobs: the size of each blob whose push began.
        manifests: those whose push began.
        acknowledged: the blobs and manifests that a registry said were stored.
        tags: what each tag may point to: what was acknowledged last, and what was sent since.
        images: those whose pushes began, until they are acknowledged.
        unchecked: blobs that nobody has read since their push began.
    """

    blobs: dict[Blob, int] = field(default_factory=dict)
    manifests: set[Blob] = field(default_factory=set)
    acknowledged: set[Blob] = field(default_factory=set)
    tags: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    acknowledged_tags: set[tuple[str, str]] = field(default_factory=set)
    uploads: list[Upload] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    unchecked: set[Blob] = field(default_factory=set)


class Pusher:
    """A client that keeps the ledger; ``begun`` is called before each of its requests."""

    def __init__(
        self,
        registry: RegistryClient,
        ledger: Ledger,
        dice: random.Random,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.registry = registry
        self.ledger = ledger
        self.dice = dice
        self.begun = begun
        self.sending = 0

    async def push(self, image: Image) -> str:
        """Push an image whole; returns its digest."""
        self.ledger.images.append(image)
        config, *layers = [await self._push_blob(image.name, blob) for blob in image.blobs]
        manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers}
        content = json.dumps(manifest).encode()
        digest = sha256(content)
        self.ledger.manifests.add((image.name, digest))
        place = (image.name, image.tag)
        self.ledger.tags.setdefault(place, []).append(digest)
        answer = await self._ask(
            "PUT",
            f"/v2/{image.name}/manifests/{image.tag}",
            content,
            status=201,
            headers={"Content-Type": IMAGE},
        )
        assert answer.headers["Docker-Content-Digest"] == digest
        self.ledger.tags[place] = [digest]
        self.ledger.acknowledged_tags.add(place)
        self.ledger.acknowledged.add((image.name, digest))
        self.ledger.images.remove(image)
        return digest

    async def _push_blob(self, name: str, blob: Bytes) -> dict[str, Any]:
        content = blob.made()
        digest = sha256(content)
        self.ledger.blobs[name, digest] = blob.size
        self.ledger.unchecked.add((name, digest))
        way = self.dice.choice(("post", "put", "chunks", "stream"))
        if way == "post":
            path = f"/v2/{name}/blobs/uploads/?digest={digest}"
            await self._ask("POST", path, content, status=201)
        else:
            answer = await self._ask("POST", f"/v2/{name}/blobs/uploads/", status=202)
            upload = Upload(name, answer.location, blob)
            self.ledger.uploads.append(upload)
            if way == "chunks":
                for begin in range(0, blob.size, CHUNK):
                    await self._patch(upload, begin, content[begin : begin + CHUNK])
            elif way == "stream":
                await self._ask("PATCH", upload.location, _stream(content), status=202)
            await self._finish(upload, digest, content if way == "put" else b"")
        self.ledger.acknowledged.add((name, digest))
        return descriptor(content)

    async def resume(self, upload: Upload) -> bool:
        """Go on with an upload that was interrupted; whether it could be gone on with."""
        content = upload.content.made()
        digest = sha256(content)
        status = await self._ask("GET", upload.location)
        if status.status == 404:
            # It may have been thrown away just when it had become a blob.
            assert upload.is_finishing, "an upload is gone whose end was never sent"
            self.ledger.uploads.remove(upload)
            return False
        assert status.status == 204, status
        end = int(status.headers["Range"].removeprefix("0-"))
        size = end + 1 if end else 0
        assert size <= len(content)
        if size < len(content):
            await self._patch(upload, size, content[size:])
        await self._finish(upload, digest, b"")
        self.ledger.acknowledged.add((upload.name, digest))
        return True

    async def _patch(self, upload: Upload, begin: int, chunk: bytes) -> None:
        headers = {"Content-Range": f"{begin}-{begin + len(chunk) - 1}"}
        answer = await self._ask("PATCH", upload.location, chunk, status=202, headers=headers)
        assert answer.headers["Range"] == f"0-{begin + len(chunk) - 1}"

    async def _finish(self, upload: Upload, digest: str, rest: bytes) -> None:
        upload.is_finishing = True
        await self._ask("PUT", f"{upload.location}?digest={digest}", rest, status=201)
        self.ledger.uploads.remove(upload)

    async def _ask(self, *request: Any, **options: Any) -> Answer:
        self.begun()
        self.sending += 1
        answer = await self.registry.ask(*request, **options)
        # Not in a ``finally``: what the kill cuts off stays counted.
        self.sending -= 1
        return answer


async def _stream(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), 64 * 1024):
        yield content[begin : begin + 64 * 1024]


def _images(life: int, pusher: int, dice: random.Random) -> Iterable[Image]:
    """Images without end; the repository's few tags move from one to the next."""
    number = 0
    while True:
        seed = f"{life} {pusher} {number}"
        blobs = [Bytes(f"config {seed}", 500)]
        blobs += [
            Bytes(f"layer {seed} {layer}", dice.choice(SIZES))
            for layer in range(dice.choice((1, 2)))
        ]
        if number == 0:
            # All pushers begin with one layer that they share, and push it at once.
            blobs.insert(1, Bytes(f"shared {life}", 2 * MIB))
        yield Image(f"team/app{pusher}", dice.choice(("latest", "v1", "v2")), tuple(blobs))
        number += 1


class Auditor:
    """Looks at a registry from outside, and says what is wrong."""

    def __init__(self, registry: RegistryClient, ledger: Ledger) -> None:
        self.registry = registry
        self.ledger = ledger
        self.wrong: list[str] = []
        self._places = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def audit(self, blobs: Iterable[Blob], manifests: Iterable[Blob]) -> None:
        """Read these, and all tags."""
        names = sorted({name for name, _ in self.ledger.blobs})
        checks: list[Callable[[], Awaitable[object]]] = [
            *(partial(self._blob, *blob) for blob in sorted(blobs)),
            *(partial(self._manifest, *manifest) for manifest in sorted(manifests)),
            *(partial(self._tags, name) for name in names),
        ]

        async def run(check: Callable[[], Awaitable[object]]) -> None:
            async with self._places:
                await check()

        await asyncio.gather(*map(run, checks))

    async def _blob(self, name: str, digest: str) -> None:
        path = f"/v2/{name}/blobs/{digest}"
        head = await self.registry.ask("HEAD", path)
        answer = await self.registry.ask("GET", path)
        if answer.status != head.status or head.status not in (200, 404):
            self._say(f"HEAD {path} is {head.status}, and GET {answer.status}")
        elif head.status == 404:
            if (name, digest) in self.ledger.acknowledged:
                self._say(f"{path} was acknowledged, and is gone")
        elif sha256(answer.body) != digest:
            self._say(f"{path} has other bytes: {len(answer.body)}")
        elif int(head.headers["Content-Length"]) != len(answer.body):
            self._say(f"{path} has another length by HEAD")

    async def _tags(self, name: str) -> None:
        answer = await self.registry.ask("GET", f"/v2/{name}/tags/list")
        if answer.status not in (200, 404):
            self._say(f"the tags of {name} are {answer.status}")
        # A repository is known from its first manifest on.
        tags = answer.json["tags"] if answer.status == 200 else []
        expected = {tag for place, tag in self.ledger.acknowledged_tags if place == name}
        if missing := expected - set(tags):
            self._say(f"{name} has lost the tags {sorted(missing)}")
        for tag in tags:
            digest = await self._manifest(name, tag)
            if digest is None:
                self._say(f"{name}:{tag} points to nothing")
            elif digest not in self.ledger.tags[name, tag]:
                self._say(f"{name}:{tag} points to {digest}, to which nobody moved it")

    async def _manifest(self, name: str, reference: str) -> str | None:
        """The digest of a manifest whose references are there; None if there is no such one."""
        path = f"/v2/{name}/manifests/{reference}"
        answer = await self.registry.ask("GET", path)
        if answer.status != 200:
            if answer.status != 404 or (name, reference) in self.ledger.acknowledged:
                self._say(f"GET {path} is {answer.status}")
            return None
        digest = sha256(answer.body)
        if answer.headers["Docker-Content-Digest"] != digest:
            self._say(f"{path} does not have the digest that it says")
        for blob in [answer.json["config"], *answer.json["layers"]]:
            head = await self.registry.ask("HEAD", f"/v2/{name}/blobs/{blob['digest']}")
            if head.status != 200 or int(head.headers["Content-Length"]) != blob["size"]:
                self._say(f"{path} names {blob['digest']}, which is not there as it says")
        return digest

    def _say(self, what: str) -> None:
        self.wrong.append(what)


@asynccontextmanager
async def _registry(
    server: AzuriteServer, url: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, RegistryClient]]:
    """An instance in a process of its own, which has ended on leaving."""
    process = await start_registry(
        *("serve", "--url", url, "--port", "0"),
        environment={"AZURE_STORAGE_CONNECTION_STRING": server.connection_string},
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield process, RegistryClient(session, await registry_url(process))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        _, errors = await process.communicate()
        print(errors.decode(), end="", file=sys.stderr)


async def _push_until_killed(
    process: asyncio.subprocess.Process, registry: RegistryClient, ledger: Ledger, life: int
) -> int:
    """Push from several clients at once, and kill the registry meanwhile.

    Returns:
        How many requests the kill cut off.
    """
    dice = random.Random(f"life {life}")
    left = dice.randrange(1, MAX_REQUESTS)
    delay = dice.random() * MAX_DELAY_SECONDS
    print(f"life {life}: killed {delay * 1000:.0f} ms after the {left}. request began")
    reached = asyncio.Event()

    def begun() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            reached.set()

    async def push(pusher: Pusher, images: Iterable[Image]) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            for image in images:
                await pusher.push(image)

    pushers: list[Pusher] = []
    async with asyncio.TaskGroup() as group:
        for number in range(PUSHERS):
            own = random.Random(f"life {life}, pusher {number}")
            pushers.append(Pusher(registry, ledger, own, begun))
            group.create_task(push(pushers[-1], _images(life, number, own)))
        await reached.wait()
        await asyncio.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    return sum(pusher.sending for pusher in pushers)


async def _go_on(registry: RegistryClient, ledger: Ledger, life: int) -> tuple[int, int]:
    """Resume half of the uploads that were cut off; the others are begun anew at the end.

    Returns:
        How many were resumed, and how many had become blobs.
    """
    dice = random.Random(f"after {life}")
    pusher = Pusher(registry, ledger, dice)
    uploads = [upload for upload in ledger.uploads if dice.random() < 0.5]
    resumed = [await pusher.resume(upload) for upload in uploads]
    ledger.unchecked.update((each.name, sha256(each.content.made())) for each in uploads)
    return sum(resumed), len(resumed) - sum(resumed)


@pytest.mark.parametrize("write_mode", KILLS)
async def test_what_shows_after_a_kill_is_whole(
    azurite_server: AzuriteServer,
    container: str,
    write_mode: str,
    record_property: Callable[[str, object], None],
) -> None:
    # Small blocks, so that a body takes many requests.
    options = "appendblockbytes=524288&blockbytes=524288"
    url = f"azure:///{container}?writemode={write_mode}&{options}"
    kills = KILLS[write_mode]
    ledger = Ledger()
    cut = resumed = finished = 0
    for life in range(kills + 1):
        async with _registry(azurite_server, url) as (process, registry):
            auditor = Auditor(registry, ledger)
            await auditor.audit(ledger.unchecked, ledger.manifests - ledger.acknowledged)
            assert auditor.wrong == [], f"after kill {life}"
            ledger.unchecked.clear()
            again, were_blobs = await _go_on(registry, ledger, life)
            resumed += again
            finished += were_blobs
            if life < kills:
                cut += await _push_until_killed(process, registry, ledger, life)
                continue
            # At the end, undisturbed: all that was cut off is begun anew.
            interrupted = list(ledger.images)
            ledger.images.clear()
            pusher = Pusher(registry, ledger, random.Random("the end"))
            for image in interrupted:
                await pusher.push(image)
            await auditor.audit(ledger.blobs, ledger.manifests)
            assert auditor.wrong == []
            assert ledger.acknowledged == ledger.blobs.keys() | ledger.manifests
    summary = (
        f"{kills} kills cut off {cut} requests of {len(ledger.manifests)} images and "
        f"{len(ledger.blobs)} blobs; {resumed} uploads were resumed, {finished} were blobs already"
    )
    print(summary)
    record_property(f"killed registry, {write_mode}", summary)
    # Else the moments were not what they should be.
    assert cut >= kills
    assert resumed >= kills // 4
