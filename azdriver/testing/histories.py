"""Histories: a hard load on few paths, recorded, and checked for linearizability.

``python -m azdriver.testing.histories --operations 200000`` runs it against an Azurite of its
own: several processes, each with several drivers and many tasks, half of the drivers under random
faults. Every operation is written down with its times (``time.monotonic_ns``, which processes of
one machine share on Linux), its outcome and its value, which no other operation writes.
:func:`check_histories` turns that into one history for each path, and gives it to
:mod:`azdriver.testing.linearizability`. The exit status is other than 0 if it finds anything.

What is put to the checker is the contract, and of azdriver's own only what it documents:

- a put onto a legacy append blob may delete that one, and only that, before it writes;
- ``move`` is not one instant: a write of the source's content at the destination, and at the
  source a deletion of what was copied; an error leaves open whether they happened;
- an error other than the contract's definite ones leaves open whether a write happened.

What is known besides comes from the wire, below the faults: which version each move copied, which
ETags each write got, and when an operation had the answer to its last request. So a write of
unknown outcome is given no more time than it had. It also shows where azdriver's two documented
limits were met: a put or a move that was sent again after a lost answer, onto a path where nothing
was by then, and had taken effect before; and a deletion that succeeded, after a lost answer, where
nothing was. The check excuses neither, and shows the difference by a second one that does.
With ``raise_if_unsure``, or with ``retries=0``, azdriver has no such limits.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.storage.blob import BlobType
from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.errors import PathNotFoundError, PreconditionFailedError, StorageDriverError
from azdriver.testing.azurite import azurite
from azdriver.testing.faults import (
    Fault,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
)
from azdriver.testing.linearizability import (
    ABSENT,
    Delete,
    Operation,
    Read,
    Violation,
    Write,
    check,
)
from azdriver.testing.recording import TransportWrapper, operation_of

__all__ = [
    "Load",
    "PathResult",
    "Record",
    "Report",
    "Sent",
    "check_histories",
    "operations_by_path",
    "record_histories",
]

Variant: TypeAlias = Literal["azdriver", "append-writer", "unconditional-delete"]

# What is done, and how often in a hundred.
SHARES: Final = {
    "get": 33,
    "stat": 12,
    "put": 17,
    "swap": 9,  # a put with if_match
    "create": 9,  # a put with if_absent
    "delete": 8,
    "move": 8,
    "plant": 4,  # a legacy append blob, as an old client leaves it
}
# With jitter, so that drivers do not march in step. Short, since many are wanted.
RETRY: Final = RetrySettings(retries=5, first_delay_seconds=0.01, longest_delay_seconds=0.1)
ROUND: Final = 20_000  # operations on one Azurite
HISTORICAL_CHUNK: Final = 100  # bytes of one Append Block of the historical put
# Between the look and the deletion of the unconditional migration: what a network would put
# there. On loopback the window is there as well, but a short load rarely meets it.
HISTORICAL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is run.

    Attributes:
        operations: how many in all.
        processes: how many processes share them.
        drivers: of each process.
        tasks: of each driver.
        paths: how many paths they all work on.
        fault_share: of the requests of every other driver, how many a fault strikes.
        retries: of each driver; with 0 no write is sent twice.
        raise_if_unsure: of each driver's ``RetrySettings``; with it none is applied twice.
        seed: of what is done and which faults strike; what meets what is not repeated by it.
        variant: ``"azdriver"``; or what the check has to reject: ``"append-writer"``, where
            contents are put in chunks into an append blob, as the registry did until 2016; or
            ``"unconditional-delete"``, where the migration deletes whatever it finds.
    """

    operations: int
    processes: int = 2
    drivers: int = 2
    tasks: int = 6
    paths: int = 4
    fault_share: float = 0.03
    retries: int = RETRY.retries
    raise_if_unsure: bool = False
    seed: int = 0
    variant: Variant = "azdriver"


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
        kind: one of those of :data:`SHARES`.
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


# --- Running the load -------------------------------------------------------------------------

_current: ContextVar[Record | None] = ContextVar("azdriver_history_record", default=None)


class _Tap(TransportWrapper):
    """Below the faults: writes down what really went over the wire."""

    async def send(self, request: Any, **options: Any) -> Any:
        record = _current.get()
        if record is None or request.method not in ("PUT", "DELETE"):
            return await self.inner.send(request, **options)
        sent = Sent(
            operation_of(request),
            time.monotonic_ns(),
            source_etag=request.headers.get("x-ms-source-if-match", "").strip('"'),
        )
        record.sent.append(sent)
        response = await self.inner.send(request, **options)
        sent.answered = time.monotonic_ns()
        sent.status = response.status_code
        sent.etag = (response.headers.get("ETag") or "").strip('"')
        return response


