"""What a run found, as numbers and as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from azdriver.testing.histories.load import SHARES, Load
from azdriver.testing.histories.records import Record
from azdriver.testing.linearizability import Violation


@dataclass(frozen=True, slots=True)
class PathResult:
    """What the check says of one path.

    Attributes:
        path: which.
        operations: of its history.
        strict: where nothing is excused.
        documented: where the documented limits are excused, each only where it was met.
    """

    path: str
    operations: int
    strict: list[Violation]
    documented: list[Violation]


@dataclass(slots=True)
class Report:
    """A load and what the check says of it; or several of them, one after the other."""

    load: Load
    records: Sequence[Record]
    paths: list[PathResult]
    load_seconds: float = 0.0
    check_seconds: float = 0.0

    def add(self, other: Report) -> None:
        """Take in what another run found."""
        self.records = [*self.records, *other.records]
        self.paths += other.paths
        self.load_seconds += other.load_seconds
        self.check_seconds += other.check_seconds

    @property
    def violations(self) -> int:
        """How many operations no order of instants explains; nothing is excused."""
        return sum(len(path.strict) for path in self.paths)

    @property
    def undocumented_violations(self) -> int:
        """The same, where the documented limits are excused."""
        return sum(len(path.documented) for path in self.paths)

    def on_the_wire(self) -> dict[str, int]:
        """How many operations had an effect twice on the wire, or none and said otherwise."""
        counts: Counter[str] = Counter()
        for record in self.records:
            for kind, on_wire in (
                ("put", "Put Blob"),
                ("move's copy", "Copy Blob"),
                ("delete", "Delete Blob"),
            ):
                if record.kind == "delete" or on_wire != "Delete Blob":
                    counts[f"{kind} applied twice"] += len(record.applied(on_wire)) > 1
            if record.outcome == "ok":
                if record.kind in ("put", "swap", "create"):
                    counts["put that succeeded without effect"] += not record.applied("Put Blob")
                if record.kind == "delete":
                    counts["delete that succeeded without effect"] += not record.applied(
                        "Delete Blob"
                    )
        return dict(counts)

    def __str__(self) -> str:
        load = self.load
        lines = [
            f"variant {load.variant}: {len(self.records):,} operations on {load.paths} paths by "
            f"{load.processes} processes x {load.drivers} drivers x {load.tasks} tasks, "
            f"retries {load.retries}"
            f"{', raise_if_unsure' if load.raise_if_unsure else ''}, seed {load.seed}",
            f"load {self.load_seconds:.1f} s, check {self.check_seconds:.1f} s",
            "",
            "| operation | ok | missing | refused | unknown |",
            "|---|---:|---:|---:|---:|",
        ]
        outcomes = Counter((record.kind, record.outcome) for record in self.records)
        for kind in SHARES:
            cells = (outcomes[kind, o] for o in ("ok", "missing", "refused", "unknown"))
            lines.append(f"| {kind} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
        faults = Counter(fault.partition(": ")[2] for r in self.records for fault in r.faults)
        lines += ["", f"faults injected: {sum(faults.values()):,}"]
        lines += [f"  {count:,} {name}" for name, count in faults.most_common()]
        errors = Counter(_error_kind(r) for r in self.records if r.error)
        lines += ["errors:"] + [f"  {count:,} {error}" for error, count in errors.most_common()]
        lines += ["on the wire:"]
        lines += [f"  {count:,} {name}" for name, count in self.on_the_wire().items()]
        lines += [
            "",
            f"violations, nothing excused: {self.violations}",
            f"violations, documented limits excused where they were met: "
            f"{self.undocumented_violations}",
        ]
        for result in self.paths:
            for violation in result.strict[:1]:
                lines += ["", f"{result.path}, of {result.operations:,}: {violation}"]
            for violation in result.documented[:1]:
                lines += ["", f"{result.path}, documented limits excused: {violation}"]
        return "\n".join(lines)


_PATH: Final = re.compile(r"/histories/[0-9]+")


def _error_kind(record: Record) -> str:
    return f"{record.kind}: {_PATH.sub('PATH', record.error).partition('; request id')[0]}"
