"""Seconds of the soak, so that it does not rot; ``nox -s soak`` runs the half hour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import azdriver

SECONDS = 15


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc/self")
def test_a_short_soak_finds_nothing_wrong() -> None:
    # In a process of its own: what is counted there is the driver's alone.
    root = str(Path(azdriver.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "azdriver.testing.soak", f"--seconds={SECONDS}"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong" in done.stdout


def test_a_soak_can_fail() -> None:
    from azdriver.testing.soak import MAX_BLOCKS_PER_OPERATION, Report, Sample

    def report(*, leak_kib: int = 0, leaked_blocks: float = 0.0, **wrong: int) -> list[str]:
        found = Report(tasks=64, seed=1, fault_share=0.0)
        for second in range(1300):
            operations = 300 * second
            found.samples.append(
                Sample(
                    seconds=second,
                    operations=operations,
                    rss_kib=100_000 + leak_kib * second // 60,
                    descriptors=50 + wrong.get("descriptors", 0) * second,
                    blocks=300_000 + int(leaked_blocks * operations),
                    tasks=64,
                    connections=48,
                    lateness=0.0,
                )
            )
        found.leaked_tasks = wrong.get("tasks", 0)
        found.leaked_connections = wrong.get("connections", 0)
        found.descriptors_after = wrong.get("descriptors_after", 0)
        assert str(found).endswith("nothing wrong" if not found.problems() else "problems")
        return found.problems()

    assert report() == []
    assert report(leak_kib=500, leaked_blocks=MAX_BLOCKS_PER_OPERATION / 2) == []
    for problems in (
        report(leak_kib=3000),
        report(leaked_blocks=1.0),
        report(tasks=1),
        report(connections=1),
        report(descriptors=1),
        report(descriptors_after=1),
    ):
        assert len(problems) == 1
