"""``azdriver migrate``: blobs of old drivers to today's names and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import click

from azdriver.cli.failures import FAILED, Failure, UsageFailure
from azdriver.cli.options import Command, parse_size
from azdriver.cli.output import as_json, ask, error_line, human_size, is_terminal, note, plural
from azdriver.cli.progress import progress
from azdriver.cli.running import run
from azdriver.cli.settings import azure_options, current

if TYPE_CHECKING:
    from azdriver.azureblob import AzureBlobOptions
    from azdriver.azureblob.migration import (
        Incident,
        MigrationPlan,
        MigrationProgress,
        MigrationReport,
        MigrationSettings,
    )

__all__ = ["migrate"]

# Of each kind, unless --verbose.
FEW_INCIDENTS = 10


@click.command(cls=Command, short_help="Bring blobs of old drivers into today's form.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before it begins.")
@click.option(
    "--from-root",
    metavar="DIR",
    help="The rootdirectory that the names have now; by default that of the URL or the profile.",
)
@click.option(
    "--from-legacy/--from-current",
    "from_legacy",
    default=True,
    show_default=True,
    help="Whether the names have the leading slash of registry 2.x now.",
)
@click.option(
    "--convert",
    type=click.Choice(["none", "contents", "all"]),
    default="contents",
    show_default=True,
    help="Which append blobs become block blobs: none, contents that old drivers wrote (but no "
    "layers and manifests of a registry), all.",
)
@click.option(
    "--max-convert-size",
    type=parse_size,
    metavar="SIZE",
    help="The largest append blob that is taken for a content.",
)
@click.option(
    "--drop-superseded",
    is_flag=True,
    help="Delete earlier contents that a run has kept because another one was written meanwhile.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    metavar="N",
    help="How many blobs at once.",
)
@click.option("--json", "in_json", is_flag=True, help="The plan or the report as a line of JSON.")
def migrate(
    dry_run: bool,
    yes: bool,
    from_root: str | None,
    from_legacy: bool,
    convert: str,
    max_convert_size: int | None,
    drop_superseded: bool,
    jobs: int,
    in_json: bool,
) -> None:
    """Bring the blobs of a container into the form that drivers of today expect.

    Blobs get the names of the layout that the URL or the profile says, and contents that were
    append blobs become block blobs. You are asked before it begins; without a terminal, --yes has
    to be given.

    It may be interrupted or killed at any point: the same command finishes it. Nothing is
    overwritten but the outdated copies of a run that was killed, and nothing deleted but what was
    copied. What cannot be migrated is told and left; the exit status is then 1.
    """
    current().when_interrupted = "the same command goes on"
    if not (dry_run or yes or is_terminal()):
        raise UsageFailure("without a terminal, give --yes to migrate, or --dry-run to see")
    run(
        lambda: _migrate(
            dry_run=dry_run,
            yes=yes,
            in_json=in_json,
            from_root=from_root,
            from_legacy=from_legacy,
            convert=convert,
            max_convert_size=max_convert_size,
            drop_superseded=drop_superseded,
            jobs=jobs,
        )
    )


async def _migrate(
    *,
    dry_run: bool,
    yes: bool,
    in_json: bool,
    from_root: str | None,
    from_legacy: bool,
    convert: str,
    max_convert_size: int | None,
    drop_superseded: bool,
    jobs: int,
) -> None:
    options = azure_options(current())
    from azdriver.azureblob.migration import MigrationSettings, plan_migration

    limit = {} if max_convert_size is None else {"max_convert_bytes": max_convert_size}
    settings = MigrationSettings(
        from_root_directory=options.root_directory if from_root is None else from_root,
        from_legacy_root_prefix=from_legacy,
        convert=cast(Literal["none", "contents", "all"], convert),
        drop_superseded=drop_superseded,
        parallel=jobs,
        **limit,
    )
    if dry_run or not yes:
        plan = await plan_migration(options, settings)
        if dry_run and in_json:
            click.echo(as_json(plan.to_dict()))
            return
        _show_plan(plan, to_stdout=dry_run)
        if dry_run:
            return
        if not (plan.moves or plan.conversions or plan.unfinished or plan.drops):
            note("azdriver: nothing is to be migrated")
            return
        if not ask("Migrate?"):
            raise Failure("nothing was migrated")
    report = await _run(options, settings)
    if in_json:
        click.echo(as_json(report.to_dict()))
    else:
        _show_report(report)
    if not report.is_complete:
        raise Failure(f"stopped: {report.stopped}" if report.stopped else "", FAILED)


async def _run(options: AzureBlobOptions, settings: MigrationSettings) -> MigrationReport:
    from azdriver.azureblob.migration import migrate

    found = done = 0
    with progress("migrate", in_bytes=False) as shown:

        def follow(state: MigrationProgress) -> None:
            nonlocal found, done
            if state.found > found:
                shown.expect(state.found - found, state.found - found)
            shown.passed_over(state.done - done)
            found, done = state.found, state.done

        return await migrate(options, settings, progress=follow)


def _show_plan(plan: MigrationPlan, *, to_stdout: bool) -> None:
    lines = [
        f"to move:       {plural(plan.moves, 'blob')}, {human_size(plan.move_bytes)}",
        f"to convert:    {plural(plan.conversions, 'blob')}, {human_size(plan.conversion_bytes)}",
        f"to finish:     {plural(plan.unfinished, 'blob')} of an earlier run",
        f"to drop:       {plural(plan.drops, 'earlier content')}",
        f"to compare:    {plural(plan.to_compare, 'blob')} with what is at the new name",
        f"in place:      {plural(plan.in_place, 'blob')}",
        f"with a lease:  {plural(plan.leased, 'blob')}, which will be refused",
        f"conflicts:     {plural(plan.conflicts, 'blob')}",
        f"cannot be:     {plural(plan.failed, 'blob')}",
        f"no paths:      {plural(plan.skipped, 'blob')}",
    ]
    click.echo("\n".join(lines), err=not to_stdout)
    _tell(plan.incidents)


def _show_report(report: MigrationReport) -> None:
    lines = [
        f"moved:      {plural(report.moved, 'blob')}",
        f"converted:  {plural(report.converted, 'blob')}",
        f"bytes:      {human_size(report.migrated_bytes)}",
        f"finished:   {plural(report.finished, 'blob')} of an earlier run",
        f"dropped:    {plural(report.dropped, 'earlier content')}",
        f"in place:   {plural(report.in_place, 'blob')}",
        f"gone:       {plural(report.gone, 'blob')}",
        f"conflicts:  {plural(report.conflicts, 'blob')}",
        f"changed:    {plural(report.changed, 'blob')}, for another run",
        f"failed:     {plural(report.failed, 'blob')}",
        f"no paths:   {plural(report.skipped, 'blob')}",
    ]
    click.echo("\n".join(lines))
    _tell(report.incidents)


def _tell(incidents: tuple[Incident, ...]) -> None:
    told: dict[str, int] = {}
    for incident in incidents:
        told[incident.kind] = told.get(incident.kind, 0) + 1
        if current().verbose or told[incident.kind] <= FEW_INCIDENTS:
            onto = f" -> {incident.dest!r}" if incident.dest else ""
            error_line(f"{incident.kind}: {incident.name!r}{onto}: {incident.reason}")
    if any(number > FEW_INCIDENTS for number in told.values()) and not current().verbose:
        error_line("there are more of them: --verbose shows them")
