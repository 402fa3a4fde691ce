"""Every fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from azdriver.azureblob import AzureBlobDriver
from azdriver.testing.faults import (
    Fault,
    Send,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
    stall,
)

RIVAL: Final = b"a rival's"


def rival(driver: AzureBlobDriver) -> Fault:
    """Before the request is sent, someone else writes to its blob."""

    async def play(request: Any, send: Send) -> Any:
        _, _, name = unquote(urlsplit(request.url).path).lstrip("/").partition("/")
        path = "/" + name.partition("/")[2]
        if path != "/":
            await driver.put_content(path, RIVAL)
        return await send()

    return Fault("412 by a rival", play)


FAULTS: Final[Mapping[str, Callable[[int], Fault]]] = {
    "refused": lambda n: refuse(after=n),
    "reset before sending": lambda n: reset(after=n),
    "reset after the effect": lambda n: lose_answer(after=n),
    "reset in mid-answer": lambda n: cut_answer(after=n),
    "stalled past the time-out": lambda n: stall(after=n),
    "500 before": lambda n: answer(500, "InternalError", after=n),
    "500 after the effect": lambda n: answer_after(500, "OperationTimedOut", after=n),
    "503 once": lambda n: answer(503, "ServerBusy", after=n),
    "503 for ever": lambda n: answer(503, "ServerBusy", after=n, times=None),
    "412 by a rival": lambda n: Fault("", _never, after=n),  # replaced: it needs a driver
}


async def _never(request: Any, send: Send) -> Any:
    raise AssertionError("not to be played")
