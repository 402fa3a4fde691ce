"""What does a put of 16 MiB cost, 16 at once, in CPU and in memory?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import MIB, Case, Settings, run_script

__all__ = ["cases"]

PEERS = ("azdriver", "sdk", "raw", "obstore", "opendal", "adlfs")


def cases(settings: Settings) -> Sequence[Case]:
    params = {
        "tasks": 16,
        "count": settings.scale(64, 4),
        "size": settings.scale(16, 1) * MIB,
    }
    return [Case(workload="put_large", sample="put", peers=PEERS, params=params)]


if __name__ == "__main__":
    run_script(__doc__, cases)