class _RandomFaults(TransportWrapper):
    """Above it: strikes at random, by a seeded rule."""

    def __init__(
        self, inner: AsyncHttpTransport[Any, Any], share: float, rng: random.Random
    ) -> None:
        super().__init__(inner)
        self._share = share
        self._random = rng
        self._faults: list[Fault] = [
            refuse(times=None),
            reset(times=None),
            lose_answer(times=None),
            answer(500, "InternalError", times=None),
            answer_after(500, "OperationTimedOut", times=None),
            answer(503, "ServerBusy", times=None),
            cut_answer(times=None),
        ]

    async def send(self, request: Any, **options: Any) -> Any:
        async def really() -> Any:
            return await self.inner.send(request, **options)

        record = _current.get()
        if record is None or self._random.random() >= self._share:
            return await really()
        fault = self._random.choice(self._faults)
        record.faults.append(f"{operation_of(request)}: {fault.name}")
        return await fault.play(request, really)


def _content(value: str, rng: random.Random) -> bytes:
    """Bytes that name the value, and show whether they are whole."""
    body = value.encode() + b"\n" + rng.randbytes(rng.randrange(1, 600))
    return hashlib.sha256(body).digest() + body


def _value(content: bytes) -> str:
    """The value of whole bytes; ``""`` of others."""
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        return ""
    return body.partition(b"\n")[0].decode()


class _Worker:
    """One driver and its tasks."""

    def __init__(
        self,
        load: Load,
        driver: AzureBlobDriver,
        raw: ContainerClient,
        by: str,
        budget: list[int],
        records: list[Record],
    ) -> None:
        self._load = load
        self._driver = driver
        self._raw = raw
        self._by = by
        self._budget = budget
        self._records = records
        self._random = random.Random(f"{load.seed} {by}")
        self._paths = [f"/histories/{number}" for number in range(load.paths)]
        self._values = 0
        self._put: Callable[..., Awaitable[str]] = {
            "azdriver": self._put_by_driver,
            "append-writer": self._put_by_append_writer,
            "unconditional-delete": self._put_with_unconditional_delete,
        }[load.variant]

    async def run(self) -> None:
        possible = {k: n for k, n in SHARES.items() if k != "move" or len(self._paths) > 1}
        if self._load.variant == "unconditional-delete":
            possible["plant"] *= 4  # what it does wrong, it does to those
        kinds, shares = list(possible), list(possible.values())
        while self._budget[0] > 0:
            self._budget[0] -= 1
            (kind,) = self._random.choices(kinds, shares)
            path = self._random.choice(self._paths)
            if kind == "swap":
                await self._swap(path)
            else:
                await self._do(Record(kind, path, by=self._by))

    async def _swap(self, path: str) -> None:
        looked = Record("stat", path, by=self._by)
        await self._do(looked)
        if looked.outcome == "ok":
            self._budget[0] -= 1
            await self._do(Record("swap", path, condition=looked.got, by=self._by))

    async def _do(self, record: Record) -> None:
        if record.kind in ("put", "swap", "create", "plant"):
            self._values += 1
            record.value = f"{self._by}.{self._values}"
        if record.kind == "move":
            record.dest = self._random.choice([p for p in self._paths if p != record.path])
        self._records.append(record)
        token = _current.set(record)
        record.start = time.monotonic_ns()
        try:
            record.got = await self._call(record) or ""
            record.outcome = "ok"
        except PathNotFoundError:
            record.outcome = "missing"
        except PreconditionFailedError:
            record.outcome = "refused"
        except StorageDriverError as error:
            record.outcome = "unknown"
            record.error = f"{type(error).__name__}: {error}"
        finally:
            record.end = time.monotonic_ns()
            _current.reset(token)

    async def _call(self, record: Record) -> str | None:
        match record.kind:
            case "get":
                return _value(await self._driver.get_content(record.path))
            case "stat":
                return _bare((await self._driver.stat(record.path)).etag)
            case "put" | "swap" | "create":
                return await self._put(record, _content(record.value, self._random))
            case "delete":
                await self._driver.delete(record.path)
            case "move":
                await self._driver.move(record.path, record.dest)
            case "plant":
                return await self._plant(record)
        return None

    async def _put_by_driver(self, record: Record, content: bytes) -> str:
        info = await self._driver.put_content(
            record.path,
            content,
            if_match=record.condition or None,
            if_absent=record.kind == "create",
        )
        return _bare(info.etag)

    async def _plant(self, record: Record) -> str:
        """An append blob at once, so that what is torn is never the plant's own."""
        staging = self._raw.get_blob_client(f"staging/{uuid4().hex}")
        try:
            await staging.create_append_blob()
            await staging.append_block(_content(record.value, self._random))
            record.start = time.monotonic_ns()
            await self._blob(record.path).start_copy_from_url(staging.url)
            await staging.delete_blob()
        except AzureError as error:
            raise StorageDriverError("plant", record.path) from error
        return ""

    def _blob(self, path: str) -> Any:
        return self._raw.get_blob_client(path[1:])

    async def _put_by_append_writer(self, record: Record, content: bytes) -> str:
        """PutContent as it once was: through the writer, in chunks."""
        if record.kind != "put":
            return await self._put_by_driver(record, content)
        blob = self._blob(record.path)
        sent = Sent("Put Blob", time.monotonic_ns())
        record.sent.append(sent)
        try:
            answer = await blob.create_append_blob()
            for start in range(0, len(content), HISTORICAL_CHUNK):
                answer = await blob.append_block(content[start : start + HISTORICAL_CHUNK])
        except AzureError as error:
            if isinstance(error, HttpResponseError):
                sent.answered, sent.status = time.monotonic_ns(), error.status_code or 0
            raise StorageDriverError("historical", record.path) from error
        sent.answered, sent.status, sent.etag = time.monotonic_ns(), 201, _bare(answer["etag"])
        return sent.etag

    async def _put_with_unconditional_delete(self, record: Record, content: bytes) -> str:
        """A migration that deletes whatever is there by now."""
        if record.kind != "put":
            return await self._put_by_driver(record, content)
        blob = self._blob(record.path)
        try:
            try:
                if (await blob.get_blob_properties()).blob_type != BlobType.BLOCKBLOB:
                    await asyncio.sleep(HISTORICAL_SECONDS)
                    await blob.delete_blob()
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise
            answer = await blob.upload_blob(content, overwrite=True)
        except AzureError as error:
            raise StorageDriverError("historical", record.path) from error
        return _bare(answer["etag"])


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


