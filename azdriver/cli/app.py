"""The command ``azdriver`` itself: its options, its subcommands, and how it ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from azdriver import __version__
from azdriver.cli import bench, completion, doctor, emulator, files, get, listing, migrate, put
from azdriver.cli.failures import (
    INTERRUPTED,
    PIPE_CLOSED,
    Failure,
    describe,
    redacted,
    status_of,
)
from azdriver.cli.options import COMMON, write_options
from azdriver.cli.output import error_line
from azdriver.cli.settings import Settings

__all__ = ["app", "run_app"]

_EPILOG = """\
\b
Exit status:
  0    all was done
  1    it failed, or some of it did
  2    wrong command line, environment or configuration
  3    nothing is stored at the path
  130  interrupted by Ctrl-C
"""


class App(click.Group):
    """The commands in the order in which they were added; ends that are not errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        # One for the whole command line: what a subcommand notes is asked for here.
        settings = ctx.ensure_object(Settings)
        # Here, before click makes something of its own out of them.
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # so that a closed pipe shows here
            return result
        except KeyboardInterrupt:
            text = ": ".join(filter(None, ("interrupted", settings.when_interrupted)))
            raise Failure(text, INTERRUPTED) from None
        except BrokenPipeError:
            # Nobody reads on, as in ``azdriver ls | head``: not worth a word.
            raise Failure("", PIPE_CLOSED) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


@click.command(cls=App, params=list(COMMON), epilog=_EPILOG, no_args_is_help=True)
@click.version_option(__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Look after what is stored by azdriver, on Azure Blob Storage or elsewhere.

    Which storage: --url or the variable AZDRIVER_URL, such as azure://ACCOUNT/CONTAINER/PREFIX,
    or --profile or AZDRIVER_PROFILE, a section of the configuration file. Paths begin with a
    slash, and are those of the driver: what is below PREFIX.
    """


for _command in (
    listing.ls,
    listing.tree,
    listing.du,
    files.stat,
    files.cat,
    put.put,
    get.get,
    files.mv,
    files.rm,
    files.url,
    doctor.doctor,
    migrate.migrate,
    bench.bench,
    emulator.emulator,
    completion.completion,
):
    app.add_command(_command)


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    try:
        status = app.main(
            None if arguments is None else list(arguments),
            prog_name="azdriver",
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (click.exceptions.Abort, EOFError, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        return _failed(error, debug="--debug" in (sys.argv if arguments is None else arguments))
    return status if isinstance(status, int) else 0


def _failed(error: Exception, *, debug: bool) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes the stream at its end: that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if status_of(error) == PIPE_CLOSED:
        return PIPE_CLOSED
    text = describe(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" (see '{error.ctx.command_path} --help')"
    if text:
        error_line(text)
    if debug and text.startswith("internal error"):
        for line in traceback.format_exception(error):
            click.echo(redacted(line), err=True, nl=False)
    return status_of(error)
