"""The options that all commands have, and the kinds of arguments that several have."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from azdriver.cli.settings import Settings

__all__ = [
    "COMMON",
    "JOBS",
    "Command",
    "parse_duration",
    "parse_size",
    "remote",
    "write_options",
]

F = TypeVar("F", bound=Callable[..., Any])


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        setattr(ctx.ensure_object(Settings), str(param.name), value)


def _common(*names: str, **attributes: Any) -> click.Option:
    # Before the others are looked at: an eager one may end the command.
    return click.Option(names, expose_value=False, callback=_set, **attributes)


# Before the command's name or after it.
COMMON: Final = (
    _common("-u", "--url", metavar="URL", help="The storage, such as azure://ACCOUNT/CONTAINER."),
    _common("-p", "--profile", metavar="NAME", help="A profile of the configuration file."),
    _common(
        "--config",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help=f"The configuration file; default {click.get_app_dir('azdriver')}/config.toml.",
    ),
    _common("-v", "--verbose", is_flag=True, help="Say what is done, on the error stream."),
    _common("-q", "--quiet", is_flag=True, help="No progress bar and no summary."),
    _common("--debug", is_flag=True, help="Log each operation, on the error stream."),
)


class Command(click.Command):
    """A command that has the common options too."""

    def __init__(
        self, name: str | None, *, params: list[click.Parameter] | None = None, **attributes: Any
    ) -> None:
        super().__init__(name, params=[*(params or ()), *COMMON], **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, ctx, formatter)


def write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """The command's own options in a help text, then the common ones."""
    own: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        # Some versions of click list arguments too, which the usage line and the text tell of.
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            (common if param in COMMON else own).append(record)
    for title, records in (("Options", own), ("Options of every command", common)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def remote(name: str, **attributes: Any) -> Callable[[F], F]:
    """An argument that is a path of the driver, which the shell completes."""
    return click.argument(name, shell_complete=_complete_path, **attributes)


def _complete_path(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from azdriver.cli.completion import complete_path

    return complete_path(ctx, incomplete)


JOBS: Final = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    metavar="N",
    help="How many files at once.",
)

_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(value: str) -> int:
    """Bytes, with or without a unit: ``64KiB``, ``4M``."""
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 64KiB")
    return int(match[1]) << _SHIFTS[match[2].upper()]


def parse_duration(value: str) -> timedelta:
    """A time span: ``90s``, ``20m``, ``12h``, ``7d``."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 20m, 12h or 7d")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
