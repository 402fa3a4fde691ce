"""Every operation × every request that it sends × every fault, and every point of cancellation.

Nothing is listed by hand but the operations: each is run once to see what it sends and where it
waits; then once for each of those places, with a fault or a cancellation there. Two ends are
allowed: success, and the store holds exactly the right bytes; or an error of the contract (or
the cancellation), and the store is as before, or in a state that the operation documents.

``python -m azdriver.testing.sweep`` prints the table of outcomes against an Azurite of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.contract import FileInfo
from azdriver.errors import NotAppendableError, PathNotFoundError, StorageDriverError
from azdriver.testing.faults import (
    Fault,
    Faults,
    Send,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
    stall,
)
from azdriver.testing.recording import RecordedRequest, RecordingTransport

__all__ = ["CASES", "FAULTS", "Case", "Cell", "Lab", "cancel_everywhere", "sweep", "table"]

T = TypeVar("T")

Store = Mapping[str, bytes]
BLOCK: Final = 1000
DATA: Final = bytes(range(256)) * 10  # three blocks, or three ranges, the last of them short
RIVAL: Final = b"a rival's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operation, and the ends that it may come to.

    Attributes:
        name: for the table.
        before: what is stored; paths that begin with ``~`` are legacy append blobs.
        call: the operation; what it returns is compared with ``result``.
        after: what is stored after success.
        result: what the operation returns; None where that is not compared.
        ends: what may be stored after an error, besides ``before``: a word, and a check.
        write_mode: of the driver.
        resumes: whether ``/a`` can be gone on with after an error, to the end of ``DATA``.
    """

    name: str
    call: Callable[[AzureBlobDriver], Awaitable[Any]]
    before: Mapping[str, bytes] = field(default_factory=dict)
    after: Mapping[str, bytes] | None = None
    result: Any = None
    ends: Mapping[str, Callable[[Store], bool]] = field(default_factory=dict)
    write_mode: Literal["append", "block"] = "append"
    resumes: bool = False


def plain(before: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix("~"): content for path, content in before.items()}


async def _read_all(driver: AzureBlobDriver) -> bytes:
    async with driver.reader("/a", 10) as reader:
        return b"".join([chunk async for chunk in reader])


async def _write(driver: AzureBlobDriver, *, append: bool = False) -> None:
    async with driver.writer("/a", append=append) as writer:
        while writer.size < len(DATA):
            await writer.write(DATA[writer.size : writer.size + 300])
        await writer.commit()


async def _in_two(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA[:1500])
        await writer.close()
    await _write(driver, append=True)


async def _close(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA)
        await writer.close()


async def _cancel(driver: AzureBlobDriver) -> None:
    async with driver.writer("/a") as writer:
        await writer.write(DATA)
        await writer.cancel()


async def _walk(driver: AzureBlobDriver) -> list[str]:
    return [info.path async for info in driver.walk("/")]


async def _if_match(driver: AzureBlobDriver) -> None:
    # The version is looked up past the faults: it is what the caller has from before.
    async with AzureBlobDriver(driver.options) as clean:
        etag = (await clean.stat("/a")).etag
    await driver.put_content("/a", DATA, if_match=etag)


async def _is_missing(driver: AzureBlobDriver) -> bool:
    try:
        await driver.stat("/missing")
    except PathNotFoundError:
        return True
    return False


def _is_prefix(store: Store) -> bool:
    return store.keys() <= {"/a"} and DATA.startswith(store.get("/a", b""))


_TREE: Final = {f"/t/{number}": b"x" for number in range(3)}
_RESUMABLE: Final = {"resumable": _is_prefix}

