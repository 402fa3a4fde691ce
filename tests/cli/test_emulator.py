"""``azdriver emulator``: started, used by its settings, ended."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest

import azdriver


async def round_trip(settings: dict[str, str]) -> bytes:
    async with azdriver.from_url(settings["AZDRIVER_URL"], environ=settings) as driver:
        await driver.put_content("/a", b"1")
        return await driver.get_content("/a")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_its_settings_can_be_used(ending: signal.Signals) -> None:
    in_json = ["--json"] if ending == signal.SIGINT else []
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "azdriver", "emulator", "--port", "0", *in_json],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            while "on http://" not in (line := process.stderr.readline()):
                assert line  # it may be installed first, and say so
            assert line.endswith("/devstoreaccount1; Ctrl-C ends it\n")
            if in_json:
                settings = json.loads(process.stdout.readline())
            else:
                # As a shell reads them.
                script = process.stdout.readline() + process.stdout.readline() + "env"
                shell = subprocess.run(
                    ["sh", "-c", script], capture_output=True, text=True, check=True, env={}
                )
                settings = dict(line.split("=", 1) for line in shell.stdout.splitlines())
            assert asyncio.run(round_trip(settings)) == b"1"
            process.send_signal(ending)
            assert process.wait(30) == 128 + ending
            expected = "interrupted" if in_json else "terminated"
            assert process.stderr.read() == f"azdriver: {expected}\n"
        finally:
            process.kill()


def test_what_cannot_be_started_is_told_in_one_line() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "azdriver", "emulator", "--port", "0", "--host", "256.0.0.1"],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("azdriver: Azurite ")
    assert process.stderr.count("\n") == 1