async def _work(connection_string: str, container: str, load: Load, process: int) -> list[Record]:
    """What one process does."""
    records: list[Record] = []
    share = load.operations // load.processes + (process < load.operations % load.processes)
    budget = [share]
    retry = RetrySettings(
        retries=load.retries,
        first_delay_seconds=RETRY.first_delay_seconds,
        longest_delay_seconds=RETRY.longest_delay_seconds,
        raise_if_unsure=load.raise_if_unsure,
    )
    # Of a driver, since the SDK's own client, and aiohttp below it, may send writes again.
    async with AzureBlobDriver.from_connection_string(
        connection_string, container, retry=retry, wrap_transport=_Tap
    ) as clean:
        raw = clean._clients.container
        async with asyncio.TaskGroup() as group:
            for number in range(load.drivers):
                group.create_task(
                    _work_with_driver(
                        connection_string,
                        container,
                        load,
                        retry,
                        raw,
                        f"{process}.{number}",
                        load.fault_share if number % 2 else 0.0,
                        budget,
                        records,
                    )
                )
    return records


async def _work_with_driver(
    connection_string: str,
    container: str,
    load: Load,
    retry: RetrySettings,
    raw: ContainerClient,
    by: str,
    fault_share: float,
    budget: list[int],
    records: list[Record],
) -> None:
    rng = random.Random(f"faults {load.seed} {by}")
    async with AzureBlobDriver.from_connection_string(
        connection_string,
        container,
        retry=retry,
        wrap_transport=lambda inner: _RandomFaults(_Tap(inner), fault_share, rng),
    ) as driver:
        worker = _Worker(load, driver, raw, by, budget, records)
        async with asyncio.TaskGroup() as group:
            for _ in range(load.tasks):
                group.create_task(worker.run())


async def record_histories(connection_string: str, load: Load) -> list[Record]:
    """Run the load, in processes of its own, on a container of its own."""
    container = f"histories-{uuid4().hex}"
    async with AzureBlobDriver.from_connection_string(connection_string, container):
        pass
    with tempfile.TemporaryDirectory(prefix="azdriver-histories-") as directory:
        # A connection string holds a key: through a pipe, not on a command line.
        job = json.dumps(
            {"connection_string": connection_string, "container": container, "load": asdict(load)}
        )
        results = [Path(directory, f"{number}.jsonl") for number in range(load.processes)]
        try:
            async with asyncio.TaskGroup() as group:
                for number, result in enumerate(results):
                    group.create_task(_process(job, number, result))
        except* _WorkerError as errors:
            raise errors.exceptions[0] from None
        return [
            Record.from_json(line)
            for result in results
            for line in result.read_text("utf-8").splitlines()
        ]