CASES: Final = [
    Case(
        name="get_content",
        before={"/a": DATA},
        call=lambda d: d.get_content("/a"),
        result=DATA,
    ),
    Case(
        name="put_content, new",
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
    ),
    Case(
        name="put_content, over",
        before={"/a": b"old"},
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
    ),
    Case(
        name="put_content, over a legacy blob",
        before={"~/a": b"old"},
        call=lambda d: d.put_content("/a", DATA),
        after={"/a": DATA},
        # The one-time migration: the legacy blob has to go first, the service wants it so.
        ends={"legacy blob gone": lambda store: not store},
    ),
    Case(
        name="put_content, if_match",
        before={"/a": b"old"},
        call=_if_match,
        after={"/a": DATA},
    ),
    Case(
        name="put_content, if_absent",
        call=lambda d: d.put_content("/a", DATA, if_absent=True),
        after={"/a": DATA},
    ),
    Case(name="reader", before={"/a": DATA}, call=_read_all, result=DATA[10:]),
    Case(
        name="writer, commit",
        before={"/a": b"old"},
        call=_write,
        after={"/a": DATA},
        ends=_RESUMABLE,
        resumes=True,
    ),
    Case(
        name="writer, append",
        before={"~/a": DATA[:100]},
        call=lambda d: _write(d, append=True),
        after={"/a": DATA},
        ends=_RESUMABLE,
        resumes=True,
    ),
    Case(name="writer, close", call=_close, after={"/a": DATA}, ends=_RESUMABLE, resumes=True),
    Case(name="writer, cancel", call=_cancel, after={}, ends=_RESUMABLE),
    Case(
        name="block writer, commit",
        before={"/a": b"old"},
        call=_write,
        after={"/a": DATA},
        write_mode="block",
        resumes=True,
    ),
    Case(
        name="block writer, over a legacy blob",
        before={"~/a": b"old"},
        call=_write,
        after={"/a": DATA},
        ends={"legacy blob gone": lambda store: not store},
        write_mode="block",
        resumes=True,
    ),
    Case(name="block writer, close", call=_close, write_mode="block", resumes=True),
    Case(name="block writer, resumed", call=_in_two, after={"/a": DATA}, write_mode="block"),
    Case(name="block writer, cancel", call=_cancel, write_mode="block"),
    Case(
        name="stat, file",
        before={"/a": DATA},
        call=lambda d: _size(d.stat("/a")),
        result=len(DATA),
    ),
    Case(
        name="stat, directory",
        before={"/a/b": b""},
        call=lambda d: d.stat("/a"),
        result=FileInfo("/a", is_dir=True),
    ),
    Case(name="stat, missing", call=_is_missing, result=True),
    Case(
        name="list",
        before={"/a": b"", "/b/c": b"", "/b/d": b""},
        call=lambda d: d.list("/"),
        result=["/a", "/b"],
    ),
    Case(
        name="walk",
        before={"/a": b"", "/b/c": b""},
        call=_walk,
        result=["/a", "/b", "/b/c"],
    ),
    Case(
        name="move, new",
        before={"/a": DATA},
        call=lambda d: d.move("/a", "/b"),
        after={"/b": DATA},
        ends={"copied, move again": lambda store: store == {"/a": DATA, "/b": DATA}},
    ),
    Case(
        name="move, over",
        before={"~/a": DATA, "/b": b"old"},
        call=lambda d: d.move("/a", "/b"),
        after={"/b": DATA},
        ends={"copied, move again": lambda store: store == {"/a": DATA, "/b": DATA}},
    ),
    Case(
        name="delete, blob",
        before={"/a": DATA, "/ab": b"other"},
        call=lambda d: d.delete("/a"),
        after={"/ab": b"other"},
        # The blob and the listing of what is below it are asked for at once.
        ends={"deleted, delete again": lambda store: store == {"/ab": b"other"}},
    ),
    Case(
        name="delete, tree",
        before={**_TREE, "/t": b"own"},
        call=lambda d: d.delete("/t"),
        after={},
        ends={"partly, delete again": lambda store: store.keys() <= {*_TREE, "/t"}},
    ),
    Case(
        name="url_for",
        before={"/a": DATA},
        call=lambda d: d.url_for("/a"),
    ),
]


async def _size(info: Awaitable[FileInfo]) -> int:
    return (await info).size


def _rival(driver: AzureBlobDriver) -> Fault:
    """Before the request is sent, someone else writes to its blob."""

    async def play(request: Any, send: Send) -> Any:
        _, _, name = unquote(urlsplit(request.url).path).lstrip("/").partition("/")
        path = "/" + name.partition("/")[2]
        if path != "/":
            await driver.put_content(path, RIVAL)
        return await send()

    return Fault("412 by a rival", play)


FAULTS: Final[Mapping[str, Callable[[int], Fault]]] = {
    "refused": lambda n: refuse(after=n),
    "reset before sending": lambda n: reset(after=n),
    "reset after the effect": lambda n: lose_answer(after=n),
    "reset in mid-answer": lambda n: cut_answer(after=n),
    "stalled past the time-out": lambda n: stall(after=n),
    "500 before": lambda n: answer(500, "InternalError", after=n),
    "500 after the effect": lambda n: answer_after(500, "OperationTimedOut", after=n),
    "503 once": lambda n: answer(503, "ServerBusy", after=n),
    "503 for ever": lambda n: answer(503, "ServerBusy", after=n, times=None),
    "412 by a rival": lambda n: Fault("", _never, after=n),  # replaced: it needs a driver
}


