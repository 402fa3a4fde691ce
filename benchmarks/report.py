"""Makes tables and plots of docs/performance.md out of the raw lines of a run."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.harness import ROOT, SHAPES
from benchmarks.run import RESULTS

__all__ = ["Results", "main"]

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
        middle = _short(median(values))
        if len(values) == 1:
            return middle
        return f"{middle} ({_short(values[0])}–{_short(values[-1])})"


def _short(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


# Targets: performance.md of the specification.


@dataclass(frozen=True)
class Verdict:
    """One target: what was to be, what is, and whether it is met; None where none can say."""

    number: int
    what: str
    target: str
    measured: str
    is_met: bool | None


class Targets:
    """Every target, judged on medians of one run."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.verdicts: list[Verdict] = []

    def _judge(
        self, number: int, what: str, value: float | None, sign: str, limit: float, unit: str = "×"
    ) -> None:
        target = f"{sign} {limit:g} {unit}".replace(" ×", " ×")
        if value is None:
            self.verdicts.append(Verdict(number, what, target, "not measured", None))
            return
        is_met = value <= limit if sign == "≤" else value >= limit
        self.verdicts.append(Verdict(number, what, target, f"{_short(value)} {unit}", is_met))

    def _ratio(self, above: float | None, below: float | None) -> float | None:
        return None if above is None or not below else above / below

    def _best(
        self, best: Callable[[list[float]], float], value: Value, workload: str, **setting: Any
    ) -> float | None:
        """Of obstore and opendal."""
        found = [
            number
            for peer in ("obstore", "opendal")
            if (number := self.results.median(value, workload, peer, **setting)) is not None
        ]
        return best(found) if found else None

    def judge(self) -> Sequence[Verdict]:
        self._small()
        self._writes()
        self._reads()
        self._trees()
        self._memory()
        self._rest()
        return self.verdicts

    def _small(self) -> None:
        get = self.results.median
        for tasks in (1, 64):
            setting: dict[str, Any] = {"tasks": tasks, "tuning": ...}
            ours = get(cpu_per_op, "get", "azdriver", **setting)
            what = f"get_content 1 KiB, {tasks} task{'s' if tasks > 1 else ''}: CPU against "
            best = self._best(min, cpu_per_op, "get", **setting)
            self._judge(1, what + "obstore", self._ratio(ours, best), "≤", 1.3)
            sdk = get(cpu_per_op, "get", "sdk", **setting)
            self._judge(1, what + "the SDK", self._ratio(ours, sdk), "≤", 0.2)
        setting = {"tasks": 64, "tuning": ...} | NEW
        ours = get(cpu_per_op, "put", "azdriver", **setting)
        sdk = get(cpu_per_op, "put", "sdk", **setting)
        what = "put_content 1 KiB, 64 tasks: CPU against one put of the SDK"
        self._judge(2, what, self._ratio(ours, sdk), "≤", 0.9)

    def _writes(self) -> None:
        get = self.results.median
        speed = megabytes_per_second
        paced = {"shape": "20ms", "bytes_per_second": 200e6}
        ours = get(speed, "write", "azdriver", **paced)
        what = "append mode, paced, 20 ms: speed against the SDK's appends"
        self._judge(3, what, self._ratio(ours, get(speed, "write", "sdk", **paced)), "≥", 1.5)
        limited = {"shape": "limited", "bytes_per_second": None}
        free = {"shape": "none", "bytes_per_second": None}
        block = get(speed, "write", "azdriver-block", tuning=BLOCK_TUNING, **limited)
        append = get(speed, "write", "azdriver", **limited)
        what = "block mode, 16 in flight, limited: speed against "
        self._judge(4, what + "append mode", self._ratio(block, append), "≥", 5)
        best = self._best(max, speed, "write", tuning=BLOCK_TUNING, **limited)
        self._judge(4, what + "obstore", self._ratio(block, best), "≥", 1.1)
        block = get(speed, "write", "azdriver-block", tuning=BLOCK_TUNING, **free)
        best = self._best(max, speed, "write", tuning=BLOCK_TUNING, **free)
        what = "block mode, 16 in flight, no limit: speed against obstore"
        self._judge(4, what, self._ratio(block, best), "≥", 1.1)
        for setting in (free, limited):
            value = get(growth, "write", "azdriver-block", tuning=BLOCK_TUNING, **setting)
            what = f"block mode, 16 × 4 MiB in flight, shape {setting['shape']}: memory growth"
            self._judge(4, what, value, "≤", round((16 * 4 * MIB) / MB + 10, 1), "MB")

    def _reads(self) -> None:
        get = self.results.median
        ours = get(cpu, "read", "azdriver-one-range")
        what = "one connection, no limit: "
        best = self._best(min, cpu, "read")
        self._judge(5, what + "CPU against obstore", self._ratio(ours, best), "≤", 1.0)
        speed = megabytes_per_second
        ours = get(speed, "read", "azdriver-one-range")
        sdk = get(speed, "read", "sdk")
        self._judge(5, what + "speed against the SDK", self._ratio(ours, sdk), "≥", 2.5)
        value = get(growth, "read", "azdriver-one-range")
        self._judge(5, what + "memory growth", value, "≤", 5, "MB")
        setting: dict[str, Any] = {"shape": "limited", "tuning": RANGE_TUNING}
        ours = get(speed, "read", "azdriver", **setting)
        best = self._best(max, speed, "read", **setting)
        what = "limited, 8 ranges of 8 MiB in flight: speed against obstore"
        self._judge(6, what, self._ratio(ours, best), "≥", 0.95)
        for shape in ("20ms", "limited"):
            value = get(first_byte, "read", "azdriver", shape=shape)
            if value is not None:
                value = value * 1000 - SHAPES[shape].delay_ms
            what = f"first byte at shape {shape}, beyond its one round trip"
            # A small range: 256 KiB take 2.6 ms at 100 MB/s; the rest is the client's.
            self._judge(6, what, value, "≤", 6, "ms")

    def _trees(self) -> None:
        get = self.results.median
        times = next((int(r["ops"]) for r in self.results.of("list_tree", "azdriver")), 1)
        value = get(requests, "list_tree", "azdriver")
        value = None if value is None else value / times
        self._judge(7, "list over 100,000 blobs: requests", value, "≤", 1, "")
        ratio = self._ratio(
            get(cpu_per_op, "list_tree", "azdriver"), self._best(min, cpu_per_op, "list_tree")
        )
        self._judge(7, "list over 100,000 blobs: CPU against obstore", ratio, "≤", 3)
        walk = "walk_tree"
        self._judge(8, "walk: requests", get(requests, walk, "azdriver"), "≤", 20, "")
        ratio = self._ratio(get(cpu, walk, "azdriver"), self._best(min, cpu, walk))
        self._judge(8, "walk: CPU against obstore", ratio, "≤", 1.0)
        value = get(stall, walk, "azdriver")
        value = None if value is None else value * 1000
        self._judge(8, "walk: longest hold of the event loop", value, "≤", 60, "ms")
        naive = get(
            lambda row: float(row["seconds_for_all"]), "naive_walk", "azdriver", shape="5ms"
        )
        ratio = self._ratio(naive, get(seconds, walk, "azdriver", shape="5ms"))
        self._judge(8, "walk: faster than List and Stat at 5 ms", ratio, "≥", 100)
        delete = "delete_tree"
        self._judge(9, "delete 10,000: requests", get(requests, delete, "azdriver"), "≤", 45, "")
        ratio = self._ratio(get(cpu, delete, "azdriver"), self._best(min, cpu, delete))
        self._judge(9, "delete 10,000: CPU against obstore", ratio, "≤", 1.5)
        ratio = self._ratio(get(seconds, delete, "azdriver"), self._best(min, seconds, delete))
        self._judge(9, "delete 10,000: wall against obstore", ratio, "≤", 1.0)

    def _memory(self) -> None:
        for workload, peer in (
            ("write", "azdriver"),
            ("write", "azdriver-block"),
            ("read", "azdriver"),
        ):
            for shape in ("none", "limited"):
                rows = self.results.of(workload, peer, shape=shape, bytes_per_second=None)
                # The greatest, not the median: it is a limit.
                value = max((growth(row) for row in rows), default=None)
                what = f"{workload} of a stream by {peer}, shape {shape}: memory growth"
                self._judge(10, what, value, "≤", round(64 * MIB / MB, 1), "MB")

    def _rest(self) -> None:
        self.verdicts.append(
            Verdict(
                11,
                "Azurite, the Go driver's benchmark list",
                "≤ 1.25 × the Go driver's time",
                "the Go driver cannot be built here",
                None,
            )
        )
        get = self.results.median
        value = get(seconds, "import", "azdriver")
        value = None if value is None else value * 1000
        self._judge(12, "import azdriver", value, "≤", 100, "ms")
        value = get(lambda row: float(row["azure_modules"]), "import", "azdriver")
        self._judge(12, "import azdriver: modules of azure and aiohttp", value, "≤", 0, "")


