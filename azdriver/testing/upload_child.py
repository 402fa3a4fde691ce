"""An upload in a process of its own, that may be killed at any moment and goes on in another.

What is uploaded can be made again by any process, from any byte on, out of a seed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeAlias

from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver.azureblob import AzureBlobDriver
from azdriver.errors import ConcurrentWriteError, PathNotFoundError
from azdriver.testing.recording import TransportWrapper, operation_of

__all__ = ["Note", "Upload", "sha256_of", "stream_bytes", "upload"]

_UNIT = 64 * 1024

Note: TypeAlias = tuple[Literal["opened", "given", "sending", "answered", "committed"], int]
"""What a child says: a number of bytes with the first, second and last; else 1."""


def stream_bytes(seed: str, start: int, end: int) -> bytes:
    """Bytes ``start`` to ``end`` of the stream of this seed."""
    first = start // _UNIT
    units = [
        hashlib.shake_128(f"{seed} {number}".encode()).digest(_UNIT)
        for number in range(first, -(-end // _UNIT))
    ]
    return b"".join(units)[start - first * _UNIT : end - first * _UNIT]


def sha256_of(seed: str, size: int) -> str:
    """Of the first ``size`` bytes of the stream."""
    return hashlib.sha256(stream_bytes(seed, 0, size)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Which bytes go where.

    Attributes:
        connection_string: the account.
        container: the container.
        path: the blob.
        seed: of the bytes.
        size: of the whole stream, in bytes.
        options: further ones of the driver, such as its ``write_mode``.
    """

    connection_string: str
    container: str
    path: str
    seed: str
    size: int
    options: Mapping[str, Any]

    def driver(self, **arguments: Any) -> AzureBlobDriver:
        """A driver for it, not yet open."""
        return AzureBlobDriver.from_connection_string(
            self.connection_string, self.container, **self.options, **arguments
        )


class _Notes(TransportWrapper):
    """Says when a request begins and when it was answered."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], notes: Connection) -> None:
        super().__init__(inner)
        self._notes = notes

    async def send(self, request: Any, **options: Any) -> Any:
        is_write = request.method == "PUT" and operation_of(request) != "Create Container"
        if not is_write:
            return await super().send(request, **options)
        self._notes.send(("sending", 1))
        try:
            return await super().send(request, **options)
        finally:
            self._notes.send(("answered", 1))


def upload(job: Upload, notes: Connection) -> None:
    """Begin it, or go on where an earlier process was killed; to its end.

    Args:
        job: the upload.
        notes: is sent a :data:`Note` before each step, so that all of them can be read after
            this process was killed.
    """
    asyncio.run(_upload(job, notes), debug=False)  # which slows it, and tells of each slow step


async def _upload(job: Upload, notes: Connection) -> None:
    async with job.driver(wrap_transport=lambda inner: _Notes(inner, notes)) as driver:
        append = True
        while True:
            try:
                await _stream(driver, job, notes, append=append)
            except PathNotFoundError:
                append = False
            except ConcurrentWriteError:
                # What the killed process had sent arrived after this one had looked.
                append = True
            else:
                return


async def _stream(driver: AzureBlobDriver, job: Upload, notes: Connection, *, append: bool) -> None:
    dice = random.Random()
    async with driver.writer(job.path, append=append) as writer:
        notes.send(("opened", writer.size))
        while writer.size < job.size:
            # Sizes that have nothing to do with those of the blocks.
            end = min(job.size, writer.size + dice.randrange(1, 200_000))
            notes.send(("given", end))
            await writer.write(stream_bytes(job.seed, writer.size, end))
        await writer.commit()
        notes.send(("committed", writer.size))
