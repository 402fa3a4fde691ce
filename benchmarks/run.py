"""Everything, in one run: about 45 minutes on two cores that have nothing else to do.

The raw lines go to benchmarks/results/run.jsonl, from which report.py makes the tables and plots
of docs/performance.md.
"""

from __future__ import annotations

import argparse
import dataclasses

from benchmarks import (
    emulator,
    imports,
    large_contents,
    race,
    small_contents,
    stream_reads,
    stream_writes,
    trees,
)
from benchmarks.harness import ROOT, arguments, session

__all__ = ["main"]

RESULTS = ROOT / "benchmarks" / "results" / "run.jsonl"
ON_STANDIN = {
    "small_contents": small_contents,
    "large_contents": large_contents,
    "stream_writes": stream_writes,
    "stream_reads": stream_reads,
    "trees": trees,
}
ALL = (*ON_STANDIN, "imports", "emulator", "race")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(ALL), help="these, of " + ",".join(ALL))
    parser.add_argument(
        "--no-azurite", action="store_true", help="the race on the stand-in, no emulator lane"
    )
    settings = arguments(None, parser)
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := set(only) - set(ALL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if settings.output is None and not settings.is_quick:
        settings = dataclasses.replace(settings, output=RESULTS)
    with session(settings) as run:
        for name, script in ON_STANDIN.items():
            if name in only:
                run.run(script.cases(settings))
        if "imports" in only:
            imports.measure(run)
        if "emulator" in only and not given.no_azurite:
            emulator.measure(run)
        if "race" in only:
            race.measure(run, "standin" if given.no_azurite else "azurite")


if __name__ == "__main__":
    main()
