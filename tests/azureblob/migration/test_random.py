"""Two migrations at once, killed at random requests, beside a client that works on the same blobs.

Each content that is written is another one, and is owed from then on: until the client itself
deletes or replaces it, it has to be somewhere, at the beginning of a blob or of a backup.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties, BlobType

from azdriver.azureblob import AzureBlobOptions
from azdriver.azureblob.client import WrapTransport
from azdriver.azureblob.migration import MigrationSettings, migrate
from azdriver.testing.faults import Fault, Faults, Send

from .conftest import Raw

NAMES = ("a", "/a", "b")
SEEDS = range(40)
LONGEST_WAIT_SECONDS = 0.02


class Crash(BaseException):
    """What no code of ours catches."""


class Client:
    """One that knows what it has seen: each of its writes is conditional on that."""

    def __init__(self, raw: Raw, dice: random.Random) -> None:
        self._raw = raw
        self._dice = dice
        self._numbers = itertools.count()
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.owed: set[bytes] = set()

    async def plant(self) -> None:
        for name in NAMES:
            kind = self._dice.choices(["append", "block", "none"], [14, 3, 3])[0]
            if kind != "none":
                await self._create(name, BlobType(f"{kind.capitalize()}Blob"))

    async def act(self) -> None:
        """One operation; to its end, even if the request is killed that it came beside."""
        self._tasks.append(asyncio.create_task(self._act()))
        await asyncio.shield(self._tasks[-1])

    async def end(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _act(self) -> None:
        async with self._lock:
            name = self._dice.choice(NAMES)
            operation = self._dice.choice(["create", "append", "replace", "delete", "metadata"])
            kind = self._dice.choice([BlobType.BLOCKBLOB, BlobType.APPENDBLOB])
            try:
                seen = await self._look(name)
                if seen is None:
                    if operation == "create":
                        await self._create(name, kind)
                    return
                await self._change(name, *seen, operation, kind)
            except HttpResponseError as error:
                if error.status_code not in (404, 409, 412):  # a migration was quicker
                    raise

    async def _look(self, name: str) -> tuple[bytes, BlobProperties] | None:
        try:
            download = await self._raw.sdk.download_blob(name)
        except HttpResponseError as error:
            if error.status_code in (404, 416):  # 416: being created
                return None
            raise
        return await download.readall(), download.properties

    async def _change(
        self, name: str, content: bytes, was: BlobProperties, operation: str, kind: BlobType
    ) -> None:
        blob = self._raw.sdk.get_blob_client(name)
        seen: dict[str, Any] = {
            "etag": was.etag,
            "match_condition": MatchConditions.IfNotModified,
        }
        if operation == "metadata":
            await blob.set_blob_metadata({"mine": "1"}, **seen)
        elif operation == "append" and was.blob_type == BlobType.APPENDBLOB:
            more = self._content(name)
            await blob.append_block(more, **seen)
            self.owed.discard(content)
            self.owed.add(content + more)
        elif operation in ("replace", "delete"):
            await blob.delete_blob(**seen)
            self.owed.discard(content)
            if operation == "replace":
                await self._create(name, kind)

    async def _create(self, name: str, kind: BlobType) -> None:
        blob = self._raw.sdk.get_blob_client(name)
        content = self._content(name)
        if kind == BlobType.BLOCKBLOB:
            await blob.upload_blob(content)
        else:
            await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            await blob.append_block(content, appendpos_condition=0)
        self.owed.add(content)

    def _content(self, name: str) -> bytes:
        return f"<{name} {next(self._numbers)}>".encode()


def around_each_request(client: Client, dice: random.Random) -> Callable[[], WrapTransport]:
    act, crash = dice.choice([0.02, 0.05, 0.1]), dice.choice([0.0, 0.01, 0.03])

    async def something() -> None:
        if dice.random() < act:
            await client.act()
        if dice.random() < crash:
            raise Crash

    async def play(request: Any, send: Send) -> Any:
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() * LONGEST_WAIT_SECONDS)
        await something()
        answer = await send()
        await something()
        return answer

    return lambda: Faults(Fault("around", play, times=None)).wrap


async def run(options: AzureBlobOptions, convert: Any, wrap_transport: WrapTransport) -> None:
    settings = MigrationSettings(convert=convert)
    try:
        await migrate(options, settings, wrap_transport=wrap_transport)
    except Crash:
        return
    except BaseExceptionGroup as group:
        _, others = group.split(Crash)
        if others is not None:
            raise others from group


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_that_is_owed_is_lost(raw: Raw, options: AzureBlobOptions, seed: int) -> None:
    dice = random.Random(seed)
    client = Client(raw, dice)
    await client.plant()
    wrap = around_each_request(client, dice)
    for _ in range(2):
        other = dice.choice(["none", "contents", "all"])
        await asyncio.gather(run(options, "all", wrap()), run(options, other, wrap()))
    await client.end()
    first, second = [await migrate(options, MigrationSettings(convert="all")) for _ in range(2)]
    contents = await raw.contents()
    there = [content for _, content in contents.values()]
    lost = [owed for owed in client.owed if not any(c.startswith(owed) for c in there)]
    assert lost == []
    assert first.failed == 0, first
    assert second.changed == 0, second
    if second.is_complete:
        assert all(name in ("a", "b") for name in contents)
        assert {kind for kind, _ in contents.values()} <= {"BlockBlob"}
