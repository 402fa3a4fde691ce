"""The progress bar, drawn by rich; loaded only where there is a terminal to draw it on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar
from rich.table import Column

from azdriver.cli.progress import Progress

__all__ = ["live_progress"]

# What is there on a narrow terminal, and from how many columns on the rest is.
WIDE_COLUMNS = 90
MIDDLE_COLUMNS = 60


class LiveProgress(Progress):
    """Sums that a bar follows."""

    def __init__(self, bar: Bar, title: str) -> None:
        super().__init__()
        self._bar = bar
        self._files = 0
        self._total = 0
        self._task = bar.add_task(title, total=None, what="")

    def print(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def expect(self, files: int, size_bytes: int) -> None:
        self._files += files
        self._total += size_bytes
        self._bar.update(self._task, total=self._total)

    def begins(self, name: str) -> None:
        done = self.files + self.skipped + self.failed
        what = name if self._files == 1 else f"{done}/{self._files} files"
        self._bar.update(self._task, what=what)

    def advance(self, size_bytes: int) -> None:
        super().advance(size_bytes)
        self._bar.advance(self._task, size_bytes)

    def passed_over(self, size_bytes: int) -> None:
        self._bar.advance(self._task, size_bytes)


@contextmanager
def live_progress(title: str) -> Iterator[LiveProgress]:
    """A bar on the error stream, gone at the end."""
    console = Console(stderr=True)
    what = TextColumn(
        "{task.description} {task.fields[what]}",
        markup=False,
        table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis", min_width=12),
    )
    columns: list[ProgressColumn] = [what]
    if console.width >= MIDDLE_COLUMNS:
        columns.append(BarColumn(bar_width=30 if console.width >= WIDE_COLUMNS else 12))
    columns += [TaskProgressColumn()]
    if console.width >= MIDDLE_COLUMNS:
        columns.append(DownloadColumn(binary_units=True))
    if console.width >= WIDE_COLUMNS:
        columns += [TransferSpeedColumn(), TimeRemainingColumn(compact=True)]
    with Bar(*columns, console=console, transient=True, expand=True) as bar:
        yield LiveProgress(bar, title)