# Tables.


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def targets_table(results: Results) -> str:
    marks = {True: "met", False: "**missed**", None: "–"}
    return _table(
        ("#", "workload", "target", "measured", ""),
        [
            (str(v.number), v.what, v.target, v.measured, marks[v.is_met])
            for v in Targets(results).judge()
        ],
    )


@dataclass(frozen=True)
class Column:
    """One column of a table of peers."""

    title: str
    value: Value
    workload: str
    setting: dict[str, Any]


SMALL: Final = [
    Column(
        f"{what}, {tasks} task{'s' if tasks > 1 else ''}: CPU µs",
        lambda row: cpu_per_op(row) * 1e6,
        what,
        {"tasks": tasks, "tuning": ..., "over": None},
    )
    for what in ("get", "put")
    for tasks in (1, 16, 64, 256)
]
SMALL_WALL: Final = [
    Column(
        f"{what}, 64 tasks, {shape}: per s",
        lambda row: int(row["ops"]) / float(row["seconds"]),
        what,
        {"tasks": 64, "tuning": ..., "shape": shape, "over": None},
    )
    for what in ("get", "put")
    for shape in ("none", "5ms")
] + [
    Column("put 16 MiB, 16 tasks: MB/s", megabytes_per_second, "put_large", {"over": None}),
    Column("memory growth, MB", growth, "put_large", {"over": None}),
]