async def _never(request: Any, send: Send) -> Any:
    raise AssertionError("not to be played")


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


class Lab:
    """Runs operations against one server, each in a container of its own."""

    def __init__(self, connection_string: str, *, at_once: int = 8) -> None:
        self._connection_string = connection_string
        self._at_once = asyncio.Semaphore(at_once)

    def driver(
        self, container: str, case: Case, *, attempt_seconds: float = 0.4, **arguments: Any
    ) -> AzureBlobDriver:
        return AzureBlobDriver.from_connection_string(
            self._connection_string,
            container,
            write_mode=case.write_mode,
            append_block_bytes=BLOCK,
            block_bytes=BLOCK,
            read_range_bytes=BLOCK,
            retry=RetrySettings(
                retries=3,
                first_delay_seconds=0.01,
                longest_delay_seconds=0.02,
                attempt_seconds=attempt_seconds,
            ),
            **arguments,
        )

    async def requests_of(self, case: Case) -> int:
        """How many requests the operation sends when nothing happens."""
        requests: list[RecordedRequest] = []
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            async with self.driver(
                container, case, wrap_transport=lambda inner: RecordingTransport(inner, requests)
            ) as driver:
                requests.clear()
                await case.call(driver)
        return len(requests)

    async def with_fault(self, case: Case, name: str, place: int) -> Cell:
        async with self._at_once:
            container = f"sweep-{uuid4().hex}"
            async with self.driver(container, case) as clean:
                await _fill(clean, case)
                faults = Faults()
                async with self.driver(container, case, wrap_transport=faults.wrap) as driver:
                    fault = FAULTS[name](place)
                    if name == "412 by a rival":
                        fault.play = _rival(clean).play
                    faults.add(fault)
                    cell = await self._judge(case, name, place, case.call(driver), clean)
                return cell

    async def time_out(self, case: Case, place: int) -> float:
        """The seconds that a caller's time-out of 0.1 s takes while the service hangs."""
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            faults = Faults()
            async with self.driver(
                container, case, attempt_seconds=30, wrap_transport=faults.wrap
            ) as driver:
                faults.add(stall(after=place, times=None))
                began = time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await case.call(driver)
                    raise AssertionError(f"{case.name} did not wait for request {place}")
                return time.monotonic() - began

    async def with_cancellation(self, case: Case, place: int) -> Cell | None:
        """None when the operation was over before it waited so often.

        One at a time: whatever task is left afterwards is this operation's.
        """
        container = f"sweep-{uuid4().hex}"
        async with self.driver(container, case) as clean:
            await _fill(clean, case)
            async with self.driver(container, case, connections=4) as driver:
                tasks = asyncio.all_tasks()
                call = _CancelledAt(case.call(driver), place)
                cell = await self._judge(case, "cancelled", place, call.run(), clean)
                if not call.reached:
                    return None
                if left := asyncio.all_tasks() - tasks:
                    return Cell(case.name, "cancelled", place, "", f"tasks are left: {left!r:.300}")
                await _is_usable(driver)
            return cell

    async def _judge(
        self, case: Case, fault: str, place: int, call: Awaitable[Any], clean: AzureBlobDriver
    ) -> Cell:
        error: BaseException | None = None
        result: Any = None
        try:
            async with asyncio.timeout(20):
                result = await call
        except (StorageDriverError, asyncio.CancelledError) as caught:
            error = caught
            if isinstance(caught, asyncio.CancelledError) and fault != "cancelled":
                raise
        except Exception as caught:
            wrong = f"{type(caught).__name__} escaped: {caught}"
            return Cell(case.name, fault, place, "", wrong)
        store = await _contents(clean)
        if fault == "412 by a rival":
            return _judge_rival(case, place, error, result, store)
        before = plain(case.before)
        if error is not None and case.resumes and (wrong := await _resumed(clean)):
            return Cell(case.name, fault, place, "", wrong)
        if error is None:
            after = before if case.after is None else case.after
            wrong = "" if store == after else f"the store holds {_shown(store)}"
            if case.result is not None and result != case.result:
                wrong = f"the result is {result!r:.200}"
            return Cell(case.name, fault, place, "ok", wrong)
        if store == before:
            return Cell(case.name, fault, place, "error: as before")
        for word, fits in case.ends.items():
            if fits(store):
                return Cell(case.name, fault, place, f"error: {word}")
        if fault == "cancelled" and store == case.after:
            # A cancelled write may have been applied: its body had been sent.
            return Cell(case.name, fault, place, "error: done")
        return Cell(case.name, fault, place, "", f"after {error!r}: {_shown(store)}")


