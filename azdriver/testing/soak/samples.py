"""What the process holds: memory, file descriptors, connections."""

from __future__ import annotations

import os
from dataclasses import dataclass

import aiohttp

from azdriver.testing.soak.load import KIB


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at one moment.

    Attributes:
        seconds: since the beginning.
        operations: how many have ended by then.
        rss_kib: resident memory.
        descriptors: open file descriptors.
        blocks: of memory that Python's objects take; without the allocator's fragments.
        tasks: asyncio's.
        connections: of the pool, those in use.
        lateness: by how many seconds the event loop was late.
    """

    seconds: float
    operations: int
    rss_kib: int
    descriptors: int
    blocks: int
    tasks: int
    connections: int
    lateness: float


def rss_kib() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // KIB


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def in_use(session: aiohttp.ClientSession) -> int:
    return len(getattr(session.connector, "_acquired", ()))
