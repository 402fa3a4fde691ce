"""Below the SDK: random faults, and below them a record of what really went over the wire."""

from __future__ import annotations

import random
import time
from contextvars import ContextVar
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
from azdriver.testing.histories.records import Record, Sent
from azdriver.testing.recording import TransportWrapper, operation_of

current: ContextVar[Record | None] = ContextVar("azdriver_history_record", default=None)


class Tap(TransportWrapper):
    """Below the faults: writes down what really went over the wire."""

    async def send(self, request: Any, **options: Any) -> Any:
        record = current.get()
        if record is None or request.method not in ("PUT", "DELETE"):
            return await self.inner.send(request, **options)
        sent = Sent(
            operation_of(request),
            time.monotonic_ns(),
            source_etag=request.headers.get("x-ms-source-if-match", "").strip('"'),
        )
        record.sent.append(sent)
        response = await self.inner.send(request, **options)
        sent.answered = time.monotonic_ns()
        sent.status = response.status_code
        sent.etag = (response.headers.get("ETag") or "").strip('"')
        return response


class RandomFaults(TransportWrapper):
    """Above it: strikes at random, by a seeded rule."""

    def __init__(
        self, inner: AsyncHttpTransport[Any, Any], share: float, rng: random.Random
    ) -> None:
        super().__init__(inner)
        self._share = share
        self._random = rng
        self._faults: list[Fault] = [
            refuse(times=None),
            reset(times=None),
            lose_answer(times=None),
            answer(500, "InternalError", times=None),
            answer_after(500, "OperationTimedOut", times=None),
            answer(503, "ServerBusy", times=None),
            cut_answer(times=None),
        ]

    async def send(self, request: Any, **options: Any) -> Any:
        async def really() -> Any:
            return await self.inner.send(request, **options)

        record = current.get()
        if record is None or self._random.random() >= self._share:
            return await really()
        fault = self._random.choice(self._faults)
        record.faults.append(f"{operation_of(request)}: {fault.name}")
        return await fault.play(request, really)
