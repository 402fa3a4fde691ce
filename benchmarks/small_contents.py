"""What does a get or a put of 1 KiB cost, at 1 to 256 tasks?

CPU of the client decides on a fast network; so does the wall with 64 tasks at 5 ms a request.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Case, Settings, run_script
from benchmarks.peers import Tuning
from benchmarks.samples import PLANTED
from benchmarks.standin import Standin

__all__ = ["cases"]

SIZE = 1024
PEERS = ("azdriver", "sdk", "raw", "obstore", "opendal", "adlfs")
# uvloop, if the application uses it.
LOOPS = ("azdriver@uvloop", "obstore@uvloop")


def plant(server: Standin, container: str) -> None:
    for number in range(PLANTED):
        server.synthetic(container, f"small/{number}", SIZE)


def cases(settings: Settings) -> Sequence[Case]:
    found: list[Case] = []
    for tasks in (64,) if settings.is_quick else (1, 16, 64, 256):
        count = max(settings.count, tasks)
        params = {"tasks": tasks, "count": count, "size": SIZE}
        peers = PEERS + (LOOPS if tasks in (1, 64) and not settings.is_quick else ())
        tuning = Tuning(connections=max(100, tasks))
        found += [
            Case(
                workload="get",
                peers=peers,
                params=params,
                tuning=tuning,
                plant=plant,
                is_kept=True,
            ),
            Case(workload="put", peers=peers, params=params, tuning=tuning),
        ]
    if not settings.is_quick:
        params = {"tasks": 64, "count": settings.count, "size": SIZE}
        found += [
            Case(workload="get", peers=PEERS, params=params, shape="5ms", plant=plant),
            Case(workload="put", peers=PEERS, params=params, shape="5ms"),
            Case(workload="put", peers=PEERS, params=params | {"over": True}),
        ]
    return found


if __name__ == "__main__":
    run_script(__doc__, cases)
