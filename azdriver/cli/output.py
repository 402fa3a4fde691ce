"""What commands print: results on the output stream, everything else on the error stream."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any, Final

import click

from azdriver.cli.failures import redacted
from azdriver.cli.settings import Settings, current
from azdriver.contract import FileInfo

__all__ = [
    "as_json",
    "ask",
    "colour",
    "detail",
    "error_line",
    "human_size",
    "info_fields",
    "is_terminal",
    "note",
    "plural",
    "set_up_logging",
    "shown_path",
    "shown_size",
    "shown_time",
]

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def note(text: str) -> None:
    """A line on the error stream, unless ``--quiet``."""
    if not current().quiet:
        _to_error_stream(text)


def detail(text: str) -> None:
    """A line on the error stream with ``--verbose``."""
    if current().verbose:
        _to_error_stream(text)


def error_line(text: str) -> None:
    """An error, as a line on the error stream."""
    _to_error_stream(f"azdriver: {text}")


def _to_error_stream(text: str) -> None:
    text = redacted(text)  # azdriver itself shows no secret: this is for what else is shown
    context = click.get_current_context(silent=True)
    live = context.ensure_object(Settings).live if context is not None else None
    if live is not None:
        live(text)
    else:
        click.echo(text, err=True)


def colour() -> bool | None:
    """For ``click.echo``: never with ``NO_COLOR``, else as the stream is."""
    return False if os.environ.get("NO_COLOR") else None


def human_size(size_bytes: float) -> str:
    """Such as ``1.5 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    power = 0
    while size_bytes >= 1023.95 and power < len(_UNITS):
        size_bytes, power = size_bytes / 1024, power + 1
    return f"{size_bytes:.1f} {_UNITS[power - 1]}"


def shown_size(size_bytes: int, human: bool) -> str:
    """A size in a column."""
    return f"{human_size(size_bytes):>10}" if human else f"{size_bytes:>14}"


def shown_time(time: datetime | None) -> str:
    """A time in UTC, of 20 characters."""
    return "-".ljust(20) if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown_path(info: FileInfo) -> str:
    """A path; a directory with a slash at its end, and in blue on a terminal."""
    if not info.is_dir:
        return info.path
    return click.style(info.path.rstrip("/") + "/", fg="blue", bold=True)


def info_fields(info: FileInfo) -> dict[str, Any]:
    """What JSON has of a path."""
    return {
        "path": info.path,
        "is_dir": info.is_dir,
        "size": None if info.is_dir else info.size,
        "mod_time": None if info.mod_time is None else info.mod_time.isoformat(),
        "etag": info.etag,
    }


def as_json(fields: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(fields, ensure_ascii=False)


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Such as ``1 file``, ``1,234 files``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


class _ErrorStream(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _to_error_stream(self.format(record))


def set_up_logging(settings: Settings) -> None:
    """azdriver's log on the error stream with ``--debug``; other libraries' warnings as well."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler()
    if settings.debug or settings.verbose:
        handler = _ErrorStream()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    # The handler of an earlier command in this process, if any, has had its time.
    for old in [old for old in root.handlers if type(old) in (logging.NullHandler, _ErrorStream)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger("azdriver").setLevel(logging.DEBUG if settings.debug else logging.WARNING)


def is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a person; no is the default.

    Raises:
        KeyboardInterrupt: in the place of an answer.
    """
    # In an event loop Ctrl-C cancels the task, which would not notice while it waits here.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)
