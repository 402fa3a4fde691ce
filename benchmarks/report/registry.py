"""Makes the tables of docs/registry.md out of the raw lines of ``benchmarks.registry``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.registry import PEERS, RESULTS
from benchmarks.report.__main__ import filled
from benchmarks.report.results import MB, Results, Row, Value, cpu, megabytes_per_second
from benchmarks.report.tables import run_text, table

__all__ = ["main"]

BASE: Final = "docker-registry"
CASES: Final = ("large", "small")


def _layers_per_second(row: Row) -> float:
    return int(row["layers"]) / float(row["seconds"])


def _peak(row: Row) -> float:
    return float(row["peak_rss_bytes"]) / MB


def _backend_cpu(row: Row) -> float:
    return float(row["backend_cpu_seconds"])


def _case_table(results: Results, case: str) -> str:
    """A row a registry: medians, with the least and the greatest; ratios are of medians."""
    speed: Value = megabytes_per_second if case == "large" else _layers_per_second
    unit = "MB/s" if case == "large" else "layers/s"
    header = [""]
    for workload in ("push", "pull"):
        header += [f"{workload}: {unit}", "ratio", "CPU s", "backend's CPU s", "peak, MB"]
    rows = []
    for peer in PEERS:
        cells = [peer]
        for workload in ("registry_push", "registry_pull"):
            found = results.of(workload, peer, case=case)
            own = results.median(speed, workload, peer, case=case)
            base = results.median(speed, workload, BASE, case=case)
            has_backend = any("backend_cpu_seconds" in row for row in found)
            cells += [
                results.spread(speed, workload, peer, case=case),
                f"{own / base:.2f} ×" if own and base else "–",
                results.spread(cpu, workload, peer, case=case),
                results.spread(_backend_cpu, workload, peer, case=case) if has_backend else "–",
                results.spread(_peak, workload, peer, case=case),
            ]
        rows.append(cells)
    return table(header, rows)


def sections(results: Results) -> dict[str, str]:
    """What the generated parts of the document are."""
    return {"run": run_text(results), **{case: _case_table(results, case) for case in CASES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "registry.md")
    given = parser.parse_args()
    results = Results(given.results.read_text("utf-8").splitlines())
    text = given.document.read_text("utf-8")
    given.document.write_text(filled(text, sections(results)), "utf-8")
    print(given.document)


if __name__ == "__main__":
    main()
