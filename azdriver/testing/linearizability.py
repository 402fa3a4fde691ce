"""Was this history of one path possible if every operation took effect at one instant? ::

    violations = check([
        Write(start=0, end=5, version="a"),
        Read(start=6, end=7, versions=frozenset({"b"})),
    ])

The model is a register that may be empty, written by versions that are never written twice. It
knows conditional writes and deletions, outcomes that nobody knows, and the one thing that
azdriver documents as not atomic: a write onto a *legacy* version may first delete it.

The algorithm is Wing and Gong's in Lowe's just-in-time form ("Testing for linearizability",
2017): a walk along the history that keeps every state in which the register may be, with the
open operations that took effect for it; an operation is given its instant no earlier than needed.
Since no version is written twice, one that is still to be read can't be overwritten before: that
is used where the ways become many. Time grows with the length of the history; with how many
operations overlap it grows much faster: some twenty at a time are feasible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

__all__ = ["ABSENT", "Delete", "Operation", "Read", "Violation", "Write", "check"]


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""The condition of a write that is to create, and never to overwrite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """
    Attributes:
        start: when it was called; any clock, the same for all operations.
        end: when it returned. None for an operation of unknown outcome that may take effect at
            any time after.
        label: for reports.
    """

    start: int
    end: int | None
    label: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(_Timed):
    """A write.

    Attributes:
        version: what it writes; no other write of the history writes the same.
        condition: None; :data:`ABSENT`; or the version that is to be there.
        outcome: ``"ok"``; ``"refused"``: the condition did not hold, and it had no effect; or
            ``"unknown"``: it had its effect, or none.
        legacy: whether what it writes is a legacy version.
        migrates: if a legacy version is there (the one of the condition, if that is a version),
            it may be deleted before the write, as an instant of its own.
        echoes: how often it may have taken effect once more, where nothing was there. Looked at
            only by ``check(..., documented=True)``.
    """

    version: str
    condition: str | _Absent | None = None
    outcome: Literal["ok", "refused", "unknown"] = "ok"
    legacy: bool = False
    migrates: bool = False
    echoes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(_Timed):
    """A read, whole or of the version alone.

    Attributes:
        versions: one of these was there; none of them: nothing was there.
    """

    versions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(_Timed):
    """A deletion.

    Attributes:
        outcome: ``"ok"``: something was there; ``"missing"``: nothing was; or ``"unknown"``.
        only: deletes nothing but this version.
        or_missing: ``"ok"`` is right as well where nothing was there.
        unsure: ``or_missing``, but only for ``check(..., documented=True)``.
    """

    outcome: Literal["ok", "missing", "unknown"] = "ok"
    only: str | None = None
    or_missing: bool = False
    unsure: bool = False


Operation: TypeAlias = Write | Read | Delete


@dataclass(frozen=True, slots=True)
class Violation:
    """The first operation that no order of instants explains.

    Attributes:
        operation: the one.
        context: what ran at the same time and shortly before, itself included, by start.
        states: the versions that might have been there instead; None for nothing.
    """

    operation: Operation
    context: tuple[Operation, ...]
    states: tuple[str | None, ...]

    def __str__(self) -> str:
        origin = self.context[0].start
        lines = [f"no order explains: {_shown(self.operation, origin)}"]
        states = ", ".join("nothing" if state is None else state for state in self.states)
        lines.append(f"  there might have been: {states}")
        lines += [
            f"  {'>' if operation is self.operation else ' '} {_shown(operation, origin)}"
            for operation in self.context
        ]
        return "\n".join(lines)


def _shown(operation: Operation, origin: int) -> str:
    """One line, times in ms if they are nanoseconds."""
    end = "…" if operation.end is None else f"{(operation.end - origin) / 1e6:.3f}"
    match operation:
        case Write(version=version, condition=condition, outcome=outcome):
            over = "" if condition is None else f" over {condition}"
            what = f"write {version}{over}: {outcome}"
        case Read(versions=versions):
            what = f"read: {' or '.join(sorted(versions)) or 'nothing there'}"
        case Delete(outcome=outcome, only=only):
            what = f"delete{'' if only is None else f' of {only}'}: {outcome}"
    label = f"  [{operation.label}]" if operation.label else ""
    return f"{(operation.start - origin) / 1e6:.3f} to {end}: {what}{label}"


NOTHING: Final = 0
NOBODYS: Final = -1  # a version that no write of the history writes
CONTEXT_BEFORE: Final = 6
MANY: Final = 300  # ways, from which on those that no later read allows are left out

_Configuration: TypeAlias = tuple[int, int]
"""A state, and as bits the open operations that have taken effect on the way to it."""


@dataclass(slots=True)
class _Step:
    """One instant that may come: of an operation, of an echo, or of a migration's deletion.

    Attributes:
        holds: whether it may come in this state, given the bits of what came before.
        result: the state afterwards; None where it only observes.
        bit: its own.
    """

    holds: Callable[[int, int], bool]
    result: int | None
    bit: int


@dataclass(slots=True)
class _Open:
    """An operation between its start and its end."""

    steps: list[_Step]  # the operation's own; then those that may come besides
    must: bool  # the first step has to come before the end
    bits: int


def check(
    operations: Iterable[Operation], *, documented: bool = False, stop_after: int = 100
) -> list[Violation]:
    """Check the whole history of one path, which began with nothing there.

    Args:
        operations: in any order.
        documented: also accept what ``Write.echoes`` and ``Delete.unsure`` say. Off by
            default: these are documented limits of a driver, and no register does so.
        stop_after: so many violations are enough. After each the check goes on as well as it
            can, so only the first is certain to be one.
    """
    return _Check(list(operations), documented, stop_after).run()


class _Check:
    def __init__(self, operations: list[Operation], documented: bool, stop_after: int) -> None:
        self._operations = operations
        self._documented = documented
        self._stop_after = stop_after
        writes = [operation for operation in operations if isinstance(operation, Write)]
        versions = [write.version for write in writes]
        if len(set(versions)) != len(versions):
            raise ValueError("a version is written by two writes")
        self._numbers = {version: number for number, version in enumerate(versions, 1)}
        self._names: list[str | None] = [None, *versions]
        self._legacy = frozenset(self._numbers[write.version] for write in writes if write.legacy)
        self._free: list[int] = []
        self._used_bits = 0
        self._open: dict[int, _Open] = {}
        self._observers: list[_Step] = []
        self._mutators: list[_Step] = []
        self._configurations: set[_Configuration] = {(NOTHING, 0)}
        self._violations: list[Violation] = []
        self._at = 0  # how many starts and ends have been passed
        # Where the last operation starts that needs this version to be there. Only where the
        # version can't come again.
        self._needed_until: dict[int, int] = {}

    def run(self) -> list[Violation]:
        moments: list[tuple[int, int, int]] = []
        for index, operation in enumerate(self._operations):
            # At one tick, starts go before ends: the order within it is not known.
            moments.append((operation.start, 0, index))
            if operation.end is not None:
                if operation.end < operation.start:
                    raise ValueError(f"ends before its start: {operation}")
                moments.append((operation.end, 1, index))
            elif not _is_unknown(operation):
                raise ValueError(f"has an outcome, but no end: {operation}")
        moments.sort()
        self._find_needs(moments)
        for self._at, (_, is_end, index) in enumerate(moments):
            if is_end:
                self._end(index)
            else:
                self._start(index)
            if len(self._violations) >= self._stop_after:
                break
        return self._violations

    def _find_needs(self, moments: list[tuple[int, int, int]]) -> None:
        for at, (_, is_end, index) in enumerate(moments):
            needed: str | None = None
            match self._operations[index]:
                case Read(versions=versions) if len(versions) == 1:
                    (needed,) = versions
                case Write(outcome="ok", condition=str() as condition, migrates=False):
                    needed = condition
            if needed is not None and not is_end:
                self._needed_until[self._number(needed)] = at
        if self._documented:
            for operation in self._operations:
                if isinstance(operation, Write) and operation.echoes:
                    self._needed_until.pop(self._numbers[operation.version], None)

    def _start(self, index: int) -> None:
        opened = self._compile(self._operations[index])
        self._open[index] = opened
        for step in opened.steps:
            (self._observers if step.result is None else self._mutators).append(step)
        if any(step.result is None for step in opened.steps):
            self._configurations = {
                self._observe(state, done) for state, done in self._configurations
            }

    def _end(self, index: int) -> None:
        opened = self._open[index]
        own = opened.steps[0]
        reached = self._reach(own.bit)
        if not reached and opened.must:
            self._violated(index)
            reached = self._after_violation(own)
        self._configurations = reached if opened.must else self._configurations | reached
        for step in opened.steps[1:]:
            self._configurations = self._configurations | self._reach(step.bit)
        keep = ~opened.bits
        self._configurations = {(state, done & keep) for state, done in self._configurations}
        del self._open[index]
        for step in opened.steps:
            (self._observers if step.result is None else self._mutators).remove(step)
            self._free.append(step.bit)

    def _reach(self, goal: int) -> set[_Configuration]:
        """Every configuration in which the step ``goal`` has come, or comes as the last one."""
        found = self._explore(goal, MANY)
        if found is None:
            found = self._explore(goal, None)
            assert found is not None
        return found

    def _explore(self, goal: int, limit: int | None) -> set[_Configuration] | None:
        """As ``_reach``; None if there are more ways than ``limit``.

        Without a limit, those that no later read allows are left out. A violation is then found
        earlier, at an operation that is less telling.
        """
        found: set[_Configuration] = set()
        seen = set(self._configurations)
        todo = list(self._configurations)
        while todo:
            if limit is not None and len(seen) > limit:
                return None
            configuration = todo.pop()
            state, done = configuration
            if done & goal:
                found.add(configuration)
                continue
            if limit is None and self._needed_until.get(state, 0) > self._at:
                continue
            for step in self._mutators:
                if step.holds(state, done):
                    assert step.result is not None
                    after = self._observe(step.result, done | step.bit)
                    if after not in seen:
                        seen.add(after)
                        todo.append(after)
        return found

    def _observe(self, state: int, done: int) -> _Configuration:
        """Let everything that only observes happen as soon as it can: nothing is lost by it."""
        for step in self._observers:
            if not done & step.bit and step.holds(state, done):
                done |= step.bit
        return state, done

    def _violated(self, index: int) -> None:
        operation = self._operations[index]
        ended = [
            (other.end, position)
            for position, other in enumerate(self._operations)
            if other.end is not None and other.end < operation.start
        ]
        before = [self._operations[position] for _, position in sorted(ended)[-CONTEXT_BEFORE:]]
        assert operation.end is not None
        beside = [
            other
            for other in self._operations
            if other.start <= operation.end and (other.end is None or other.end >= operation.start)
        ]
        context = tuple(sorted([*before, *beside], key=lambda other: other.start))
        states = sorted({state for state, _ in self._configurations})
        self._violations.append(
            Violation(operation, context, tuple(self._names[state] for state in states))
        )

    def _after_violation(self, step: _Step) -> set[_Configuration]:
        """Go on as if it had been right."""
        before = self._configurations or {(NOTHING, 0)}
        if step.result is not None:
            return {(step.result, done | step.bit) for _, done in before}
        right = [state for state in range(len(self._names)) if step.holds(state, 0)]
        if len(right) > 2:
            right = []
        return {
            self._observe(other, done | step.bit)
            for state, done in before
            for other in (right or [state])
        }

    def _compile(self, operation: Operation) -> _Open:
        match operation:
            case Read():
                steps = [self._read(operation)]
            case Write():
                steps = self._write(operation)
            case Delete():
                steps = self._delete(operation)
        bits = 0
        for step in steps:
            bits |= step.bit
        return _Open(steps, must=not _is_unknown(operation), bits=bits)

    def _read(self, read: Read) -> _Step:
        states = frozenset(self._number(version) for version in read.versions) or {NOTHING}
        return _Step(lambda state, done: state in states, None, self._bit())

    def _write(self, write: Write) -> list[_Step]:
        bit, number = self._bit(), self._numbers[write.version]
        condition = write.condition
        expected = self._number(condition) if isinstance(condition, str) else NOTHING
        steps: list[_Step]
        migration = self._bit() if write.migrates and condition is not ABSENT else 0
        if write.outcome == "refused":
            # After its own deletion of the legacy version, only a rival's write can refuse it.
            steps = [
                _Step(
                    lambda state, done: state != (NOTHING if done & migration else expected),
                    None,
                    bit,
                )
            ]
        elif condition is None:
            steps = [_Step(lambda state, done: not done & bit, number, bit)]
        else:
            steps = [
                _Step(
                    lambda state, done: (
                        not done & bit and state == (NOTHING if done & migration else expected)
                    ),
                    number,
                    bit,
                )
            ]
        if migration:
            legacy = self._legacy if condition is None else self._legacy & {expected}
            steps.append(
                _Step(lambda state, done: not done & bit and state in legacy, NOTHING, migration)
            )
        if write.outcome != "refused" and self._documented:
            steps += [self._echo(number, bit) for _ in range(write.echoes)]
        return steps

    def _delete(self, delete: Delete) -> list[_Step]:
        bit = self._bit()
        if delete.outcome == "missing":
            return [_Step(lambda state, done: state == NOTHING, None, bit)]
        only = None if delete.only is None else self._number(delete.only)
        or_missing = delete.or_missing or (self._documented and delete.unsure)

        def holds(state: int, done: int) -> bool:
            if done & bit:
                return False
            if state == NOTHING:
                return or_missing
            return only is None or state == only

        return [_Step(holds, NOTHING, bit)]

    def _echo(self, number: int, own: int) -> _Step:
        bit = self._bit()
        return _Step(
            lambda state, done: bool(done & own) and not done & bit and state == NOTHING,
            number,
            bit,
        )

    def _number(self, version: str) -> int:
        return self._numbers.get(version, NOBODYS)

    def _bit(self) -> int:
        if self._free:
            return self._free.pop()
        self._used_bits += 1
        return 1 << (self._used_bits - 1)


def _is_unknown(operation: Operation) -> bool:
    return not isinstance(operation, Read) and operation.outcome == "unknown"
