"""The faults that strike at random, and the outages."""

from __future__ import annotations

import random
import time
from typing import Any

from azure.core.pipeline.transport import AsyncHttpTransport

from azdriver.testing.faults import (
    Fault,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
)
from azdriver.testing.recording import TransportWrapper
from azdriver.testing.soak.load import OUTAGE_EVERY_SECONDS, OUTAGE_SECONDS
from azdriver.testing.soak.report import Report


class RandomFaults(TransportWrapper):
    """Lets one of several faults strike at a share of all requests, and at most in an outage."""

    def __init__(self, inner: AsyncHttpTransport[Any, Any], report: Report) -> None:
        super().__init__(inner)
        self._report = report
        self._random = random.Random(f"{report.seed} faults")
        self._began = time.monotonic()
        # Each for ever; which and when is decided here.
        self._faults: list[Fault] = [
            refuse(),
            reset(),
            lose_answer(),
            cut_answer(),
            answer(500, "InternalError"),
            answer_after(500, "OperationTimedOut"),
            answer(503, "ServerBusy", headers={"Retry-After": "0.05"}),
            answer(503),
            answer_after(503),
            answer(429),
        ]

    async def send(self, request: Any, **options: Any) -> Any:
        async def really() -> Any:
            return await self.inner.send(request, **options)

        self._report.requests += 1
        since = time.monotonic() - self._began
        share = self._report.fault_share
        if share and since % OUTAGE_EVERY_SECONDS > OUTAGE_EVERY_SECONDS - OUTAGE_SECONDS:
            share = 0.9
        if self._random.random() >= share:
            return await really()
        fault = self._random.choice(self._faults)
        self._report.faults[fault.name] += 1
        return await fault.play(request, really)
