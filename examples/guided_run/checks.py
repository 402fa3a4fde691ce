"""What was stored, and what turned out otherwise."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from azdriver import PathNotFoundError, StorageDriver

__all__ = ["TASKS", "Checks", "Stored", "bounded", "digest_of", "verify"]

T = TypeVar("T")

TASKS: Final = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """What has to come back from ``path``: so many bytes, with this SHA-256."""

    path: str
    size: int
    digest: str


@dataclass(slots=True)
class Checks:
    """Counts what is not as it has to be.

    Attributes:
        mismatches: one line for each.
        tell: called with each line, at once.
    """

    tell: Callable[[str], None]
    mismatches: list[str] = field(default_factory=list)

    def expect(self, condition: bool, otherwise: str) -> None:
        """Note a mismatch unless ``condition`` holds."""
        if not condition:
            self.mismatches.append(otherwise)
            self.tell(otherwise)


async def digest_of(chunks: AsyncIterable[bytes]) -> tuple[str, int]:
    """The SHA-256 and the number of bytes of a stream, which is never in memory as a whole."""
    hashed = hashlib.sha256()
    size = 0
    async for chunk in chunks:
        hashed.update(chunk)
        size += len(chunk)
    return hashed.hexdigest(), size


async def verify(
    driver: StorageDriver, expected: Stored, checks: Checks, *, as_stream: bool
) -> None:
    """Read one blob back, whole or as a stream, and compare."""
    try:
        if as_stream:
            async with driver.reader(expected.path) as reader:
                digest, size = await digest_of(reader)
        else:
            content = await driver.get_content(expected.path)
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
    except PathNotFoundError:
        checks.expect(False, f"{expected.path}: is missing")
        return
    checks.expect(size == expected.size, f"{expected.path}: {size} bytes, not {expected.size}")
    if size == expected.size:
        checks.expect(digest == expected.digest, f"{expected.path}: other bytes than were stored")


async def bounded(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do ``work`` on every item, on ``TASKS`` of them at once; the first failure ends it."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(worker())