def _write(title: str, value: Value, shape: str, tuning: Any = None, pace: Any = None) -> Column:
    setting = {"shape": shape, "tuning": tuning, "bytes_per_second": pace}
    return Column(title, value, "write", setting)


WRITES: Final = [
    _write("no limit: MB/s", megabytes_per_second, "none"),
    _write("CPU s", cpu, "none"),
    _write("growth, MB", growth, "none"),
    _write("no limit, 16 in flight: MB/s", megabytes_per_second, "none", BLOCK_TUNING),
    _write("growth, MB", growth, "none", BLOCK_TUNING),
    _write("20 ms: MB/s", megabytes_per_second, "20ms"),
    _write("paced, 20 ms: s", seconds, "20ms", None, 200e6),
    _write("limited: MB/s", megabytes_per_second, "limited"),
    _write("limited, 16 in flight: MB/s", megabytes_per_second, "limited", BLOCK_TUNING),
    _write("growth, MB", growth, "limited", BLOCK_TUNING),
]


def _read(title: str, value: Value, shape: str, tuning: Any = None) -> Column:
    return Column(title, value, "read", {"shape": shape, "tuning": tuning})


READS: Final = [
    _read("no limit: MB/s", megabytes_per_second, "none"),
    _read("CPU s", cpu, "none"),
    _read("growth, MB", growth, "none"),
    _read("20 ms: MB/s", megabytes_per_second, "20ms"),
    _read("first byte, ms", lambda row: first_byte(row) * 1000, "20ms"),
    _read("limited: MB/s", megabytes_per_second, "limited"),
    _read("first byte, ms", lambda row: first_byte(row) * 1000, "limited"),
    _read("limited, 8 × 8 MiB: MB/s", megabytes_per_second, "limited", RANGE_TUNING),
    _read("growth, MB", growth, "limited", RANGE_TUNING),
]
TREES: Final = [
    Column("list: CPU ms", lambda row: cpu_per_op(row) * 1000, "list_tree", {}),
    Column("walk 100,000: CPU s", cpu, "walk_tree", {}),
    Column("wall s", seconds, "walk_tree", {}),
    Column("longest stall, ms", lambda row: stall(row) * 1000, "walk_tree", {}),
    Column("growth, MB", growth, "walk_tree", {}),
    Column("requests", requests, "walk_tree", {}),
    Column("delete 10,000: CPU s", cpu, "delete_tree", {}),
    Column("wall s", seconds, "delete_tree", {}),
    Column("requests", requests, "delete_tree", {}),
]
IMPORTS: Final = [
    Column("import: ms", lambda row: seconds(row) * 1000, "import", {}),
    Column("modules", lambda row: float(row["modules"]), "import", {}),
    Column("of azure and aiohttp", lambda row: float(row["azure_modules"]), "import", {}),
    Column("peak of the process, MB", lambda r: float(r["peak_rss_bytes"]) / MB, "import", {}),
]


def _emulator(workload: str, what: str, **setting: Any) -> Column:
    return Column(
        what, lambda row: float(row["seconds"]) / int(row["ops"]) * 1e6, workload, setting
    )


