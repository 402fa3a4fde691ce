"""Runs cases: the peers interleaved in random order, one JSON line a sample, failures loud."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from benchmarks.peers import Place, Tuning
from benchmarks.standin import Standin, standin

__all__ = [
    "SHAPES",
    "Case",
    "Output",
    "Session",
    "Settings",
    "Shape",
    "arguments",
    "run_script",
    "session",
]

ROOT: Final = Path(__file__).parents[1]
MIB: Final = 1024 * 1024
SAMPLE_SECONDS: Final = 600.0
CONTAINER: Final = "bench"
DISCARD_ABOVE: Final = 128 * 1024

ACCOUNT_NAME: Final = "devstoreaccount1"
# Published by Microsoft, the same everywhere: not a secret.
ACCOUNT_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What stands for a network: a delay a request, and a rate a request and direction."""

    delay_ms: float = 0
    bytes_per_second: float = 0


SHAPES: Final = {
    "none": Shape(),
    "2ms": Shape(delay_ms=2),
    "5ms": Shape(delay_ms=5),
    "10ms": Shape(delay_ms=10),
    "20ms": Shape(delay_ms=20),
    "50ms": Shape(delay_ms=50),
    "limited": Shape(delay_ms=5, bytes_per_second=100e6),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One workload in one setting, for several peers.

    Attributes:
        workload: the name of the row.
        sample: the function of ``samples.py``; the workload's name if empty.
        peers: who takes part; ``NAME@uvloop`` for that event loop.
        params: the numbers of the workload.
        shape: the name of the network's shape.
        tuning: what the peers are told.
        plant: what is to be there, made before each sample in an empty container.
        is_kept: the samples leave what was planted: plant once.
    """

    workload: str
    peers: Sequence[str]
    params: dict[str, Any]
    sample: str = ""
    shape: str = "none"
    tuning: Tuning = field(default_factory=Tuning)
    plant: Callable[[Standin, str], None] | None = None
    is_kept: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The command line."""

    rounds: int
    is_quick: bool
    size_mib: int
    count: int
    only_peers: frozenset[str]
    output: Path | None

    def scale(self, full: int, quick: int) -> int:
        """A size that ``--quick`` makes small."""
        return quick if self.is_quick else full


class Output:
    """JSON lines on standard output, or in a file; and whether anything failed."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.failures = 0

    def row(self, row: dict[str, Any]) -> None:
        print(json.dumps(row, separators=(",", ":")), file=self._target, flush=True)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def failed(self, text: str) -> None:
        self.failures += 1
        self.say(f"FAILED: {text}")


class _Worker:
    """The process of one peer; started when it is first needed."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.hello = self._answer(60)

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(seconds, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            return {"error": f"its process ended with status {self._process.wait()}"}
        row: dict[str, Any] = json.loads(line)
        return row

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "its process is gone"}
        return self._answer(SAMPLE_SECONDS)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Session:
    """The servers and the workers of one run."""

    def __init__(self, settings: Settings, output: Output) -> None:
        self.settings = settings
        self.output = output
        self._stack = ExitStack()
        self._standin: Standin | None = None
        self._workers: dict[str, _Worker] = {}
        self._left_out: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for worker in self._workers.values():
            worker.close()
        self._stack.close()

    @property
    def standin(self) -> Standin:
        if self._standin is None:
            self._standin = self._stack.enter_context(standin())
        return self._standin

    def _worker(self, peer: str) -> _Worker | None:
        """None for one that is left out."""
        if peer in self._left_out:
            return None
        if peer not in self._workers:
            worker = _Worker(peer)
            if "version" not in worker.hello:
                worker.close()
                self._left_out.add(peer)
                reason = worker.hello.get("missing")
                if reason is None:
                    self.output.failed(f"{peer}: {worker.hello}")
                else:
                    self.output.say(f"LEFT OUT: {peer}: {reason}")
                self.output.row({"left_out": peer, "reason": reason or worker.hello})
                return None
            self.output.row({"peer": peer, "version": worker.hello["version"]})
            self._workers[peer] = worker
        return self._workers[peer]

    def run(self, cases: Sequence[Case], endpoint: str | None = None) -> None:
        """Each case, on the stand-in, or on the server at ``endpoint``."""
        for case in cases:
            self._run_case(case, endpoint)

    def _run_case(self, case: Case, endpoint: str | None) -> None:
        chosen = self.settings.only_peers
        peers = [p for p in case.peers if not chosen or p.partition("@")[0] in chosen]
        planted = False
        for round_number in range(self.settings.rounds):
            for peer in random.sample(peers, k=len(peers)):  # drift must hit all alike
                worker = self._worker(peer)
                if worker is None:
                    continue
                container = CONTAINER
                control = None
                if endpoint is None:
                    server = self.standin
                    server.shape(discard_above=DISCARD_ABOVE)
                    if not (case.is_kept and planted):
                        server.container(CONTAINER)
                        if case.plant is not None:
                            case.plant(server, CONTAINER)
                        planted = True
                    server.shape(
                        **dataclasses.asdict(SHAPES[case.shape]), discard_above=DISCARD_ABOVE
                    )
                    control = server.endpoint
                else:
                    container = f"bench-{peer.replace('@', '-')}"
                place = Place(
                    endpoint=endpoint or self.standin.endpoint,
                    account_name=ACCOUNT_NAME,
                    account_key=ACCOUNT_KEY,
                    container=container,
                )
                unique = f"{case.workload}-{time.time_ns():x}"
                answer = worker.ask(
                    {
                        "sample": case.sample or case.workload,
                        "place": dataclasses.asdict(place),
                        "tuning": dataclasses.asdict(case.tuning),
                        "params": case.params | {"unique": unique},
                        "control": control,
                    }
                )
                self._report(case, endpoint, peer, round_number, answer)

    def _report(
        self, case: Case, endpoint: str | None, peer: str, number: int, answer: dict[str, Any]
    ) -> None:
        tuning = {k: v for k, v in dataclasses.asdict(case.tuning).items() if v is not None}
        setting = {"shape": case.shape, **({"tuning": tuning} if tuning else {}), **case.params}
        server = "standin" if endpoint is None else "azurite"
        row = {"workload": case.workload, "peer": peer, "round": number, "server": server}
        self.output.row(row | setting | answer)
        told = f"{case.workload} {setting} {peer} #{number}"
        if "error" in answer:
            self.output.failed(f"{told}: {answer['error']}")
        else:
            self.output.say(f"{told}: {answer['seconds']:.3f} s, CPU {answer['cpu_seconds']:.3f} s")


def machine() -> dict[str, Any]:
    """What the numbers are from."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def arguments(about: str | None, more: argparse.ArgumentParser | None = None) -> Settings:
    """The command line that all scripts have."""
    parser = more or argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=0, help="default 5; 1 with --quick")
    parser.add_argument("--size-mib", type=int, default=0, help="of a stream, default 512")
    parser.add_argument("--count", type=int, default=0, help="small operations a sample")
    parser.add_argument("--peers", default="", help="only these, with commas between them")
    parser.add_argument("--output", type=Path, help="a file, instead of standard output")
    parser.add_argument("--quick", action="store_true", help="does it run? measures nothing")
    given = parser.parse_args()
    return Settings(
        rounds=given.rounds or (1 if given.quick else 5),
        is_quick=given.quick,
        size_mib=given.size_mib or (16 if given.quick else 512),
        count=given.count or (32 if given.quick else 2000),
        only_peers=frozenset(filter(None, given.peers.split(","))),
        output=given.output,
    )


@contextmanager
def session(settings: Settings) -> Iterator[Session]:
    """A run, whose first line says where and when; the exit status says whether all went well."""
    with ExitStack() as stack:
        target: TextIO = sys.stdout
        if settings.output is not None:
            settings.output.parent.mkdir(parents=True, exist_ok=True)
            target = stack.enter_context(settings.output.open("w"))
        output = Output(target)
        output.row(
            {
                "machine": machine(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "rounds": settings.rounds,
                "quick": settings.is_quick,
            }
        )
        with Session(settings, output) as run:
            yield run
    if output.failures:
        sys.exit(f"{output.failures} samples failed; they are in the output with their errors")


def run_script(about: str | None, cases: Callable[[Settings], Sequence[Case]]) -> None:
    """The whole of a script whose cases run on the stand-in."""
    settings = arguments(about)
    with session(settings) as run:
        run.run(cases(settings))
