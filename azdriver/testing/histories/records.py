"""What is written down of each operation, and of each write on the wire."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Sent:
    """One write on the wire, as it was below the faults.

    Attributes:
        operation: the REST operation.
        sent: when it was handed to the network.
        answered: when its answer came; None if none did.
        status: of that answer.
        etag: the version that it made.
        source_etag: the version that a copy was to copy.
    """

    operation: str
    sent: int
    answered: int | None = None
    status: int = 0
    etag: str = ""
    source_etag: str = ""

    @property
    def applied(self) -> bool:
        """Whether it had its effect."""
        return 200 <= self.status < 300


@dataclass(slots=True)
class Record:
    """One operation.

    Attributes:
        kind: one of those of :data:`azdriver.testing.histories.load.SHARES`.
        path: where; of a move the source.
        start: when it was called, in ns of the monotonic clock.
        end: when it returned or raised.
        outcome: ``"ok"``; ``"missing"``; ``"refused"``, by a precondition; or ``"unknown"``,
            by an error that is named in ``error``.
        value: what a put or a plant writes.
        dest: of a move.
        condition: the ETag of a put with if_match.
        got: what was read: a value of ``get``, ``""`` for one that nobody wrote; an ETag.
        error: the error's class and text.
        sent: its writes on the wire.
        faults: what struck it.
        by: which process and driver.
    """

    kind: str
    path: str
    start: int = 0
    end: int = 0
    outcome: str = ""
    value: str = ""
    dest: str = ""
    condition: str = ""
    got: str = ""
    error: str = ""
    sent: list[Sent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    by: str = ""

    def applied(self, operation: str) -> list[Sent]:
        """The requests of this REST operation that had their effect."""
        return [sent for sent in self.sent if sent.operation == operation and sent.applied]

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it can still be under way."""
        return all(sent.answered is not None for sent in self.sent)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Record:
        fields = json.loads(line)
        return cls(**{**fields, "sent": [Sent(**sent) for sent in fields["sent"]]})
