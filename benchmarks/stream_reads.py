"""How fast is one stream read, when does its first byte come, and how much memory does it take?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import MIB, Case, Settings, run_script
from benchmarks.peers import Tuning
from benchmarks.standin import Standin

__all__ = ["cases"]

PEERS = ("azdriver", "azdriver-one-range", "sdk", "raw", "obstore", "opendal", "adlfs")
# Those that read several ranges of one blob at once, when they are told how many.
TOLD = ("azdriver", "sdk", "raw", "obstore", "opendal")


def cases(settings: Settings) -> Sequence[Case]:
    size = settings.size_mib * MIB

    def plant(server: Standin, container: str) -> None:
        server.synthetic(container, "small/0", 1024)
        server.synthetic(container, "large", size)

    def case(peers: Sequence[str], shape: str = "none", tuning: Tuning | None = None) -> Case:
        return Case(
            workload="read",
            peers=peers,
            params={"size": size},
            shape=shape,
            tuning=tuning or Tuning(),
            plant=plant,
            is_kept=True,
        )

    eight = Tuning(in_flight=8, part_bytes=8 * MIB)
    if settings.is_quick:
        return [case(PEERS), case(TOLD, "5ms", Tuning(in_flight=2, part_bytes=4 * MIB))]
    return [
        case(PEERS),
        case(PEERS, "20ms"),
        case(PEERS, "limited"),
        case(TOLD, "limited", eight),
    ]


if __name__ == "__main__":
    run_script(__doc__, cases)