def _judge_rival(
    case: Case, place: int, error: BaseException | None, result: Any, store: Store
) -> Cell:
    """No value but whole ones: ours, what was there, or the rival's."""
    whole = {RIVAL, DATA, *case.before.values()}
    if case.after is not None:
        whole |= set(case.after.values())
    for path, content in store.items():
        is_part = "resumable" in case.ends and DATA.startswith(content)
        if content not in whole and not (error is not None and is_part):
            wrong = f"{path} is torn: {content!r:.100}"
            return Cell(case.name, "412 by a rival", place, "", wrong)
    if isinstance(result, bytes) and result not in (case.result, RIVAL, RIVAL[10:]):
        return Cell(case.name, "412 by a rival", place, "", f"torn read: {result!r:.100}")
    outcome = "ok" if error is None else f"error: {type(error).__name__}"
    return Cell(case.name, "412 by a rival", place, outcome)


async def _fill(driver: AzureBlobDriver, case: Case) -> None:
    options = replace(driver.options, write_mode="append")
    async with AzureBlobDriver(options) as planting:
        for path, content in case.before.items():
            if path.startswith("~"):
                async with planting.writer(path[1:]) as writer:
                    await writer.write(content)
                    await writer.commit()
            else:
                await planting.put_content(path, content)


async def _contents(driver: AzureBlobDriver) -> dict[str, bytes]:
    return {
        info.path: await driver.get_content(info.path)
        async for info in driver.walk("/")
        if not info.is_dir
    }


async def _resumed(driver: AzureBlobDriver) -> str:
    """Go on with the stream where ``size`` says; what is wrong with the result."""
    try:
        async with driver.writer("/a", append=True) as writer:
            found = writer.size
            await writer.write(DATA[found:])
            await writer.commit()
    except (PathNotFoundError, NotAppendableError):
        return ""  # nothing of the stream had been stored: what was there before still is
    content = await driver.get_content("/a")
    return "" if content == DATA else f"resumed at {found} bytes, it is not what was written"


async def _is_usable(driver: AzureBlobDriver) -> None:
    """More calls at once than the pool has connections: none may have been lost."""
    async with asyncio.timeout(10):
        await asyncio.gather(*(driver.stat("/") for _ in range(8)))


def _shown(store: Store) -> str:
    return (
        ", ".join(f"{path}: {len(content)} bytes" for path, content in store.items()) or "nothing"
    )


class _CancelledAt:
    """Cancels a coroutine the n-th time that it waits."""

    def __init__(self, call: Awaitable[T], place: int) -> None:
        self._call = call
        self._place = place
        self.reached = False

    async def run(self) -> Any:
        return await asyncio.create_task(self._counted(), name="_CancelledAt")

    async def _counted(self) -> Any:
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._call.__await__()
        waits = 0
        throw: BaseException | None = None
        while True:
            try:
                step = steps.send(None) if throw is None else steps.throw(throw)
            except StopIteration as stop:
                return stop.value
            throw = None
            if waits == self._place:
                self.reached = True
                asyncio.get_running_loop().call_soon(task.cancel)
            waits += 1
            try:
                yield step
            except BaseException as error:
                throw = error


async def sweep(lab: Lab, cases: Iterable[Case] = CASES) -> list[Cell]:
    """Each fault at each request of each operation."""
    runs = []
    for case in cases:
        for place in range(await lab.requests_of(case)):
            runs += [lab.with_fault(case, name, place) for name in FAULTS]
    return await asyncio.gather(*runs)


async def cancel_everywhere(lab: Lab, case: Case) -> list[Cell]:
    """A cancellation at each point where the operation waits."""
    cells: list[Cell] = []
    while (cell := await lab.with_cancellation(case, len(cells))) is not None:
        cells.append(cell)
    return cells


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


async def _main() -> int:
    from azdriver.testing.azurite import azurite

    async with azurite() as server:
        lab = Lab(server.connection_string)
        cells = await sweep(lab)
        for case in CASES:
            cells += await cancel_everywhere(lab, case)
    print(table(cells))
    wrong = [cell for cell in cells if cell.wrong]
    for cell in wrong:
        print(f"WRONG: {cell.case}, {cell.fault} at {cell.place}: {cell.wrong}")
    print(f"\n{len(cells)} runs, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main()))
