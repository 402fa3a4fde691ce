"""A hostile server: every operation × every request that it sends × every hostile answer.

A loopback server plays the service. It first answers politely, which tells what each operation
sends; then each of those requests is answered with each of the lies of ``liar``, made out of the
polite answer. One of two ends is allowed: an error of the contract, or a result that a caller can
use. No hang, no request to another container, host or port, no secret in a message.
"""

from __future__ import annotations

import asyncio

import pytest

from azdriver import BackendError
from azdriver.azureblob import session as session_module
from liar.cells import HANG_SECONDS, cells, fault_of, struck
from liar.lies import Hostile, always
from liar.messages import XML, Answer, xml
from liar.operations import OPERATIONS, Target, requests_of
from liar.server import Server, hostile_server, hurried


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_hostile_answer(server: Server, name: str) -> None:
    targets = await requests_of(server, OPERATIONS[name])
    assert targets
    faults: dict[str, str] = {}
    async with hurried(server) as driver:
        server.reset()
        right = await OPERATIONS[name](driver)
        for target, hostile in cells(name, targets, slow=False):
            fault = await struck(server, driver, name, right, target, hostile)
            if fault:
                faults[f"{target[0]} #{target[1]}: {hostile.name}"] = fault
        # Neither a connection nor anything else was lost in all that.
        server.reset()
        async with asyncio.timeout(HANG_SECONDS):
            again = await OPERATIONS[name](driver)
        assert not fault_of(name, again, right, consistent=False)
    assert not faults, f"{len(faults)}: " + "".join(
        f"\n{cell}: {fault}" for cell, fault in faults.items()
    )


async def test_every_slow_answer() -> None:
    """All at once, each with a server of its own: most of the time is waited."""
    faults: dict[str, str] = {}

    async def one(name: str, target: Target, hostile: Hostile) -> None:
        async with hostile_server() as server, hurried(server) as driver:
            right = None if "tree" in name else await OPERATIONS[name](driver)
            fault = await struck(server, driver, name, right, target, hostile)
            if fault:
                faults[f"{name}: {target[0]} #{target[1]}: {hostile.name}"] = fault

    async with asyncio.TaskGroup() as group:
        for name, call in OPERATIONS.items():
            async with hostile_server() as polite_server:
                targets = await requests_of(polite_server, call)
            for target, hostile in cells(name, targets, slow=True):
                group.create_task(one(name, target, hostile))
    assert not faults, f"{len(faults)}: " + "".join(
        f"\n{cell}: {fault}" for cell, fault in faults.items()
    )


async def test_a_defect_of_our_own_is_not_taken_for_a_malformed_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code of ours that the SDK calls: what it raises by mistake has to be seen."""
    async with hurried(server) as driver:
        monkeypatch.setattr(session_module, "MAX_ANSWER_BYTES", "not a number")
        with pytest.raises(TypeError, match="not supported between"):
            await driver.list("/dir")


async def test_a_malformed_answer_keeps_its_status_and_its_cause(server: Server) -> None:
    """Here the SDK adds None to a text, since the error has no message."""
    body = xml("<Error><Code>LeaseIdMissing</Code></Error>")
    async with hurried(server, lean_lane=False) as driver:
        server.lie = always(Answer("409 Conflict", XML, body=body))
        server.operation = "List Blobs"
        with pytest.raises(BackendError, match="malformed answer: TypeError") as caught:
            await driver.list("/dir")
    assert caught.value.status == 409
    assert isinstance(caught.value.__cause__, TypeError)
