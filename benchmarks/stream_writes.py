"""How fast is one stream written, and how much memory does it take?

The producer hands over chunks of 256 KiB, as fast as they are taken or paced at 200 MB/s.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import MIB, Case, Settings, run_script
from benchmarks.peers import Tuning

__all__ = ["cases"]

APPENDED = ("azdriver", "sdk", "raw")
STAGED = ("azdriver-block", "sdk-staged", "obstore", "opendal", "adlfs")
# adlfs takes no number of blocks in flight for one file.
TOLD = ("azdriver-block", "sdk-staged", "obstore", "opendal")
PACE = 200e6


def cases(settings: Settings) -> Sequence[Case]:
    params = {"size": settings.size_mib * MIB}
    paced = params | {"bytes_per_second": PACE}
    everyone = APPENDED + STAGED
    sixteen = Tuning(in_flight=16, part_bytes=4 * MIB)
    found = [
        Case(workload="write", peers=everyone, params=params),
        Case(workload="write", peers=everyone, params=paced, shape="20ms"),
    ]
    if not settings.is_quick:
        found += [
            Case(workload="write", peers=TOLD, params=params, tuning=sixteen),
            Case(workload="write", peers=everyone, params=params, shape="20ms"),
            Case(workload="write", peers=everyone, params=params, shape="limited"),
            Case(workload="write", peers=TOLD, params=params, shape="limited", tuning=sixteen),
        ]
    return found


if __name__ == "__main__":
    run_script(__doc__, cases)
