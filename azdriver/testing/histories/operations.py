"""From records to histories: each as what the contract says that it does, at each path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azdriver.testing.histories.records import Record
from azdriver.testing.histories.versions import NOBODYS, Versions
from azdriver.testing.linearizability import ABSENT, Delete, Operation, Read, Write


def operations_by_path(records: Sequence[Record]) -> dict[str, list[Operation]]:
    """One history for each path."""
    versions = Versions(records)
    histories: dict[str, list[Operation]] = defaultdict(list)
    for index, record in enumerate(records):
        for path, operation in _operations(index, record, versions):
            histories[path].append(operation)
    return dict(sorted(histories.items()))


def _operations(index: int, record: Record, versions: Versions) -> Iterable[tuple[str, Operation]]:
    faults = f"; {', '.join(record.faults)}" if record.faults else ""
    error = f"; {record.error}" if record.error else ""
    label = f"{record.kind} by {record.by}{faults}{error}"
    end: int | None = record.end
    if record.outcome == "unknown" and not record.is_settled:
        end = None
    times: dict[str, Any] = {"start": record.start, "end": end, "label": label}
    outcome: Any = record.outcome
    match record.kind:
        case "get" | "stat":
            if outcome == "unknown":
                return
            found = frozenset[str]()
            if outcome == "ok" and record.kind == "get":
                found = versions.of_value(record.path, record.got)
            elif outcome == "ok":
                found = frozenset(versions.of_etag(record.path, record.got))
            yield record.path, Read(versions=found, **times)
        case "put" | "swap" | "create" | "plant":
            version = versions.written(index)
            assert version is not None
            condition: Any = ABSENT if record.kind == "create" else None
            if record.kind == "swap":
                condition = versions.of_etag(record.path, record.condition)[0]
            yield (
                record.path,
                Write(
                    version=version,
                    condition=condition,
                    outcome=outcome,
                    legacy=record.kind == "plant",
                    migrates=record.kind in ("put", "swap"),
                    echoes=max(0, len(record.applied("Put Blob")) - 1),
                    **times,
                ),
            )
            if record.got and record.got not in (e.etag for e in record.applied("Put Blob")):
                # The ETag that a put returns has to be that of its own version.
                yield record.path, Read(versions=frozenset({NOBODYS}), **times)
        case "delete":
            unsure = not record.applied("Delete Blob")
            yield record.path, Delete(outcome=outcome, unsure=unsure, **times)
        case "move":
            yield from _move(index, record, versions, times)


def _move(
    index: int, record: Record, versions: Versions, times: Mapping[str, Any]
) -> Iterable[tuple[str, Operation]]:
    if record.outcome == "missing":
        yield record.path, Read(versions=frozenset(), **times)
        return
    version = versions.written(index)
    if version is None:
        if record.outcome == "ok":  # without a copy: never right
            yield record.path, Read(versions=frozenset({NOBODYS}), **times)
        return
    outcome: Any = record.outcome
    copies = record.applied("Copy Blob")
    yield (
        record.dest,
        Write(
            version=version,
            outcome=outcome,
            legacy=versions.is_legacy(version),
            echoes=max(0, len(copies) - 1),
            **times,
        ),
    )
    source = versions.copied(record)
    if copies:
        # The source was read by the copy, and is deleted after it if it is still the same; or
        # found gone.
        copy = copies[0]
        assert copy.answered is not None
        read = {**times, "start": copy.sent, "end": copy.answered}
        yield record.path, Read(versions=frozenset({source}), **read)
        times = {**times, "start": copy.answered}
    yield record.path, Delete(outcome=outcome, only=source, or_missing=True, **times)
