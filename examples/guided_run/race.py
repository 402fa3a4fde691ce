"""Many put_content on one path, while readers check that each read is one whole version."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from typing import Final

from azdriver import PathNotFoundError, StorageDriver

__all__ = ["Race", "run_race"]

WRITERS: Final = 64
ROUNDS: Final = 4
READERS: Final = 8
MAX_BODY_BYTES: Final = 64 * 1024
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


@dataclass(slots=True)
class Race:
    """What happened.

    Attributes:
        puts: contents written.
        put_bytes: their bytes.
        reads: contents read meanwhile, one after the end included.
        versions: how many different ones.
        torn: reads that were not one whole version: a mixture, or a part.
        missing: reads that found nothing, although something was stored all the time.
        last_is_right: whether what is left is one of the contents that were written last.
    """

    puts: int = 0
    put_bytes: int = 0
    reads: int = 0
    torn: int = 0
    missing: int = 0
    last_is_right: bool = False
    versions: int = 0
    _seen: set[bytes] = field(default_factory=set, repr=False)


def _payload(rng: random.Random) -> bytes:
    """A content of any size that shows whether it is whole: its own hash goes before it."""
    body = rng.randbytes(rng.randrange(1, MAX_BODY_BYTES))
    return hashlib.sha256(body).digest() + body


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[_DIGEST_BYTES:]).digest() == content[:_DIGEST_BYTES]


async def run_race(driver: StorageDriver, path: str) -> Race:
    """Let all writers and readers loose on ``path``; something has to be stored there before."""
    race = Race()
    rng = random.Random()
    finished = asyncio.Event()
    last: set[bytes] = set()

    async def read() -> None:
        race.reads += 1
        try:
            content = await driver.get_content(path)
        except PathNotFoundError:
            race.missing += 1
            return
        race.torn += not _is_whole(content)
        race._seen.add(content[:_DIGEST_BYTES])

    async def reader() -> None:
        while not finished.is_set():
            await read()

    async def writer() -> None:
        content = b""
        for _ in range(ROUNDS):
            content = _payload(rng)
            await driver.put_content(path, content)
            race.puts += 1
            race.put_bytes += len(content)
        last.add(content)

    await driver.put_content(path, _payload(rng))
    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(reader())
        try:
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS):
                    writers.create_task(writer())
        finally:
            finished.set()
    await read()
    race.last_is_right = await driver.get_content(path) in last
    race.versions = len(race._seen)
    return race
