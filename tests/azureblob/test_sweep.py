"""Every operation × every request × every fault, and every point of cancellation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.sweep import CASES, FAULTS, Case, Cell, Lab, cancel_everywhere, sweep, table

DOCUMENTED = Path(__file__).parents[2] / "docs" / "fault-sweep.md"
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def lab(azurite_server: AzuriteServer) -> Lab:
    return Lab(azurite_server.connection_string)


def documented() -> dict[tuple[str, str], str]:
    """The published table: what may come of an operation and a fault."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCUMENTED.read_text().splitlines()
        if line.startswith("| ")
    ]
    header, *body = rows
    return {
        (row[0], fault): outcome
        for row in body
        for fault, outcome in zip(header[1:], row[1:], strict=True)
    }


def judge(cells: list[Cell]) -> None:
    print(table(cells))
    wrong = [f"{c.case}, {c.fault} at {c.place}: {c.wrong}" for c in cells if c.wrong]
    assert not wrong, "\n".join(wrong)
    promised = documented()
    for cell in cells:
        if cell.fault == "cancelled":
            continue  # which of the ends it is depends on how far the operation had come
        word = re.sub(r"^error: ", "", cell.outcome)
        assert word in promised[cell.case, cell.fault], f"not in the published table: {cell}"


@by_name
async def test_each_fault_at_each_request_comes_to_one_of_two_ends(lab: Lab, case: Case) -> None:
    cells = await sweep(lab, [case])
    assert len(cells) == len(FAULTS) * await lab.requests_of(case)
    judge(cells)


@by_name
async def test_each_cancellation_comes_to_one_of_two_ends_and_leaks_nothing(
    lab: Lab, case: Case
) -> None:
    judge(await cancel_everywhere(lab, case))


@by_name
async def test_the_callers_time_out_wins_within_a_second_wherever_it_strikes(
    lab: Lab, case: Case
) -> None:
    for place in range(await lab.requests_of(case)):
        # Not a measure of speed: the service hangs, and only the time-out can end the call.
        assert await lab.time_out(case, place) < 0.1 + 1.0


def test_every_operation_is_in_the_published_table() -> None:
    sends_nothing = {"url_for"}
    assert {case for case, _ in documented()} == {case.name for case in CASES} - sends_nothing
