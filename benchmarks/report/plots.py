"""Plots: legible on white and on black."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.report.columns import READS, SMALL, SMALL_WALL, TREES, WRITES, Column
from benchmarks.report.results import Results, Row, short
from benchmarks.report.tables import race_cells

__all__ = ["BAD", "INK", "OURS", "THEIRS", "WORSE", "Plots"]

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
            axis.bar_label(bars, [short(found[peer]) for peer in names], padding=3, fontsize=8)
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
        cells = race_cells(self.results, "content")
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
