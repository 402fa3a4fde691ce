"""Which operation wrote what: ETags and values as versions, of which the checker knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from azdriver.testing.histories.records import Record, Sent

NOBODYS: Final = "nobody's"  # a version that no operation wrote


class Versions:
    """Which ETag is which version, and which versions hold which value.

    A version is what one operation writes at one path: the value of a put or a plant; of a move,
    whose value is that of its source, a name of its own.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._by_etag: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._by_value: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._unseen: dict[str, set[str]] = defaultdict(set)  # by path: their ETags are not known
        self._written: dict[int, str] = {}
        self._value: dict[str, str] = {}
        self._legacy: set[str] = set()
        moves: list[tuple[int, Record]] = []
        for index, record in enumerate(records):
            if record.kind == "move":
                moves.append((index, record))
            elif record.value:
                on_wire = "Copy Blob" if record.kind == "plant" else "Put Blob"
                self._add(index, record, record.path, record.value, record.applied(on_wire))
                self._value[record.value] = record.value
                self._by_value[record.path, record.value].add(record.value)
                if record.kind == "plant":
                    self._legacy.add(record.value)
        for index, record in moves:
            copies = [sent for sent in record.sent if sent.operation == "Copy Blob"]
            applied = [sent for sent in copies if sent.applied or sent.answered is None]
            if applied:
                self._add(index, record, record.dest, f"{record.by}.move{index}", applied)
        self._follow_moves(moves)

    def _add(
        self, index: int, record: Record, path: str, version: str, applied: list[Sent]
    ) -> None:
        self._written[index] = version
        for sent in applied:
            if sent.etag:
                self._by_etag[path, sent.etag].append(version)
        if not record.is_settled:
            self._unseen[path].add(version)

    def _follow_moves(self, moves: list[tuple[int, Record]]) -> None:
        """The value of each move's version; what it copied may be another move's."""
        left = [(index, record) for index, record in moves if index in self._written]
        while left:
            later = []
            for index, record in left:
                source = self.copied(record)
                if source not in self._value:
                    later.append((index, record))
                    continue
                version, value = self._written[index], self._value[source]
                self._value[version] = value
                self._by_value[record.dest, value].add(version)
                if source in self._legacy:
                    self._legacy.add(version)
            if len(later) == len(left):
                return  # a copy of something that nobody wrote: the check will say so
            left = later

    def written(self, index: int) -> str | None:
        """The version that a record's operation writes; None for a move that copied nothing."""
        return self._written.get(index)

    def is_legacy(self, version: str) -> bool:
        return version in self._legacy

    def copied(self, move: Record) -> str:
        """The version that a move copied."""
        etags = {sent.source_etag for sent in move.sent if sent.operation == "Copy Blob"}
        return self.of_etag(move.path, etags.pop() if len(etags) == 1 else "")[0]

    def of_etag(self, path: str, etag: str) -> list[str]:
        """The version of an ETag; several only if Azurite made the same ETag twice."""
        return self._by_etag.get((path, etag)) or sorted(self._unseen[path]) or [NOBODYS]

    def of_value(self, path: str, value: str) -> frozenset[str]:
        return frozenset(self._by_value.get((path, value), ())) or frozenset({NOBODYS})
