"""Who may delete what someone else is about to refer to: marks that are changed only by exchange.

Garbage collection condemns what nothing refers to, looks once more, and sweeps what is condemned
still. Who refers to something writes its link first, and then asks for a reprieve. Whatever the
order, one of the two sees the other:

- the link was there before the second look, which finds it;
- or the mark was there before the reprieve, which takes it back;
- or the sweep has begun: who asked for a reprieve waits for its end, and sees that all is gone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from azdriver import ConfigurationError, PathNotFoundError, PreconditionFailedError, StorageDriver

__all__ = ["ABANDONED_AFTER", "SWEEP_SECONDS", "Condemned"]

CONDEMNED: Final = b"condemned"
REPRIEVED: Final = b"reprieved"
SWEEPING: Final = b"sweeping"

# A sweep is a few requests, and is given up after this. A mark that is older yet is a killed one's.
SWEEP_SECONDS: Final = 60.0
KILLED_AFTER: Final = timedelta(minutes=2)
# The same for marks of whatever kind, between which the repositories are walked.
ABANDONED_AFTER: Final = timedelta(hours=12)
FIRST_POLL_SECONDS: Final = 0.02
LONGEST_POLL_SECONDS: Final = 1.0


class Condemned:
    """Marks on what is to be deleted. Each is a small content at a path of its own."""

    def __init__(self, driver: StorageDriver) -> None:
        self._driver = driver

    async def condemn(self, mark: str) -> str | None:
        """Mark something; returns what ``begin`` takes, or None if another collector has it.

        Raises:
            ConfigurationError: the driver has no ETags, so nothing can be exchanged.
        """
        try:
            put = await self._driver.put_content(mark, CONDEMNED, if_absent=True)
        except PreconditionFailedError:
            return None
        if put.etag is None:
            await self.clear(mark)
            raise ConfigurationError("registry", "driver", "has no ETags, which collecting takes")
        return put.etag

    async def begin(self, mark: str, etag: str) -> bool:
        """Begin to sweep; False if there was a reprieve. After either, ``clear`` the mark."""
        try:
            await self._driver.put_content(mark, SWEEPING, if_match=etag)
        except (PreconditionFailedError, PathNotFoundError):
            return False
        return True

    async def clear(self, mark: str) -> None:
        """Take the mark away: the sweep is over, or was none."""
        with suppress(PathNotFoundError):
            await self._driver.delete(mark)

    async def reprieve(self, mark: str) -> None:
        """Keep something from being swept, or wait for the end of a sweep that has begun.

        The caller has written its link, and checks afterwards that what it refers to is there.
        """
        wait_seconds = FIRST_POLL_SECONDS
        # Which sweep is waited for, and until when.
        sweep, ended = None, 0.0
        while True:
            try:
                found = await self._driver.stat(mark)
                state = await self._driver.get_content(mark)
                if state == CONDEMNED:
                    await self._driver.put_content(mark, REPRIEVED, if_match=found.etag)
                    return
            except PathNotFoundError:
                return
            except PreconditionFailedError:
                continue
            if state != SWEEPING:
                return
            if found.etag != sweep:
                sweep = found.etag
                assert found.mod_time is not None
                age = await self._now(mark) - found.mod_time
                ended = time.monotonic() + (KILLED_AFTER - age).total_seconds()
            if time.monotonic() >= ended:
                await self.clear(mark)
                return
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, LONGEST_POLL_SECONDS)

    async def _now(self, mark: str) -> datetime:
        """The time by the clock of storage, which may not be that of this machine."""
        probe = f"{mark}-time"
        written = await self._driver.put_content(probe, b"")
        await self.clear(probe)
        assert written.mod_time is not None
        return written.mod_time
