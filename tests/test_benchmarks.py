"""The benchmarks' stand-in is a server that the driver works on, and every script runs."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from azdriver import AzureBlobDriver, StorageDriver
from azdriver.testing.azurite import DEVSTORE_ACCOUNT, DEVSTORE_KEY, AzuriteServer
from azdriver.testing.conformance.contents import ContentConformance
from azdriver.testing.conformance.lifecycle import LifecycleConformance
from azdriver.testing.conformance.paths import PathConformance
from azdriver.testing.conformance.readers import ReaderConformance
from azdriver.testing.conformance.streams import StreamConformance
from azdriver.testing.conformance.trees import TreeConformance

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def standin_endpoint() -> Iterator[str]:
    # By its command: the wheel that is tested does not contain the benchmarks.
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.standin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it says where uvloop is missing
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["endpoint"]
        finally:
            process.stdin.close()
            process.wait(10)


class TestStandin(
    PathConformance,
    ContentConformance,
    ReaderConformance,
    StreamConformance,
    TreeConformance,
    LifecycleConformance,
):
    """What is measured on the stand-in is the work of the real thing.

    Without the tests of signed URLs: it checks no signature, so they would prove nothing.
    """

    @pytest_asyncio.fixture
    async def driver(self, standin_endpoint: str, container: str) -> AsyncIterator[StorageDriver]:
        async with AzureBlobDriver.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={DEVSTORE_ACCOUNT};"
            f"AccountKey={DEVSTORE_KEY};BlobEndpoint={standin_endpoint};",
            container,
        ) as driver:
            yield driver


# The scripts themselves: that they run, not what they measure.

SCRIPTS = {
    "small_contents": {"get", "put"},
    "large_contents": {"put_large"},
    "stream_writes": {"write"},
    "stream_reads": {"read"},
    "trees": {"list_tree", "walk_tree", "naive_walk", "delete_tree"},
    "imports": {"import"},
    "race": {"race"},
}
EMULATOR = {"emulator_put_get", "emulator_stream", "emulator_list", "emulator_delete"}
INSTALLED_WITH_AZDRIVER = {"azdriver", "sdk", "raw"}

needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the benchmarks read the peak of the memory from /proc"
)


def run_module(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def rows_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def quick_run() -> str:
    """Every script that needs no Azurite, in one run and in its smallest form."""
    return run_module("benchmarks.run", "--quick", "--no-azurite")


@needs_linux
def test_every_script_runs(quick_run: str) -> None:
    rows = rows_of(quick_run)
    assert not [row for row in rows if "error" in row]
    measured = {row["workload"] for row in rows if "workload" in row}
    assert measured == set[str]().union(*SCRIPTS.values())


@needs_linux
def test_a_run_says_where_it_was_and_with_what(quick_run: str) -> None:
    rows = rows_of(quick_run)
    assert {"cpu", "cores", "memory_bytes", "system", "python"} <= rows[0]["machine"].keys()
    versions = {row["peer"] for row in rows if "version" in row}
    # Of the others each takes part, or is left out with its reason.
    left_out = {row["left_out"]: row["reason"] for row in rows if "left_out" in row}
    assert versions >= INSTALLED_WITH_AZDRIVER
    assert versions | left_out.keys() >= {"obstore", "opendal", "adlfs"}
    assert all(left_out.values())


@needs_linux
def test_the_server_counts_the_requests(quick_run: str) -> None:
    counted = {
        (row["workload"], row["peer"]): (row["requests"], row.get("ops"))
        for row in rows_of(quick_run)
        if "requests" in row
    }
    requests, puts = counted["put", "azdriver"]
    assert requests == {"Get Blob Properties": puts, "Put Blob": puts}
    requests, gets = counted["get", "azdriver"]
    assert requests == {"Get Blob": gets}


@needs_linux
def test_the_report_is_made_of_a_run(quick_run: str, tmp_path: Path) -> None:
    results = tmp_path / "run.jsonl"
    results.write_text(quick_run)
    printed = run_module("benchmarks.report", str(results), "--print")
    for number in range(1, 13):
        assert f"\n| {number} |" in printed
    document = tmp_path / "performance.md"
    document.write_text((ROOT / "docs" / "performance.md").read_text("utf-8"), "utf-8")
    plots = tmp_path / "plots"
    arguments = (str(results), "--document", str(document), "--plots", str(plots))
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed: tables only")
    run_module("benchmarks.report", *arguments)
    assert "| azdriver | " in document.read_text("utf-8")
    assert {path.name for path in plots.iterdir()} == {
        *("small.svg", "writes.svg", "reads.svg", "trees.svg", "memory.svg", "race.svg")
    }


def test_the_picture_of_the_race_is_that_of_its_recording(tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    run_module("benchmarks.timeline", "--picture", str(picture))
    assert (
        picture.read_bytes() == (ROOT / "docs" / "explanation" / "race-timeline.svg").read_bytes()
    )


def test_the_recorded_race_shows_what_is_said_of_it() -> None:
    recording = (ROOT / "benchmarks" / "results" / "timeline.jsonl").read_text("utf-8")
    old, new = [
        [row for row in rows_of(recording) if (row["way"], row["who"]) == (way, "reader")]
        for way in ("append writer", "azdriver")
    ]
    whole = {"O": 786432, "A": 786432, "B": 786432}

    def is_whole(row: dict[str, Any]) -> bool:
        found = {letter: count for letter, count in row.get("bytes_of", {}).items() if count}
        return len(found) == 1 and found.items() <= whole.items()

    assert all(map(is_whole, new))
    assert {row["outcome"] for row in old} == {"ok", "404"}
    assert any(row.get("bytes_of") == {"O": 0, "A": 0, "B": 0} for row in old)
    assert sum(old[-1]["bytes_of"].values()) == 2 * 786432  # both, for good


@needs_linux
def test_the_emulator_lane_runs(azurite_server: AzuriteServer) -> None:
    output = run_module(
        "benchmarks.emulator",
        *("--quick", "--peers", "azdriver,sdk"),
        environment={"AZDRIVER_AZURITE": azurite_server.connection_string},
    )
    rows = rows_of(output)
    assert not [row for row in rows if "error" in row]
    assert {row["workload"] for row in rows if "workload" in row} == EMULATOR


@needs_linux
@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="no docker-registry here")
def test_the_registries_are_compared_and_reported(
    azurite_server: AzuriteServer, tmp_path: Path
) -> None:
    output = run_module(
        "benchmarks.registry",
        *("--quick", "--note", "nothing to note"),
        environment={"AZDRIVER_AZURITE": azurite_server.connection_string},
    )
    rows = [row for row in rows_of(output) if "workload" in row]
    assert not [row for row in rows if "error" in row]
    assert {(row["workload"], row["case"], row["peer"]) for row in rows} == {
        (workload, case, peer)
        for workload in ("registry_push", "registry_pull")
        for case in ("large", "small")
        for peer in ("azdriver-memory", "azdriver-azurite", "docker-registry")
    }
    results = tmp_path / "registry.jsonl"
    results.write_text(output)
    document = tmp_path / "registry.md"
    document.write_text((ROOT / "docs" / "registry.md").read_text("utf-8"), "utf-8")
    run_module("benchmarks.report.registry", str(results), "--document", str(document))
    filled = document.read_text("utf-8")
    assert "Note: nothing to note." in filled
    assert filled.count("\n| docker-registry | ") == 2


@needs_linux
def test_registries_that_are_not_installed_are_left_out(azurite_server: AzuriteServer) -> None:
    with_nothing = {"PATH": "", "AZDRIVER_AZURITE": azurite_server.connection_string}
    rows = rows_of(run_module("benchmarks.registry", "--quick", environment=with_nothing))
    assert {row["left_out"] for row in rows if "left_out" in row} == {"docker-registry"}
    measured = {row["peer"] for row in rows if "workload" in row and "error" not in row}
    assert measured == {"azdriver-memory", "azdriver-azurite"}
