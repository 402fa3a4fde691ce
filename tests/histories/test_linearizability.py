"""The checker itself: what it has to accept, and above all what it has to reject."""

from __future__ import annotations

import itertools
import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdriver.testing.linearizability import ABSENT, Delete, Operation, Read, Write, check


def write(start: int, end: int | None, version: str, condition: Any = None, **more: Any) -> Write:
    return Write(start=start, end=end, version=version, condition=condition, **more)


def read(start: int, end: int, *versions: str) -> Read:
    return Read(start=start, end=end, versions=frozenset(versions))


def delete(start: int, end: int | None, outcome: Any = "ok", **more: Any) -> Delete:
    return Delete(start=start, end=end, outcome=outcome, **more)


LEGACY = write(0, 1, "old", legacy=True)

ACCEPTED: dict[str, list[Operation]] = {
    "nothing": [],
    "nothing there at the beginning": [read(0, 1), delete(2, 3, "missing")],
    "a read after its write": [write(0, 1, "a"), read(2, 3, "a")],
    "a read beside a write sees the old": [write(0, 1, "a"), write(2, 9, "b"), read(3, 4, "a")],
    "a read beside a write sees the new": [write(0, 1, "a"), write(2, 9, "b"), read(3, 4, "b")],
    "one tick does not order": [write(0, 5, "a"), read(5, 6)],
    "a read of one of two versions with the same content": [
        write(0, 1, "a"),
        write(2, 3, "b"),
        read(4, 5, "a", "b"),
    ],
    "writes side by side, in the order of the reads": [
        write(0, 9, "a"),
        write(0, 9, "b"),
        write(0, 9, "c"),
        read(1, 2, "c"),
        read(3, 4, "a"),
        read(5, 6, "b"),
    ],
    "a swap that found its version": [write(0, 1, "a"), write(2, 3, "b", "a"), read(4, 5, "b")],
    "a swap that lost": [
        write(0, 1, "a"),
        write(2, 5, "b", "a"),
        write(2, 5, "c", "a", outcome="refused"),
    ],
    "a create that lost": [
        write(0, 5, "a", ABSENT),
        write(0, 5, "b", ABSENT, outcome="refused"),
        read(6, 7, "a"),
    ],
    "created again after a deletion": [
        write(0, 1, "a", ABSENT),
        delete(2, 9),
        write(3, 8, "b", ABSENT),
        read(10, 11, "b"),
    ],
    "an unknown write had its effect": [write(0, 2, "a", outcome="unknown"), read(3, 4, "a")],
    "an unknown write had none": [write(0, 2, "a", outcome="unknown"), read(3, 4)],
    "an unknown write without end comes late": [
        write(0, None, "a", outcome="unknown"),
        read(3, 4),
        read(5, 6, "a"),
    ],
    "an unknown write is what a create found in its way": [
        write(0, 9, "a", outcome="unknown"),
        write(1, 2, "b", ABSENT, outcome="refused"),
    ],
    "an unknown deletion had its effect": [
        write(0, 1, "a"),
        delete(2, 9, "unknown"),
        read(3, 4),
    ],
    "a deletion of one version found another": [
        write(0, 1, "a"),
        write(2, 3, "b"),
        delete(4, 5, "unknown", only="a"),
        read(6, 7, "b"),
    ],
    "a source that is gone was moved all the same": [
        write(0, 1, "a"),
        delete(2, 9),
        delete(3, 8, only="a", or_missing=True),
    ],
    "a migration shows its gap": [
        LEGACY,
        write(2, 9, "new", migrates=True),
        read(3, 4, "old"),
        read(5, 6),
        read(7, 8, "new"),
    ],
    "a create in the gap": [
        LEGACY,
        write(2, 9, "new", migrates=True),
        write(3, 8, "created", ABSENT),
        read(10, 11, "new"),
    ],
    "a swap over a legacy version that lost in its own gap": [
        LEGACY,
        write(2, 9, "new", "old", migrates=True, outcome="refused"),
        read(3, 4),
        write(5, 6, "other", ABSENT),
        read(10, 11, "other"),
    ],
    "a migration that ended in an error after its deletion": [
        LEGACY,
        write(2, 9, "new", migrates=True, outcome="unknown"),
        read(10, 11),
    ],
}

