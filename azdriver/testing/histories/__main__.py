"""The command line; and, with ``--work``, one of the processes that it starts."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from azdriver.testing.azurite import azurite
from azdriver.testing.histories.checking import run
from azdriver.testing.histories.load import Load
from azdriver.testing.histories.processes import work_main
from azdriver.testing.histories.report import Report

ROUND: Final = 20_000  # operations on one Azurite


async def _run_with_azurite(load: Load, save: Path | None) -> Report:
    """In rounds, each on an Azurite of its own: it is busy for minutes cleaning up dead blobs."""
    total: Report | None = None
    for number in range(math.ceil(load.operations / ROUND)):
        operations = min(ROUND, load.operations - number * ROUND)
        part = replace(load, operations=operations, seed=load.seed + number)
        async with azurite(extent_memory_limit_mb=4096) as server:
            report = await run(server.connection_string, part)
        print(
            f"round {number + 1}: {len(report.records):,} operations in "
            f"{report.load_seconds:.0f} s, {report.violations} violations",
            file=sys.stderr,
            flush=True,
        )
        if save is not None:
            with save.open("a", encoding="utf-8") as file:
                file.writelines(record.to_json() + "\n" for record in report.records)
        if total is None:
            total = report
        else:
            total.add(report)
    assert total is not None
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the status is 1 if a violation was found."""
    defaults = Load(operations=20_000)
    parser = argparse.ArgumentParser(prog="python -m azdriver.testing.histories")
    for name in ("operations", "processes", "drivers", "tasks", "paths", "retries", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--fault-share", type=float, default=defaults.fault_share)
    parser.add_argument(
        "--variant",
        choices=["azdriver", "append-writer", "unconditional-delete"],
        default=defaults.variant,
    )
    parser.add_argument("--raise-if-unsure", action="store_true", help="as in RetrySettings")
    parser.add_argument("--save", type=Path, help="write the records there, as JSON lines")
    parser.add_argument(
        "--documented", action="store_true", help="excuse the documented limits where met"
    )
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = vars(parser.parse_args(arguments))
    if work := options.pop("work"):
        work_main(int(work[0]), Path(work[1]))
        return 0
    save, documented = options.pop("save"), options.pop("documented")
    report = asyncio.run(_run_with_azurite(Load(**options), save))
    print(report)
    return 1 if report.undocumented_violations or (report.violations and not documented) else 0


if __name__ == "__main__":
    sys.exit(main())
