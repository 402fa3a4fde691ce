"""What every peer does for the benchmarks, and where and how it is opened."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

__all__ = ["MIB", "Missing", "Peer", "Place", "Tuning", "blocks_of", "in_order", "spans_of"]

MIB: Final = 1024 * 1024


class Missing(Exception):
    """A peer that cannot take part, and why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where all peers work: the same endpoint, account and container."""

    endpoint: str
    account_name: str
    account_key: str
    container: str

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={urlsplit(self.endpoint).scheme};"
            f"AccountName={self.account_name};AccountKey={self.account_key};"
            f"BlobEndpoint={self.endpoint};"
        )

    def sas(self) -> str:
        """For the peer that cannot sign requests."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        return generate_container_sas(
            self.account_name,
            self.container,
            account_key=self.account_key,
            permission=ContainerSasPermissions(
                read=True, add=True, create=True, write=True, delete=True, list=True
            ),
            expiry=datetime.now(UTC) + timedelta(hours=12),
        )


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a workload asks of every peer that can be told; None for a peer's own default.

    Attributes:
        connections: requests at once at most; a pool smaller than that would be what is measured.
        in_flight: blocks of a stream on their way at once, or ranges of one.
        part_bytes: the bytes of one block, or of one range.
    """

    connections: int | None = None
    in_flight: int | None = None
    part_bytes: int | None = None


class Peer(ABC):
    """Names have no leading slash; a directory has neither that nor one at its end."""

    module: ClassVar[str]
    """What it comes in, for its version."""

    def __init__(self, place: Place, tuning: Tuning) -> None:
        self.place = place
        self.tuning = tuning
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        try:
            await self.open()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.stack.__aexit__(exc_type, exc, tb)

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def get(self, name: str) -> int:
        """Read a blob whole; its length."""

    @abstractmethod
    async def put(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a stream of unknown length."""

    @abstractmethod
    def read(self, name: str) -> AsyncIterator[int]:
        """Read a stream; the lengths of its chunks as they become the caller's."""

    @abstractmethod
    async def list(self, directory: str) -> int:
        """How many blobs and directories are one level below."""

    @abstractmethod
    async def walk(self, directory: str) -> tuple[int, int]:
        """How many blobs are below, and their bytes."""

    @abstractmethod
    async def delete(self, directory: str) -> None:
        """Everything below."""


async def blocks_of(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Chunks joined to blocks, as a user who has to fill them does."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


async def in_order(
    spans: Iterable[tuple[int, int]],
    fetch: Callable[[int, int], Any],
    in_flight: int,
) -> AsyncIterator[Any]:
    """What ``fetch(first, length)`` brings, in order, so many at once."""
    tasks: list[asyncio.Task[Any]] = []
    remaining = iter(spans)
    try:
        while True:
            while len(tasks) < in_flight and (span := next(remaining, None)) is not None:
                tasks.append(asyncio.ensure_future(fetch(*span)))
            if not tasks:
                return
            yield await tasks.pop(0)
    finally:
        for task in tasks:
            task.cancel()


def spans_of(size: int, part: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, part):
        yield first, min(part, size - first)
