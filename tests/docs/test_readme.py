"""What the README lists is complete; that its code runs is a matter of ``test_code.py``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from azdriver import StorageDriver
from azdriver.azureblob import RetrySettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TEST_COMMAND = "python -m pip install nox && python -m nox"


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
    assert f"{TEST_COMMAND} && python -m nox -s thorough;" in (ROOT / ".ci" / "run").read_text(
        "utf-8"
    )
