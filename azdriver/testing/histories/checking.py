"""From records to a report; and all of it, from the load on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from azdriver.testing.histories.load import Load
from azdriver.testing.histories.operations import operations_by_path
from azdriver.testing.histories.processes import record_histories
from azdriver.testing.histories.records import Record
from azdriver.testing.histories.report import PathResult, Report
from azdriver.testing.linearizability import check


def check_histories(load: Load, records: Sequence[Record], *, stop_after: int = 100) -> Report:
    """Check every path's history, and once more with the documented limits where it is rejected.

    Args:
        load: what was run.
        records: what came of it.
        stop_after: so many violations of a path are enough.
    """
    began = time.monotonic()
    results = []
    for path, operations in operations_by_path(records).items():
        strict = check(operations, stop_after=stop_after)
        lenient = check(operations, documented=True, stop_after=stop_after) if strict else []
        results.append(PathResult(path, len(operations), strict, lenient))
    return Report(load, records, results, check_seconds=time.monotonic() - began)


async def run(connection_string: str, load: Load) -> Report:
    """Run the load and check what came of it."""
    began = time.monotonic()
    records = await record_histories(connection_string, load)
    seconds = time.monotonic() - began
    report = await asyncio.to_thread(check_histories, load, records)
    report.load_seconds = seconds
    return report
