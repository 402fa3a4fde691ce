"""A process for one peer: takes orders as JSON lines, answers with rows.

Each peer has its own, so that another one's imports, caches and garbage are not in its numbers.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.peers import Missing, Place, Tuning, peer_version
from benchmarks.samples import SAMPLES, Run
from benchmarks.standin import Standin

__all__ = ["main"]


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError as error:
        raise Missing(f"is not installed: {error}") from error
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> None:
    # What a library prints must not come between the rows.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer, _, loop = sys.argv[1].partition("@")
    warnings.simplefilter("ignore", ResourceWarning)

    def answer(row: dict[str, Any]) -> None:
        print(json.dumps(row), file=answers, flush=True)

    try:
        version = peer_version(peer)
        factory = _loop_factory(loop or "asyncio")
    except Missing as reason:
        answer({"missing": str(reason)})
        return
    answer({"version": version})
    servers: dict[str, Standin] = {}
    with asyncio.Runner(loop_factory=factory) as runner:
        for line in sys.stdin:
            order = json.loads(line)
            control = order["control"]
            if control is not None and control not in servers:
                servers[control] = Standin(control)
            run = Run(
                peer,
                Place(**order["place"]),
                Tuning(**order["tuning"]),
                order["params"],
                None if control is None else servers[control],
            )
            try:
                answer(runner.run(SAMPLES[order["sample"]](run)))
            except Exception as error:
                traceback.print_exc()
                answer({"error": f"{type(error).__name__}: {error}"[:300]})
    # Not by the interpreter's end: some peers' threads complain about it at length.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
