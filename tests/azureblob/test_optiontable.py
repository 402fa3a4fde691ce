"""The page of all options is what the code says now."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from azdriver.azureblob import AzureBlobOptions, RetrySettings
from azdriver.azureblob.optiontable import option_table
from azdriver.azureblob.parametertable import CONNECTION, LAYOUT, OPTIONS, RETRY

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "options.md"


def test_the_page_is_not_stale() -> None:
    made = "python -m azdriver.azureblob.optiontable > docs/reference/options.md"
    assert PAGE.read_text("utf-8") == option_table(), f"make it anew: {made}"


def test_every_option_has_a_meaning_and_a_parameter() -> None:
    table = option_table()
    for field in (*dataclasses.fields(AzureBlobOptions), *dataclasses.fields(RetrySettings)):
        rows = [line for line in table.splitlines() if line.startswith(f"| `{field.name}` | ")]
        cells = rows[0].strip("| ").split(" | ")
        assert len(cells) == 4
        assert all(cells)
    for parameter in (*CONNECTION, *LAYOUT, *OPTIONS, *RETRY):
        assert f"`{parameter}`" in table


def test_every_option_can_be_set_by_a_parameter() -> None:
    of_connection = {"account_url", "container", "credential", "legacy_root_prefix", "retry"}
    options = {field.name for field in dataclasses.fields(AzureBlobOptions)}
    assert {option for option, _ in OPTIONS.values()} == options - of_connection
    settings = {field.name for field in dataclasses.fields(RetrySettings)}
    assert {option for option, _ in RETRY.values()} == settings
