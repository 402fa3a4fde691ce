"""The tables, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.report.columns import Column
from benchmarks.report.results import Results, Row
from benchmarks.report.targets import Targets

__all__ = ["peers_table", "race_cells", "race_table", "run_text", "table", "targets_table"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def targets_table(results: Results) -> str:
    marks = {True: "met", False: "**missed**", None: "–"}
    return table(
        ("#", "workload", "target", "measured", ""),
        [
            (str(v.number), v.what, v.target, v.measured, marks[v.is_met])
            for v in Targets(results).judge()
        ],
    )


def peers_table(results: Results, columns: Sequence[Column]) -> str:
    """A row a peer; medians, with the least and the greatest."""
    names = {c.workload for c in columns}
    peers = dict.fromkeys(row["peer"] for row in results.rows if row["workload"] in names)
    order = sorted(peers, key=lambda peer: (not peer.startswith("azdriver"), peer))
    return table(
        ("", *(column.title for column in columns)),
        [
            (peer, *(results.spread(c.value, c.workload, peer, **c.setting) for c in columns))
            for peer in order
        ],
    )


def race_table(results: Results) -> str:
    """Sums over the rounds."""
    rows: list[Sequence[str]] = []
    for scenario in ("content", "legacy"):
        cells = race_cells(results, scenario)
        for (clients, peer), found in cells.items():
            acknowledged = sum(row["acknowledged"] for row in found)
            failed = sum(sum(row["failed"].values()) for row in found)
            rate = median(row["acknowledged"] / row["seconds"] for row in found)
            retries = [row["retries"] for row in found if "retries" in row]
            rows.append(
                (
                    scenario,
                    str(clients),
                    peer,
                    f"{rate:,.0f}",
                    f"{acknowledged:,}",
                    f"{failed:,}",
                    f"{sum(retries):,}" if retries else "–",
                    f"{sum(row['reads'] for row in found):,}",
                    f"{sum(row['torn'] for row in found):,}",
                    f"{sum(row['missing'] for row in found):,}",
                )
            )
    header = (
        "at first",
        "clients",
        "",
        "puts/s",
        "acknowledged",
        "failed",
        "further requests",
        "reads",
        "torn",
        "404",
    )
    return table(header, rows)


def race_cells(results: Results, scenario: str) -> dict[tuple[int, str], list[Row]]:
    cells: dict[tuple[int, str], list[Row]] = {}
    for row in results.rows:
        if row["workload"] == "race" and row["scenario"] == scenario:
            cells.setdefault((row["clients"], row["peer"]), []).append(row)
    return dict(sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] != "azdriver")))


def run_text(results: Results) -> str:
    machine = results.head.get("machine", {})
    versions = ", ".join(f"{peer} {version}" for peer, version in sorted(results.versions.items()))
    lines = [
        f"Run of {results.head.get('started', '?')[:10]}: {machine.get('cores')} cores of "
        f"{machine.get('cpu')}, {machine.get('memory_bytes', 0) / 2**30:.0f} GiB, "
        f"{machine.get('system')}, Python {machine.get('python')}; "
        f"{results.head.get('rounds')} rounds; load at the start {machine.get('load')}.",
        f"Peers: {versions}.",
    ]
    if results.head.get("quick"):
        lines.insert(0, "**A `--quick` run: these numbers say nothing.**")
    lines += [f"Note: {note}." for note in results.notes]
    lines += [f"Left out: {peer}: {reason}." for peer, reason in results.left_out.items()]
    if results.errors:
        failed = {f"{row['workload']} by {row['peer']}: {row['error']}" for row in results.errors}
        lines += [f"Failed: {text}." for text in sorted(failed)]
    return "  \n".join(lines)