REJECTED: dict[str, list[Operation]] = {
    "a value that nobody wrote, or torn": [write(0, 1, "a"), read(2, 3, "nobody's")],
    "a stale read": [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")],
    "a read of the future": [read(0, 1, "a"), write(2, 3, "a")],
    "a lost write": [write(0, 1, "a"), read(2, 3)],
    "two reads beside a write go backwards": [
        write(0, 1, "a"),
        write(2, 9, "b"),
        read(3, 4, "b"),
        read(5, 6, "a"),
    ],
    "readers disagree on the order of two writes": [
        write(0, 3, "a"),
        write(0, 3, "b"),
        read(4, 5, "a"),
        read(6, 7, "b"),
    ],
    "a lost update: both swaps won": [
        write(0, 1, "a"),
        write(2, 5, "b", "a"),
        write(2, 5, "c", "a"),
    ],
    "a swap that lost to nobody": [write(0, 1, "a"), write(2, 3, "b", "a", outcome="refused")],
    "a swap over what was never there": [write(0, 1, "b", "a")],
    "a refused write is read": [
        write(0, 1, "a"),
        write(2, 3, "b", ABSENT, outcome="refused"),
        read(4, 5, "b"),
    ],
    "created twice": [write(0, 5, "a", ABSENT), write(0, 5, "b", ABSENT)],
    "a create that lost to nobody": [write(0, 1, "a", ABSENT, outcome="refused")],
    "resurrected after a deletion": [write(0, 1, "a"), delete(2, 3), read(4, 5, "a")],
    "deleted twice": [write(0, 1, "a"), delete(2, 5), delete(2, 5)],
    "deleted where nothing was": [delete(0, 1)],
    "missing where something was": [write(0, 1, "a"), delete(2, 3, "missing")],
    "a deletion without effect": [write(0, 1, "a"), delete(2, 3), read(4, 5, "a")],
    "another version deleted than the one that was meant": [
        write(0, 1, "a"),
        write(2, 3, "b"),
        delete(4, 5, only="a"),
    ],
    "a move's source is still there": [
        write(0, 1, "a"),
        delete(2, 3, only="a", or_missing=True),
        read(4, 5, "a"),
    ],
    "a double effect": [
        write(0, 9, "a"),
        read(1, 2, "a"),
        delete(3, 4),
        read(5, 6),
        read(7, 8, "a"),
    ],
    "a write undone by one that came before it": [
        write(0, 9, "a"),
        read(1, 2, "a"),
        write(3, 4, "b", "a"),
        read(10, 11, "a"),
    ],
    "an unknown write has its effect only once": [
        write(0, None, "a", outcome="unknown"),
        read(1, 2, "a"),
        write(3, 4, "b"),
        read(5, 6, "b"),
        read(7, 8, "a"),
    ],
    "an unknown write that ended comes too late": [
        write(0, 2, "a", outcome="unknown"),
        read(3, 4),
        read(5, 6, "a"),
    ],
    "said to have succeeded, with a swap over what was before": [
        write(0, 1, "a"),
        write(2, 9, "b"),
        write(3, 4, "c", "a"),
        read(10, 11, "c"),
    ],
    "a gap where nothing was migrated": [
        write(0, 1, "a"),
        write(2, 9, "b", migrates=True),
        read(3, 4),
    ],
    "a gap beside a create": [
        LEGACY,
        write(2, 9, "new", ABSENT, migrates=True, outcome="unknown"),
        read(3, 4),
    ],
    "a gap after the migration's write": [
        LEGACY,
        write(2, 9, "new", migrates=True),
        read(3, 4, "new"),
        read(5, 6),
    ],
    "a gap that is still there after the migration": [
        LEGACY,
        write(2, 5, "new", migrates=True),
        read(6, 7),
    ],
    "a gap before the migration": [LEGACY, read(2, 3), write(4, 9, "new", migrates=True)],
    "a gap in what another migration wrote": [
        LEGACY,
        write(2, 20, "slow", migrates=True),
        write(3, 4, "quick", migrates=True),
        read(5, 6, "quick"),
        read(7, 8),
    ],
    "a legacy version back after its deletion": [
        LEGACY,
        write(2, 9, "new", migrates=True),
        read(3, 4),
        read(5, 6, "old"),
    ],
    "a swap that deleted the legacy version and says that nothing was changed": [
        LEGACY,
        write(2, 9, "new", "old", migrates=True, outcome="refused"),
        read(10, 11),
    ],
    "a swap over another version deleted the legacy one": [
        write(0, 1, "older"),
        write(2, 3, "old", legacy=True),
        write(4, 9, "new", "older", migrates=True, outcome="unknown"),
        read(10, 11),
    ],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    assert check(ACCEPTED[name]) == []
    assert check(ACCEPTED[name], documented=True) == []


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name: str) -> None:
    violations = check(REJECTED[name])
    assert violations
    assert check(REJECTED[name], documented=True)
    assert "no order explains" in str(violations[0])
    assert violations[0].operation in violations[0].context


def resurrection(**more: Any) -> list[Operation]:
    return [write(0, 9, "a", **more), read(1, 2, "a"), delete(3, 4), read(10, 11, "a")]


def test_an_echo_is_excused_only_when_asked_for_and_only_where_it_was_seen() -> None:
    assert check(resurrection(echoes=1))
    assert check(resurrection(), documented=True)
    assert not check(resurrection(echoes=1), documented=True)


def test_an_echo_undoes_no_write() -> None:
    undone = write(0, 9, "a", echoes=1)
    assert check([undone, read(1, 2, "a"), write(3, 4, "b"), read(10, 11, "a")], documented=True)


def test_an_echo_ends_with_its_operation() -> None:
    late: list[Operation] = [
        write(0, 9, "a", echoes=1),
        delete(10, 11),
        read(12, 13),
        read(14, 15, "a"),
    ]
    assert check(late, documented=True)


def test_an_echo_comes_once() -> None:
    twice: list[Operation] = [
        *(write(0, 99, "a", echoes=1), read(1, 2, "a"), delete(3, 4)),
        *(read(5, 6, "a"), delete(7, 8), read(9, 10, "a")),
    ]
    assert check(twice, documented=True)


def test_a_deletion_may_be_unsure_whether_something_was_there() -> None:
    assert check([delete(0, 1, unsure=True)])
    assert check([delete(0, 1)], documented=True)
    assert not check([delete(0, 1, unsure=True)], documented=True)
    kept: list[Operation] = [write(0, 1, "a"), delete(2, 3, unsure=True), read(4, 5, "a")]
    assert check(kept, documented=True)


def test_the_check_goes_on_after_a_violation() -> None:
    history: list[Operation] = [write(0, 1, "a")]
    for number in range(1, 11):
        now = 10 * number
        history += [read(now, now + 1), read(now + 2, now + 3, "a")]
    assert 10 <= len(check(history)) <= 20
    assert len(check(history, stop_after=3)) == 3


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(ValueError, match="two writes"):
        check([write(0, 1, "a"), write(2, 3, "a")])
    with pytest.raises(ValueError, match="before its start"):
        check([read(2, 1)])
    with pytest.raises(ValueError, match="no end"):
        check([write(0, None, "a")])


Kind = Literal["write", "create", "swap", "read", "delete"]


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Up to six operations with any times and outcomes, right or wrong."""
    operations: list[Operation] = []
    for number in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, 12))
        end = start + draw(st.integers(0, 6))
        kind: Kind = draw(st.sampled_from(["write", "create", "swap", "read", "delete"]))
        some = draw(st.sampled_from([f"v{n}" for n in range(6)]))
        match kind:
            case "read":
                operations.append(read(start, end, *draw(st.sampled_from([(), (some,)]))))
            case "delete":
                outcome = draw(st.sampled_from(["ok", "missing", "unknown"]))
                operations.append(delete(start, end, outcome))
            case _:
                condition = {"write": None, "create": ABSENT, "swap": some}[kind]
                outcomes = ["ok", "unknown"] + ["refused"] * (condition is not None)
                operations.append(
                    write(
                        start,
                        end,
                        f"v{number}",
                        condition,
                        outcome=draw(st.sampled_from(outcomes)),
                    )
                )
    return operations


def possible(history: list[Operation]) -> bool:
    """The definition: some order, true to real time, in which each does what it says."""
    known = [o for o in history if isinstance(o, Read) or o.outcome != "unknown"]
    unknown = [o for o in history if o not in known]
    return any(
        any(in_order(order) for order in itertools.permutations([*known, *some]))
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
    )


def in_order(order: tuple[Operation, ...]) -> bool:
    for index, operation in enumerate(order):
        for later in order[index + 1 :]:
            if later.end is not None and later.end < operation.start:
                return False
    state: str | None = None
    for operation in order:
        match operation:
            case Read(versions=versions):
                if state not in (versions or {None}):
                    return False
            case Delete(outcome=outcome):
                if (state is None) != (outcome == "missing"):
                    return False
                state = None
            case Write(condition=condition, outcome=outcome):
                holds = condition is None or state == (None if condition is ABSENT else condition)
                if holds != (outcome != "refused"):
                    return False
                if outcome != "refused":
                    state = operation.version
    return True


@settings(max_examples=600, deadline=None)
@given(small_histories())
def test_small_histories_are_judged_as_the_definition_says(history: list[Operation]) -> None:
    assert (check(history) == []) == possible(history)


def simulated(seed: int, count: int) -> list[Operation]:
    """A history that was made by a real register, so it has to be accepted."""
    rng = random.Random(seed)
    history: list[Operation] = []
    state: str | None = None
    for now in range(0, 10 * count, 10):  # each takes effect at its own instant
        start, end = now - rng.randrange(60), now + rng.randrange(60)
        version = f"v{now}"
        match rng.randrange(5):
            case 0 | 1:
                history.append(read(start, end, *([] if state is None else [state])))
            case 2:
                outcome = "ok"
                if rng.random() < 0.1:
                    outcome = "unknown"
                    if rng.random() < 0.5:
                        history.append(write(start, end, version, outcome=outcome))
                        continue
                history.append(write(start, end, version, outcome=outcome))
                state = version
            case 3:
                condition = state if state is not None else ABSENT
                if rng.random() < 0.3:
                    condition = ABSENT if state is not None else "v-1"
                    history.append(write(start, end, version, condition, outcome="refused"))
                else:
                    history.append(write(start, end, version, condition))
                    state = version
            case _:
                history.append(delete(start, end, "missing" if state is None else "ok"))
                state = None
    return history


@pytest.mark.parametrize("seed", range(5))
def test_what_a_register_did_is_accepted_and_one_wrong_read_is_found(seed: int) -> None:
    history = simulated(seed, 2000)
    assert check(history) == []
    reads = [n for n, operation in enumerate(history) if isinstance(operation, Read)]
    at = reads[len(reads) // 2]
    wrong = history[at]
    long_gone = next(o for o in history if isinstance(o, Write) and o.outcome == "ok").version
    history[at] = read(wrong.start, wrong.end or 0, long_gone)
    assert check(history)


def test_a_long_history_takes_no_more_than_its_length() -> None:
    assert check(simulated(0, 20_000)) == []
