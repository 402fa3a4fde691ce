"""The progress bar, drawn by rich; loaded only where there is a terminal to draw it on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from azdriver.cli.output import human_size
from azdriver.cli.progress import Progress

__all__ = ["live_progress"]

# From how many columns of the terminal on there is more than a name and a percentage.
WIDE_COLUMNS = 90
MIDDLE_COLUMNS = 60


class LiveProgress(Progress):
    """Sums that a bar follows."""

    def __init__(self, bar: Bar, title: str) -> None:
        super().__init__()
        self._bar = bar
        self._files = 0
        self._total = 0
        self._task = bar.add_task(title, total=None, visible=False, what="")

    def print(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def expect(self, files: int, size_bytes: int) -> None:
        self._files += files
        self._total += size_bytes
        self._bar.update(self._task, total=self._total, visible=True)

    def begins(self, name: str) -> None:
        done = self.files + self.skipped + self.failed
        what = name if self._files == 1 else f"{done}/{self._files} files"
        self._bar.update(self._task, what=what)

    def advance(self, size_bytes: int) -> None:
        super().advance(size_bytes)
        self._bar.advance(self._task, size_bytes)

    def passed_over(self, size_bytes: int) -> None:
        self._bar.advance(self._task, size_bytes)


class _Speed(ProgressColumn):
    """In the units of the sizes, which rich's own column does not have."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        text = "" if speed is None else f"{human_size(speed)}/s"
        return Text(f"{text:>12}", style="progress.data.speed")


@contextmanager
def live_progress(title: str, *, in_bytes: bool) -> Iterator[LiveProgress]:
    """A bar on the error stream, gone at the end."""
    console = Console(stderr=True)
    what = Column(no_wrap=True, overflow="ellipsis", max_width=max(12, console.width // 3))
    columns: list[ProgressColumn] = [
        TextColumn("{task.description} {task.fields[what]}", markup=False, table_column=what)
    ]
    if console.width >= MIDDLE_COLUMNS:
        columns.append(BarColumn(bar_width=30 if console.width >= WIDE_COLUMNS else 12))
    columns.append(TaskProgressColumn())
    if console.width >= MIDDLE_COLUMNS:
        columns.append(DownloadColumn(binary_units=True) if in_bytes else MofNCompleteColumn())
    if console.width >= WIDE_COLUMNS:
        columns += [*([_Speed()] if in_bytes else []), TimeRemainingColumn(compact=True)]
    with Bar(*columns, console=console, transient=True) as bar:
        yield LiveProgress(bar, title)