EMULATOR: Final = [
    *(
        _emulator(f"emulator_{verb}", f"{title} {name}", size=size)
        for verb, title in (("put_get", "put+get"), ("stream", "stream"))
        for size, name in ((0, "empty"), (1024, "1 KiB"), (MIB, "1 MiB"))
    ),
    *(
        _emulator(f"emulator_{verb}", f"{verb} of {entries}", entries=entries)
        for verb in ("list", "delete")
        for entries in (5, 50)
    ),
]


def peers_table(results: Results, columns: Sequence[Column]) -> str:
    """A row a peer; medians, with the least and the greatest."""
    names = {c.workload for c in columns}
    peers = dict.fromkeys(row["peer"] for row in results.rows if row["workload"] in names)
    order = sorted(peers, key=lambda peer: (not peer.startswith("azdriver"), peer))
    return _table(
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
        cells = _race_cells(results, scenario)
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
    return _table(header, rows)


def _race_cells(results: Results, scenario: str) -> dict[tuple[int, str], list[Row]]:
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
    lines += [f"Left out: {peer}: {reason}." for peer, reason in results.left_out.items()]
    if results.errors:
        failed = {f"{row['workload']} by {row['peer']}: {row['error']}" for row in results.errors}
        lines += [f"Failed: {text}." for text in sorted(failed)]
    return "  \n".join(lines)


# Plots: legible on white and on black.

INK: Final = "#7d8590"
OURS: Final = "#3b82f6"
THEIRS: Final = "#9aa3ad"
BAD: Final = "#e5534b"
WORSE: Final = "#d29922"


class Plots:
    """SVG files, text as text."""

    def __init__(self, results: Results, directory: Path) -> None:
        self.results = results
        self.directory = directory
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("svg")
        self.plt: Any = importlib.import_module("matplotlib.pyplot")
        self.plt.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "azdriver",
                "font.family": "sans-serif",
                "font.size": 9,
                "axes.edgecolor": INK,
                "axes.facecolor": "none",
                "axes.labelcolor": INK,
                "axes.titlesize": 10,
                "axes.titlecolor": INK,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "savefig.transparent": True,
            }
        )

    def draw(self) -> Sequence[str]:
        """The names of the files."""
        self.directory.mkdir(parents=True, exist_ok=True)
        drawn = [
            self._bars("small", [SMALL[2], SMALL[6], SMALL_WALL[1]]),
            self._bars("writes", [WRITES[0], WRITES[7], WRITES[8], WRITES[6]]),
            self._bars("reads", [READS[0], READS[1], READS[5], READS[7]]),
            self._bars("trees", [TREES[0], TREES[1], TREES[3], TREES[6]]),
            self._bars("memory", [WRITES[2], READS[2], SMALL_WALL[5]]),
            self._race(),
        ]
        return [name for name in drawn if name]

    def _save(self, figure: Any, name: str) -> str:
        path = self.directory / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        self.plt.close(figure)
        return path.name

    def _bars(self, name: str, columns: Sequence[Column]) -> str:
        """A panel a column, a bar a peer."""
        panels: list[tuple[Column, dict[str, float]]] = []
        for column in columns:
            peers = dict.fromkeys(
                row["peer"]
                for row in self.results.rows
                if row["workload"] == column.workload and "@" not in row["peer"]
            )
            found = {
                peer: number
                for peer in sorted(peers)
                if (
                    number := self.results.median(
                        column.value, column.workload, peer, **column.setting
                    )
                )
                is not None
            }
            if found:
                panels.append((column, found))
        if not panels:
            return ""
        rows = max(len(found) for _, found in panels)
        figure, axes = self.plt.subplots(
            1, len(panels), figsize=(3.1 * len(panels), 1.1 + 0.27 * rows), squeeze=False
        )
        for axis, (column, found) in zip(axes[0], panels, strict=True):
            names = sorted(found, key=lambda peer: (peer.startswith("azdriver"), peer))
            colours = [OURS if peer.startswith("azdriver") else THEIRS for peer in names]
            bars = axis.barh(names, [found[peer] for peer in names], color=colours, height=0.66)
            axis.bar_label(bars, [_short(found[peer]) for peer in names], padding=3, fontsize=8)
            axis.set_title(self._title(column), loc="left")
            axis.spines["bottom"].set_visible(False)
            axis.tick_params(bottom=False, labelbottom=False, left=False)
            axis.set_xlim(0, max(found.values()) * 1.25 or 1)
            is_rate = column.title.endswith(("MB/s", "per s"))
            axis.set_xlabel("more is better" if is_rate else "less is better", fontsize=7)
        figure.tight_layout(w_pad=2)
        return self._save(figure, name)

    @staticmethod
    def _title(column: Column) -> str:
        titles = {
            "write": "written",
            "read": "read",
            "put_large": "put 16 MiB × 16",
            "walk_tree": "walk",
        }
        title = titles.get(column.workload, "")
        is_told = column.title.split(":")[0].split(",")[0] in ("get", "put", "list", "walk 100")
        if is_told or "delete" in column.title or not title:
            return column.title
        return f"{title}: {column.title.replace(': ', ', ')}"

    def _race(self) -> str:
        if not any(row["workload"] == "race" for row in self.results.rows):
            return ""
        figure, axes = self.plt.subplots(1, 3, figsize=(10, 3.1))
        cells = _race_cells(self.results, "content")
        clients = sorted({number for number, _ in cells})

        def line(axis: Any, peer: str, count: Callable[[Row], float], **style: Any) -> None:
            values = []
            for number in clients:
                found = cells.get((number, peer), [])
                values.append(median(count(row) for row in found) if found else float("nan"))
            axis.plot(clients, values, marker="o", markersize=4, linewidth=1.8, **style)

        def share(key: str) -> Callable[[Row], float]:
            return lambda row: float(100 * row[key] / max(row["reads"], 1))

        def failed(row: Row) -> float:
            return float(100 * sum(row["failed"].values()) / (row["clients"] * row["puts_each"]))

        old = "append-writer"
        line(axes[0], old, share("torn"), color=BAD, label="append writer: torn or empty")
        line(axes[0], old, share("missing"), color=WORSE, label="append writer: 404")
        line(axes[0], "azdriver", share("torn"), color=OURS, label="azdriver: torn")
        line(axes[0], "azdriver", share("missing"), color=OURS, ls="--", label="azdriver: 404")
        axes[0].set_title("What readers get: % of reads", loc="left")
        line(axes[1], old, failed, color=BAD, label="append writer")
        line(axes[1], "azdriver", failed, color=OURS, label="azdriver")
        axes[1].set_title("Puts that fail: %", loc="left")

        def rate(row: Row) -> float:
            return float(row["acknowledged"] / row["seconds"])

        line(axes[2], old, rate, color=BAD, label="append writer")
        line(axes[2], "azdriver", rate, color=OURS, label="azdriver")
        axes[2].set_title("Acknowledged puts per second", loc="left")
        for axis in axes:
            axis.set_xscale("log", base=2)
            axis.set_xticks(clients, [str(number) for number in clients])
            axis.set_xlabel("clients on one path")
            axis.set_ylim(bottom=0)
            axis.grid(axis="y", color=INK, alpha=0.2)
            axis.legend(frameon=False, fontsize=8, labelcolor=INK)
        axes[0].set_ylim(-2, 102)
        figure.tight_layout(w_pad=2)
        return self._save(figure, "race")


