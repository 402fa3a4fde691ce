"""``azdriver doctor``: what is found in a container, and what to set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from azdriver.cli.failures import FAILED, Failure
from azdriver.cli.options import Command
from azdriver.cli.output import as_json, colour, human_size, note, plural
from azdriver.cli.running import run
from azdriver.cli.settings import azure_options, current

if TYPE_CHECKING:
    from azdriver.azureblob.doctor import Diagnosis

__all__ = ["doctor"]

_COLOURS = {"error": "red", "warning": "yellow", "info": "green"}


@click.command(cls=Command, short_help="Examine a container, and say what to set.")
@click.option(
    "--whole", is_flag=True, help="Look at every blob, by a request per 5,000, not at a sample."
)
@click.option("--json", "in_json", is_flag=True, help="All that was found, as one line of JSON.")
def doctor(whole: bool, in_json: bool) -> None:
    """Examine a container of Azure Blob Storage.

    Tells the layout and the types of its blobs, what the credential may do, the clock's skew,
    soft delete and the like, and what to set otherwise. Nothing is changed. The exit status is 1
    if there is an error among the findings.
    """
    diagnosis = run(lambda: _examine(whole))
    if in_json:
        click.echo(as_json(diagnosis.to_dict()))
    else:
        _show(diagnosis)
    if not diagnosis.is_healthy:
        raise Failure("", FAILED)


async def _examine(whole: bool) -> Diagnosis:
    options = azure_options(current())
    from azdriver.azureblob.doctor import examine

    note(f"azdriver: looking at {options.container} of {options.account_url}")
    return await examine(options, whole=whole)


def _show(diagnosis: Diagnosis) -> None:
    _line("container", f"{diagnosis.account_url}/{diagnosis.container}")
    _line("credential", diagnosis.credential)
    may = [f"{what}: {answer}" for what, answer in diagnosis.may.items()]
    _line("it may", ", ".join(may) or "unknown")
    if diagnosis.clock_skew_seconds is not None:
        _line("clock skew", f"{diagnosis.clock_skew_seconds:+.1f} s")
    for feature, value in diagnosis.features.items():
        _line(feature.replace("_", " "), "unknown" if value is None else str(value))
    counts = diagnosis.counts
    types = ", ".join(f"{number:,} {kind}" for kind, number in counts.types.items())
    seen = "all of them" if counts.is_whole else "a sample"
    shown = f"{plural(counts.blobs, 'blob')}, {human_size(counts.size_bytes)} ({seen})"
    _line("blobs", f"{shown}: {types}" if types else shown)
    for layout in diagnosis.layouts:
        root = f"rootdirectory {layout.root_directory!r}" if layout.root_directory else "no root"
        legacy = ", with the leading slash of registry 2.x" if layout.legacy_root_prefix else ""
        registry = ", a container registry" if layout.registry else ""
        _line("layout", f"{plural(layout.blobs, 'blob')}: {root}{legacy}{registry}")
    for finding in diagnosis.findings:
        severity = click.style(f"{finding.severity}:", fg=_COLOURS[finding.severity], bold=True)
        click.echo(f"\n{severity} {finding.text} [{finding.code}]", color=colour())
        if finding.advice:
            click.echo(f"  {finding.advice}")
    if diagnosis.recommended:
        click.echo("\nset:")
        for name, value in diagnosis.recommended.items():
            shown_value = str(value).lower() if isinstance(value, bool) else value
            click.echo(f"  {name}: {shown_value}")


def _line(title: str, text: str) -> None:
    click.echo(f"{title + ':':<24} {text}")
