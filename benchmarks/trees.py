"""What do list, walk and delete cost on large trees, and how long do they hold the event loop?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Case, Settings, run_script
from benchmarks.standin import Standin

__all__ = ["cases"]

PEERS = ("azdriver", "azdriver-sdk-lane", "sdk", "raw", "obstore", "opendal", "adlfs")
SIZE = 1024
DIRECTORIES = 5


def cases(settings: Settings) -> Sequence[Case]:
    blobs = settings.scale(100_000, 300)
    fewer = settings.scale(10_000, 300)

    def plant(server: Standin, container: str) -> None:
        server.fill(container, directories=DIRECTORIES, count=blobs, size=SIZE, prefix="tree/")

    def plant_fewer(server: Standin, container: str) -> None:
        server.fill(container, directories=DIRECTORIES, count=fewer, size=SIZE, prefix="tree/")

    walked = {"count": blobs, "size": SIZE}
    return [
        Case(
            workload="list_tree",
            peers=PEERS,
            params={"times": settings.scale(50, 2), "directories": DIRECTORIES, "count": blobs},
            plant=plant,
            is_kept=True,
        ),
        Case(workload="walk_tree", peers=PEERS, params=walked, plant=plant, is_kept=True),
        Case(
            workload="walk_tree",
            peers=("azdriver", "obstore", "opendal"),
            params=walked,
            shape="5ms",
            plant=plant,
            is_kept=True,
        ),
        Case(
            workload="naive_walk",
            peers=("azdriver",),
            params=walked | {"entries": settings.scale(400, 10)},
            shape="5ms",
            plant=plant,
            is_kept=True,
        ),
        Case(workload="delete_tree", peers=PEERS, params={"count": fewer}, plant=plant_fewer),
    ]


if __name__ == "__main__":
    run_script(__doc__, cases)
