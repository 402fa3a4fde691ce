"""What the README shows runs as it stands, and what it lists is complete."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from azdriver import StorageDriver
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
# Each project has to choose it, or pytest-asyncio warns.
PYTEST = ("-m", "pytest", "-q", "-o", "asyncio_default_fixture_loop_scope=function")
TEST_COMMAND = "python -m pip install nox && python -m nox"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_its_code_runs(number: int, azurite_server: AzuriteServer, tmp_path: Path) -> None:
    """As a program, or by pytest if it is a test; with nothing replaced in it."""
    code = BLOCKS[number]
    is_test = re.search(r"^(async )?def test_|^class Test", code, re.MULTILINE)
    file = tmp_path / ("test_block.py" if is_test else "block.py")
    file.write_text(code, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", *(PYTEST if is_test else ()), file.name],
        capture_output=True,
        cwd=tmp_path,
        encoding="utf-8",
        env={
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": azurite_server.connection_string,
            "AZDRIVER_AZURITE": azurite_server.connection_string,
        },
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_there_is_code() -> None:
    assert len(BLOCKS) >= 5


def test_every_retry_setting_is_there_with_its_default() -> None:
    section = README[README.index("### Retries") :]
    for field in dataclasses.fields(RetrySettings):
        assert f"`{field.name}`" in section


def test_every_call_is_in_the_contract() -> None:
    table = README[README.index("| call |") : README.index("Every error is")]
    calls = {name for name in vars(StorageDriver) if not name.startswith("_")}
    for call in calls - {"name", "aclose"}:
        assert f"| `{call}(" in table


def test_ci_runs_its_command() -> None:
    assert f"```sh\n{TEST_COMMAND}\n```" in README
    assert f"{TEST_COMMAND};" in (ROOT / ".ci" / "run").read_text("utf-8")
