"""Runs operations with a fault or a cancellation, at one place or at each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.testing.faults import Faults, stall
from azdriver.testing.recording import RecordedRequest, RecordingTransport
from azdriver.testing.sweep.cancelling import CancelledAt
from azdriver.testing.sweep.cases import BLOCK, CASES, Case
from azdriver.testing.sweep.faults import FAULTS, rival
from azdriver.testing.sweep.judging import judge
from azdriver.testing.sweep.outcomes import Cell


class Lab:
    """Runs operations against one server, each in a container of its own."""

    def __init__(self, connection_string: str, *, at_once: int = 8) -> None:
        self._connection_string = connection_string
        self._at_once = asyncio.Semaphore(at_once)

    def driver(
        self, container: str, case: Case, *, attempt_seconds: float = 0.4, **arguments: Any
    ) -> AzureBlobDriver:
        return AzureBlobDriver.from_connection_string(
            self._connection_string,
            container,
            write_mode=case.write_mode,
            append_block_bytes=BLOCK,
            block_bytes=BLOCK,
            read_range_bytes=BLOCK,
            retry=RetrySettings(
                retries=3,
                first_delay_seconds=0.01,
                longest_delay_seconds=0.02,
                attempt_seconds=attempt_seconds,
            ),
            **arguments,
        )

    async def requests_of(self, case: Case) -> int:
        """How many requests the operation sends when nothing happens."""
        requests: list[RecordedRequest] = []
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            async with self.driver(
                container, case, wrap_transport=lambda inner: RecordingTransport(inner, requests)
            ) as driver:
                requests.clear()
                await case.call(driver)
        return len(requests)

    async def with_fault(self, case: Case, name: str, place: int) -> Cell:
        async with self._at_once:
            container = f"sweep-{uuid4().hex}"
            async with self.driver(container, case) as clean:
                await _fill(clean, case)
                faults = Faults()
                async with self.driver(container, case, wrap_transport=faults.wrap) as driver:
                    fault = FAULTS[name](place)
                    if name == "412 by a rival":
                        fault.play = rival(clean).play
                    faults.add(fault)
                    cell = await judge(case, name, place, case.call(driver), clean)
                return cell

    async def time_out(self, case: Case, place: int) -> float:
        """The seconds that a caller's time-out of 0.1 s takes while the service hangs."""
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            faults = Faults()
            async with self.driver(
                container, case, attempt_seconds=30, wrap_transport=faults.wrap
            ) as driver:
                faults.add(stall(after=place, times=None))
                began = time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await case.call(driver)
                    raise AssertionError(f"{case.name} did not wait for request {place}")
                return time.monotonic() - began

    async def with_cancellation(self, case: Case, place: int) -> Cell | None:
        """None when the operation was over before it waited so often.

        One at a time: whatever task is left afterwards is this operation's.
        """
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            async with self.driver(container, case, connections=4) as driver:
                tasks = asyncio.all_tasks()
                call = CancelledAt(case.call(driver), place)
                cell = await judge(case, "cancelled", place, call.run(), clean)
                if not call.reached:
                    return None
                if left := asyncio.all_tasks() - tasks:
                    return Cell(case.name, "cancelled", place, "", f"tasks are left: {left!r:.300}")
                await _is_usable(driver)
            return cell


async def _fill(driver: AzureBlobDriver, case: Case) -> None:
    options = replace(driver.options, write_mode="append")
    async with AzureBlobDriver(options) as planting:
        for path, content in case.before.items():
            if path.startswith("~"):
                async with planting.writer(path[1:]) as writer:
                    await writer.write(content)
                    await writer.commit()
            else:
                await planting.put_content(path, content)


async def _is_usable(driver: AzureBlobDriver) -> None:
    """More calls at once than the pool has connections: none may have been lost."""
    async with asyncio.timeout(10):
        await asyncio.gather(*(driver.stat("/") for _ in range(8)))


async def sweep(lab: Lab, cases: Iterable[Case] = CASES) -> list[Cell]:
    """Each fault at each request of each operation."""
    runs = []
    for case in cases:
        for place in range(await lab.requests_of(case)):
            runs += [lab.with_fault(case, name, place) for name in FAULTS]
    return await asyncio.gather(*runs)


async def cancel_everywhere(lab: Lab, case: Case) -> list[Cell]:
    """A cancellation at each point where the operation waits."""
    cells: list[Cell] = []
    while (cell := await lab.with_cancellation(case, len(cells))) is not None:
        cells.append(cell)
    return cells
