"""What a driver may leave out, and the ground that all parts of the suite stand on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import pytest

from azdriver.contract import Buffer, FileInfo, StorageDriver

__all__ = ["Capabilities", "ConformanceBase", "random_bytes", "store_stream", "walked"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver may leave out of the contract; never which driver it is.

    Attributes:
        signs_urls: whether ``url_for`` gives an URL rather than ``UnsupportedMethodError``.
        has_etags: whether blobs have ETags; without them ``if_match`` is of no use.
        max_content_bytes: the limit of ``put_content``, at which it is tested; None where there
            is none, or too large a one to test.
        mod_time_resolution: how far apart two changes are at least for ``mod_time`` to differ.
    """

    signs_urls: bool = True
    has_etags: bool = True
    max_content_bytes: int | None = 64 * MIB
    mod_time_resolution: timedelta = timedelta(seconds=1)


@pytest.mark.asyncio
class ConformanceBase:
    """What the parts of the suite have in common."""

    capabilities: ClassVar[Capabilities] = Capabilities()


def random_bytes(size: int, seed: int = 0) -> bytes:
    """The same bytes in every run; most of them are not valid UTF-8."""
    return random.Random(f"{seed}:{size}").randbytes(size)


async def store_stream(driver: StorageDriver, path: str, *pieces: Buffer) -> None:
    """Write and commit a stream."""
    async with driver.writer(path) as writer:
        for piece in pieces:
            await writer.write(piece)
        await writer.commit()


async def walked(
    driver: StorageDriver, path: str = "/", *, start_after: str | None = None
) -> list[FileInfo]:
    """A whole walk."""
    return [info async for info in driver.walk(path, start_after=start_after)]
