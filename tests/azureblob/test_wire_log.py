"""The debug line of each request: with the ids that a support request needs, and no secret."""

from __future__ import annotations

import logging
import re

import pytest

from azdriver import AzureBlobDriver, PathNotFoundError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Faults, answer, lose_answer, reset
from azdriver.testing.recording import RecordedRequest

FAST = RetrySettings(first_delay_seconds=0.001)
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
lanes = pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])


def read_along(caplog: pytest.LogCaptureFixture) -> None:
    """From here on; also where the whole run is logged."""
    caplog.clear()
    caplog.set_level(logging.DEBUG, "azdriver.wire")


def wire_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "azdriver.wire"]


@lanes
async def test_each_request_is_one_line_with_its_ids(
    azurite_server: AzuriteServer,
    container: str,
    caplog: pytest.LogCaptureFixture,
    lean_lane: bool,
) -> None:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, lean_lane=lean_lane
    ) as driver:
        read_along(caplog)
        await driver.put_content("/a", b"content")
        await driver.get_content("/a")
        lines = wire_lines(caplog)
    assert [line.partition(", attempt 1, ")[0] for line in lines] == [
        "Get Blob Properties: 404",
        "Put Blob: 201",
        "Get Blob: 206" if not lean_lane else "Get Blob: 200",
    ]
    for line in lines:
        ids = rf"[\d.]+ ms, request id {UUID}, client request id {UUID}"
        assert re.fullmatch(ids, line.partition(", attempt 1, ")[2])


@lanes
async def test_attempts_are_numbered_and_have_an_id_each(
    azurite_server: AzuriteServer,
    container: str,
    caplog: pytest.LogCaptureFixture,
    lean_lane: bool,
) -> None:
    faults = Faults(
        answer(503, "ServerBusy", on="Get Blob Properties"),
        reset(on="Get Blob Properties"),
        lose_answer(on="Get Blob Properties"),
    )
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        lean_lane=lean_lane,
        retry=FAST,
        wrap_transport=faults.wrap,
    ) as driver:
        await driver.put_content("/a", b"content")
        read_along(caplog)
        for fault in faults.faults:
            fault.struck = 0
        await driver.stat("/a")
    lines = wire_lines(caplog)
    assert [line.partition(" ms")[0].rpartition(",")[0] for line in lines] == [
        "Get Blob Properties: 503, attempt 1",
        "Get Blob Properties: ServiceResponseError, attempt 2",
        "Get Blob Properties: ServiceResponseError, attempt 3",
        "Get Blob Properties: 200, attempt 4",
    ]
    assert len({line.rpartition("client request id ")[2] for line in lines}) == 4
    assert "request id injected," in lines[0]
    assert "request id -," in lines[1]


async def test_ids_of_any_other_form_are_not_shown(
    azurite_server: AzuriteServer, container: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = answer(404, "BlobNotFound", headers={"x-ms-request-id": "a b\x1b[31m"})
    faults = Faults()
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, wrap_transport=faults.wrap
    ) as driver:
        read_along(caplog)
        faults.add(bad)
        with pytest.raises(PathNotFoundError):
            await driver.stat("/a")
    assert "request id -, client" in wire_lines(caplog)[0]


async def test_nothing_is_added_to_a_request_while_nobody_reads_along(
    driver: AzureBlobDriver,
    requests: list[RecordedRequest],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "azdriver")
    await driver.put_content("/a", b"content")
    assert requests
    assert wire_lines(caplog) == []
