"""What the run prints: steps as they go, a progress bar on a terminal, and the tables."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Row", "Show", "human_bytes"]

PLAIN_PROGRESS_SECONDS: Final = 10.0
INDENT: Final = " " * 6
MOST_MISMATCHES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    title: str
    files: int
    bytes: int
    requests: int
    seconds: float
    mismatches: int


def human_bytes(size: int) -> str:
    """A number of bytes to read: ``17 B``, ``9.0 MiB``."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{size} B" if unit == "B" else f"{number:,.1f} {unit}"


class Show:
    """Prints for a person on a terminal, and plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._mismatches = 0

    def line(self, text: str, style: str = "") -> None:
        """One line, however long; nothing in it is taken for markup."""
        self._console.print(Text(text, style), soft_wrap=True)

    def paragraph(self, text: str, style: str = "") -> None:
        """Wrapped, and set in below a title."""
        width = min(self._console.width, 100)
        for line in textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT):
            self.line(line, style)

    def step(self, number: int, of: int, title: str, why: str) -> None:
        self._console.print()
        self.line(f"[{number}/{of}] {title}", "bold")
        self.paragraph(why, "dim")

    def mismatch(self, text: str) -> None:
        self._mismatches += 1
        if self._mismatches <= MOST_MISMATCHES_SHOWN:
            self.line(f"{INDENT}MISMATCH {text}", "red")
        elif self._mismatches == MOST_MISMATCHES_SHOWN + 1:
            self.line(f"{INDENT}more mismatches are counted, but not shown", "red")

    def done(self, row: Row, said: str) -> None:
        style = "green" if not row.mismatches else "red"
        mark = "ok" if not row.mismatches else f"{row.mismatches} MISMATCHES"
        self.line(f"{INDENT}{mark}: {said} ({row.seconds:.1f} s)", style)

    @contextmanager
    def progress(self, files: int) -> Iterator[Callable[[], None]]:
        """Count files that are done; what is yielded is to be called for each of them."""
        if not files:
            yield lambda: None
        elif self._console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("files"), TimeElapsedColumn())
            with Progress(
                TextColumn("     "), *columns, console=self._console, transient=True
            ) as bar:
                task = bar.add_task("", total=files)
                yield lambda: bar.advance(task)
        else:
            yield self._plain_progress(files)

    def _plain_progress(self, files: int) -> Callable[[], None]:
        done = 0
        shown_at = time.monotonic()

        def advance() -> None:
            nonlocal done, shown_at
            done += 1
            now = time.monotonic()
            if now - shown_at >= PLAIN_PROGRESS_SECONDS and done < files:
                shown_at = now
                self.line(f"{INDENT}{done:,} of {files:,} files")

        return advance

    def table(self, rows: list[Row], total: Row) -> None:
        """What each step took, and the whole run."""
        table = Table(title="The run", title_justify="left", title_style="bold")
        table.add_column("step")
        for column in ("files", "bytes", "requests", "seconds", "mismatches"):
            table.add_column(column, justify="right")
        for row in (*rows, total):
            if row is total:
                table.add_section()
            table.add_row(
                row.title,
                f"{row.files:,}",
                human_bytes(row.bytes),
                f"{row.requests:,}",
                f"{row.seconds:.1f}",
                f"{row.mismatches:,}",
                style="bold" if row is total else "",
            )
        self._console.print()
        self._console.print(table)

    def requests(self, counts: Counter[str]) -> None:
        """How often each operation of the service was called."""
        table = Table(title="Requests of the driver", title_justify="left", title_style="bold")
        table.add_column("operation")
        table.add_column("requests", justify="right")
        for operation, number in counts.most_common():
            table.add_row(operation, f"{number:,}")
        self._console.print()
        self._console.print(table)
