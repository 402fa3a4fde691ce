"""What came of it, each by itself and as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from azdriver.testing.sweep.faults import FAULTS


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one fault, or one cancellation, at one place.

    Attributes:
        case: the operation.
        fault: the fault; ``"cancelled"`` for a cancellation.
        place: which request, or which point of waiting, from 0.
        outcome: ``"ok"``, ``"error: as before"``, or ``"error: "`` and the word of another end.
        wrong: what is neither end; ``""`` if it is one.
    """

    case: str
    fault: str
    place: int
    outcome: str
    wrong: str = ""


def table(cells: Iterable[Cell]) -> str:
    """The outcomes as a Markdown table: operations × faults, over all requests of each."""
    outcomes: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for cell in cells:
        outcomes[cell.case][cell.fault].add("WRONG" if cell.wrong else cell.outcome)
    faults = [*FAULTS, "cancelled"]
    faults = [name for name in faults if any(name in row for row in outcomes.values())]
    lines = ["| operation | " + " | ".join(faults) + " |", "|---" * (len(faults) + 1) + "|"]
    for case, row in outcomes.items():
        texts = [_merged(row[name]) for name in faults]
        lines.append(f"| {case} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _merged(outcomes: set[str]) -> str:
    """``ok``, or ``ok; error: as before, resumable``: the ends without repetition."""
    errors = sorted(o.removeprefix("error: ") for o in outcomes if o.startswith("error: "))
    parts = sorted(o for o in outcomes if not o.startswith("error: "))
    if errors:
        parts.append("error: " + ", ".join(errors))
    return "; ".join(parts) or "–"
