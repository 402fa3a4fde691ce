"""What a migration would do, is doing, and has done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "COUNTS",
    "HAS_SNAPSHOTS",
    "MAX_INCIDENTS",
    "NO_BACKUP",
    "SUPERSEDED",
    "Incident",
    "Kind",
    "MigrationPlan",
    "MigrationProgress",
    "MigrationReport",
]

MAX_INCIDENTS: Final = 1000
"""So many are kept of each kind; all are counted."""

Kind: TypeAlias = Literal["conflict", "changed", "failed", "skipped"]

COUNTS: Final[Mapping[Kind, str]] = {
    "conflict": "conflicts",
    "changed": "changed",
    "failed": "failed",
    "skipped": "skipped",
}
"""The attribute that counts each kind."""

# Reasons that a plan gives as well as a report.
HAS_SNAPSHOTS: Final = "it has snapshots"
NO_BACKUP: Final = "it is no backup of a migration"
SUPERSEDED: Final = (
    "another content was written while it was converted; the earlier one is kept, until "
    "drop_superseded deletes it"
)


@dataclass(frozen=True, slots=True)
class Incident:
    """A blob that is left as it is.

    Attributes:
        kind: ``conflict``: another content is at its new name, or was written while it was
            converted; ``changed``: others kept writing it, another run will do; ``failed``: the
            service refused, or it has no name in the new layout; ``skipped``: its name is that of
            no path.
        name: of the blob, as the service has it.
        dest: the name that it was to get, or of the backup that holds its earlier content.
        reason: why.
    """

    kind: Kind
    name: str
    dest: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPlan:
    """What :func:`migrate` would do.

    Attributes:
        moves: blobs that get a new name.
        move_bytes: of all of them.
        conversions: append blobs that become block blobs, those that move as well included.
        conversion_bytes: of all of them; these go through this machine, twice.
        to_compare: moves onto a blob of the same size, whose content decides.
        unfinished: blobs that an earlier run was killed at.
        drops: earlier contents to be deleted, that an earlier run has kept in a conflict.
        in_place: blobs that have today's form.
        conflicts: moves onto another content, and earlier contents that a run has kept.
        failed: blobs that cannot be: with snapshots, or without a name in the new layout.
        skipped: blobs whose names are those of no path.
        leased: blobs to be migrated that have a lease, by which they will be refused.
        incidents: the first of each kind.
    """

    moves: int = 0
    move_bytes: int = 0
    conversions: int = 0
    conversion_bytes: int = 0
    to_compare: int = 0
    unfinished: int = 0
    drops: int = 0
    in_place: int = 0
    conflicts: int = 0
    failed: int = 0
    skipped: int = 0
    leased: int = 0
    incidents: tuple[Incident, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationProgress:
    """How far a migration is.

    Attributes:
        listed: blobs that were looked at in listings.
        found: of those, the blobs to be migrated until now; all of them once ``is_listed``.
        is_listed: whether the listing is at its end.
        done: blobs that were migrated, or left with an incident.
        done_bytes: of those.
        incidents: how many were left.
    """

    listed: int
    found: int
    is_listed: bool
    done: int
    done_bytes: int
    incidents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What a migration has done.

    Attributes:
        moved: blobs that got their new name.
        converted: append blobs that became block blobs, those that moved as well included.
        migrated_bytes: of all of them.
        finished: blobs at which an earlier run was killed, and that this one finished.
        dropped: earlier contents deleted, that an earlier run had kept in a conflict.
        in_place: blobs in today's form that were met; of those that this run has moved, some may
            be among them.
        gone: blobs that others moved or deleted meanwhile.
        conflicts: see :class:`Incident`; so are the next three.
        changed: left for another run.
        failed: refused by the service, or without a name in the new layout.
        skipped: names of no path.
        incidents: the first of each kind.
        stopped: why the run ended early, which is what would end every further step too; None
            if it came to its end.
    """

    moved: int = 0
    converted: int = 0
    migrated_bytes: int = 0
    finished: int = 0
    dropped: int = 0
    in_place: int = 0
    gone: int = 0
    conflicts: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0
    incidents: tuple[Incident, ...] = ()
    stopped: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left that should have been migrated."""
        return self.stopped is None and not (self.conflicts or self.changed or self.failed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_complete": self.is_complete}
