"""A progress bar on the error stream, if that is a terminal; and the sums for the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from azdriver.cli.output import human_size, plural
from azdriver.cli.settings import current

__all__ = ["Progress", "progress"]


class Progress:
    """What was done so far; the bar, if there is one, follows."""

    def __init__(self) -> None:
        self.files = 0
        self.skipped = 0
        self.failed = 0
        self.bytes = 0
        self._began = time.monotonic()

    def expect(self, files: int, size_bytes: int) -> None:
        """So many more files and bytes are to come."""

    def begins(self, name: str) -> None:
        """A file is begun."""

    def advance(self, size_bytes: int) -> None:
        """Bytes were transferred."""
        self.bytes += size_bytes

    def passed_over(self, size_bytes: int) -> None:
        """Bytes were there already; a negative number takes back what is to be done again."""

    def summary(self, done: str) -> str:
        """One line: files, bytes, time; what was left out or failed."""
        seconds = time.monotonic() - self._began
        text = f"{done} {plural(self.files, 'file')}, {human_size(self.bytes)} in {seconds:.1f} s"
        if self.skipped:
            text += f"; {self.skipped:,} were there already"
        if self.failed:
            text += f"; {self.failed:,} failed"
        return text


@contextmanager
def progress(title: str, *, in_bytes: bool = True) -> Iterator[Progress]:
    """Show a bar, of bytes or of whatever is counted, while the block runs.

    There is none with ``--quiet``, nor if the error stream is no terminal.
    """
    settings = current()
    if settings.quiet or not sys.stderr.isatty():
        yield Progress()
        return
    from azdriver.cli.bar import live_progress

    with live_progress(title, in_bytes=in_bytes) as shown:
        settings.live = shown.print
        try:
            yield shown
        finally:
            settings.live = None