class _WorkerError(RuntimeError):
    """A process of the load failed."""


async def _process(job: str, number: int, result: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "azdriver.testing.histories",
        "--work",
        str(number),
        str(result),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate(job.encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise _WorkerError(f"process {number} failed:\n{errors.decode(errors='replace')[-4000:]}")


def _work_main(number: int, result: Path) -> None:
    job = json.load(sys.stdin)
    records = asyncio.run(
        _work(job["connection_string"], job["container"], Load(**job["load"]), number)
    )
    with result.open("w", encoding="utf-8") as file:
        file.writelines(record.to_json() + "\n" for record in records)


# --- From records to histories ----------------------------------------------------------------

NOBODYS: Final = "nobody's"  # a version that no operation wrote


class _Versions:
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


def operations_by_path(records: Sequence[Record]) -> dict[str, list[Operation]]:
    """One history for each path."""
    versions = _Versions(records)
    histories: dict[str, list[Operation]] = defaultdict(list)
    for index, record in enumerate(records):
        for path, operation in _operations(index, record, versions):
            histories[path].append(operation)
    return dict(sorted(histories.items()))


def _operations(index: int, record: Record, versions: _Versions) -> Iterable[tuple[str, Operation]]:
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
    index: int, record: Record, versions: _Versions, times: Mapping[str, Any]
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


# --- Checking and reporting -------------------------------------------------------------------


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


def check_histories(load: Load, records: Sequence[Record], *, stop_after: int = 100) -> Report:
    """Check every path's history, and once more with the documented limits where it is rejected.

    Args:
        load: what was run.
        records: what came of it.
        stop_after: so many violations of a path are enough.
    """
    began = time.monotonic()
    results = []
    for path, operations in operations_by_path(records).items():
        strict = check(operations, stop_after=stop_after)
        lenient = check(operations, documented=True, stop_after=stop_after) if strict else []
        results.append(PathResult(path, len(operations), strict, lenient))
    return Report(load, records, results, check_seconds=time.monotonic() - began)


async def run(connection_string: str, load: Load) -> Report:
    """Run the load and check what came of it."""
    began = time.monotonic()
    records = await record_histories(connection_string, load)
    seconds = time.monotonic() - began
    report = await asyncio.to_thread(check_histories, load, records)
    report.load_seconds = seconds
    return report


async def _run_with_azurite(load: Load, save: Path | None) -> Report:
    """In rounds, each on an Azurite of its own: it is busy for minutes cleaning up dead blobs."""
    total: Report | None = None
    for number in range(math.ceil(load.operations / ROUND)):
        operations = min(ROUND, load.operations - number * ROUND)
        part = replace(load, operations=operations, seed=load.seed + number)
        async with azurite(extent_memory_limit_mb=4096) as server:
            report = await run(server.connection_string, part)
        print(
            f"round {number + 1}: {len(report.records):,} operations in "
            f"{report.load_seconds:.0f} s, {report.violations} violations",
            file=sys.stderr,
            flush=True,
        )
        if save is not None:
            with save.open("a", encoding="utf-8") as file:
                file.writelines(record.to_json() + "\n" for record in report.records)
        if total is None:
            total = report
        else:
            total.add(report)
    assert total is not None
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the status is 1 if a violation was found."""
    defaults = Load(operations=20_000)
    parser = argparse.ArgumentParser(prog="python -m azdriver.testing.histories")
    for name in ("operations", "processes", "drivers", "tasks", "paths", "retries", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    parser.add_argument("--fault-share", type=float, default=defaults.fault_share)
    parser.add_argument(
        "--variant",
        choices=["azdriver", "append-writer", "unconditional-delete"],
        default=defaults.variant,
    )
    parser.add_argument("--raise-if-unsure", action="store_true", help="as in RetrySettings")
    parser.add_argument("--save", type=Path, help="write the records there, as JSON lines")
    parser.add_argument(
        "--documented", action="store_true", help="excuse the documented limits where met"
    )
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = vars(parser.parse_args(arguments))
    if work := options.pop("work"):
        _work_main(int(work[0]), Path(work[1]))
        return 0
    save, documented = options.pop("save"), options.pop("documented")
    report = asyncio.run(_run_with_azurite(Load(**options), save))
    print(report)
    return 1 if report.undocumented_violations or (report.violations and not documented) else 0


if __name__ == "__main__":
    sys.exit(main())