# The document.


def sections(results: Results) -> dict[str, str]:
    """What the generated parts of the document are."""
    return {
        "run": run_text(results),
        "targets": targets_table(results),
        "small": peers_table(results, SMALL),
        "small-wall": peers_table(results, SMALL_WALL),
        "writes": peers_table(results, WRITES),
        "reads": peers_table(results, READS),
        "trees": peers_table(results, TREES),
        "imports": peers_table(results, IMPORTS),
        "emulator": peers_table(results, EMULATOR),
        "race": race_table(results),
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """The document with its generated parts replaced; each has to be there."""
    for name, part in parts.items():
        pattern = re.compile(f"(<!-- {name}: generated -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, part=part: f"{match[1]}{part}\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the document has {count} sections {name!r}, not one")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--plots", type=Path, default=ROOT / "docs" / "performance")
    parser.add_argument("--print", action="store_true", help="the targets only; writes nothing")
    given = parser.parse_args()
    results = Results(given.results.read_text("utf-8").splitlines())
    if given.print:
        print(run_text(results), targets_table(results), sep="\n\n")
        return
    text = given.document.read_text("utf-8")
    given.document.write_text(filled(text, sections(results)), "utf-8")
    try:
        drawn = Plots(results, given.plots).draw()
    except ImportError as error:
        sys.exit(f"the tables are written, but no plots are drawn: {error}")
    print(f"{given.document}; {', '.join(drawn)} in {given.plots}")


if __name__ == "__main__":
    main()
