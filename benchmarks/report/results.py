"""The rows of a run, and what is read out of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, Final

__all__ = [
    "BLOCK_TUNING",
    "MB",
    "MIB",
    "NEW",
    "RANGE_TUNING",
    "Results",
    "Row",
    "Value",
    "cpu",
    "cpu_per_op",
    "first_byte",
    "growth",
    "megabytes_per_second",
    "requests",
    "seconds",
    "stall",
]

MB: Final = 1e6


MIB: Final = 1024 * 1024


BLOCK_TUNING: Final = {"in_flight": 16, "part_bytes": 4 * MIB}


NEW: Final[dict[str, Any]] = {"over": None}


RANGE_TUNING: Final = {"in_flight": 8, "part_bytes": 8 * MIB}


Row = dict[str, Any]


Value = Callable[[Row], float]


def cpu_per_op(row: Row) -> float:
    return float(row["cpu_seconds"]) / int(row["ops"])


def seconds(row: Row) -> float:
    return float(row["seconds"])


def cpu(row: Row) -> float:
    return float(row["cpu_seconds"])


def megabytes_per_second(row: Row) -> float:
    return float(row["bytes"]) / float(row["seconds"]) / MB


def growth(row: Row) -> float:
    return float(row["rss_growth_bytes"]) / MB


def first_byte(row: Row) -> float:
    return float(row["first_byte_seconds"])


def stall(row: Row) -> float:
    return float(row["longest_stall_seconds"])


def requests(row: Row) -> float:
    return float(sum(n for name, n in row["requests"].items() if name != "deletions in batches"))


class Results:
    """The rows of one run."""

    def __init__(self, lines: Iterable[str]) -> None:
        rows: list[Row] = [json.loads(line) for line in lines if line.strip()]
        self.head: Row = next((row for row in rows if "machine" in row), {})
        self.notes = [row["note"] for row in rows if "note" in row]
        self.versions = {r["peer"]: r["version"] for r in rows if "version" in r}
        self.left_out = {r["left_out"]: r["reason"] for r in rows if "left_out" in r}
        self.errors = [row for row in rows if "error" in row]
        self.rows = [row for row in rows if "workload" in row and "error" not in row]

    def of(self, workload: str, peer: str, **setting: Any) -> list[Row]:
        """The rows of one cell. What is not said of shape and tuning is none."""
        wanted = {"peer": peer, "workload": workload, "shape": "none", "tuning": None} | setting
        return [
            row
            for row in self.rows
            if all(
                (row.get(k, "none") if k == "shape" else row.get(k)) == v
                for k, v in wanted.items()
                if v is not ...
            )
        ]

    def median(self, value: Value, workload: str, peer: str, **setting: Any) -> float | None:
        rows = self.of(workload, peer, **setting)
        return median(value(row) for row in rows) if rows else None

    def spread(self, value: Value, workload: str, peer: str, **setting: Any) -> str:
        """Median, and the least and the greatest."""
        values = sorted(value(row) for row in self.of(workload, peer, **setting))
        if not values:
            return "–"
        middle = short(median(values))
        if len(values) == 1:
            return middle
        return f"{middle} ({short(values[0])}–{short(values[-1])})"


def short(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
