"""Spans and metrics: of each operation of any driver, by the conventions, and no more than that."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

import azdriver.telemetry
from azdriver import (
    AzureBlobDriver,
    BackendError,
    MemoryDriver,
    PathNotFoundError,
    StorageDriverError,
)
from azdriver.azureblob import RetrySettings
from azdriver.base import BaseDriver
from azdriver.telemetry import DURATION_BOUNDARIES, loaded_telemetry
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer
from contract_calls import OPERATIONS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_recording import RecordedTelemetry


@pytest.fixture
async def memory() -> AsyncIterator[MemoryDriver]:
    async with MemoryDriver() as driver:
        yield driver


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def current_span_is_valid() -> bool:
    from opentelemetry import trace

    return trace.get_current_span().get_span_context().is_valid


async def test_each_operation_is_one_span(
    memory: MemoryDriver, telemetry: RecordedTelemetry
) -> None:
    await memory.put_content("/a", b"content")
    assert await memory.get_content("/a") == b"content"
    async with memory.writer("/a/b") as writer:
        await writer.write(b"more")
        await writer.commit()
    async with memory.reader("/a/b", 1) as reader:
        await reader.read()
    await memory.stat("/a")
    await memory.list("/")
    assert [info.path async for info in memory.walk("/")]
    await memory.move("/a/b", "/c")
    await memory.delete("/a")
    assert [(span.name, attributes(span)["azdriver.bytes"]) for span in telemetry.spans] == [
        ("put_content memory", 7),
        ("get_content memory", 7),
        ("writer memory", 4),
        ("reader memory", 3),
        ("stat memory", 0),
        ("list memory", 0),
        ("walk memory", 0),
        ("move memory", 0),
        ("delete memory", 0),
    ]
    assert {span.kind.name for span in telemetry.spans} == {"INTERNAL"}
    assert attributes(telemetry.spans[0]) == {
        "azdriver.driver": "memory",
        "azdriver.operation": "put_content",
        "azdriver.path": "/a",
        "azdriver.bytes": 7,
    }
    assert {span.status.status_code.name for span in telemetry.spans} == {"UNSET"}


async def test_a_failure_is_told_by_its_type_alone(
    memory: MemoryDriver, telemetry: RecordedTelemetry
) -> None:
    with pytest.raises(PathNotFoundError):
        await memory.get_content("/missing")
    with pytest.raises(RuntimeError):
        await memory.put_content("/a", b"x")
        async with memory.reader("/a"):
            raise RuntimeError("a secret of the caller's")
    first, _, last = telemetry.spans
    for span, kind in ((first, "PathNotFoundError"), (last, "RuntimeError")):
        assert attributes(span)["error.type"] == kind
        assert span.status.status_code.name == "ERROR"
        assert span.status.description is None
        assert span.events == ()
    assert "a secret" not in telemetry.text()


async def test_the_metrics_are_a_histogram_of_seconds_and_a_counter_of_bytes(
    memory: MemoryDriver, telemetry: RecordedTelemetry
) -> None:
    for _ in range(3):
        await memory.put_content("/a", b"content")
    with pytest.raises(PathNotFoundError):
        await memory.get_content("/missing")
    points = telemetry.points()
    durations = {
        (point.attributes["azdriver.operation"], point.attributes.get("error.type")): point
        for point in points["azdriver.operation.duration"]
    }
    assert {key: point.count for key, point in durations.items()} == {
        ("put_content", None): 3,
        ("get_content", "PathNotFoundError"): 1,
    }
    put = durations["put_content", None]
    assert tuple(put.explicit_bounds) == DURATION_BOUNDARIES
    # Few values each: no path is among them.
    assert dict(put.attributes) == {
        "azdriver.driver": "memory",
        "azdriver.operation": "put_content",
    }
    [written] = points["azdriver.operation.io"]
    assert (written.value, written.attributes["azdriver.operation"]) == (21, "put_content")


async def test_no_span_is_current_in_a_callers_block(
    memory: MemoryDriver, telemetry: RecordedTelemetry
) -> None:
    """The block may be left in another task than it was entered in (PEP 789)."""
    await memory.put_content("/a", b"content")
    async with memory.reader("/a"), memory.writer("/b"):
        assert not current_span_is_valid()
    walk = memory.walk("/")
    async for _ in walk:
        assert not current_span_is_valid()
        break
    # In a context of its own, as a framework ends what another task has begun.
    await asyncio.create_task(walk.aclose(), context=copy_context())
    assert telemetry.spans[-1].name == "walk memory"
    assert telemetry.spans[-1].status.status_code.name == "UNSET"
    assert not current_span_is_valid()


async def test_spans_have_the_callers_span_above_them(
    memory: MemoryDriver, telemetry: RecordedTelemetry
) -> None:
    from opentelemetry import trace

    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        await memory.put_content("/a", b"content")
        async with memory.reader("/a"):
            pass
        _ = [info async for info in memory.walk("/")]
        assert trace.get_current_span() is caller
    *own, last = telemetry.spans
    assert last.name == "caller"
    assert len(own) == 3
    for span in own:
        assert span.parent == caller.get_span_context()


async def test_what_an_operation_sends_is_below_its_span(
    azurite_server: AzuriteServer, container: str, telemetry: RecordedTelemetry
) -> None:
    from opentelemetry import trace

    async def play(request: Any, send: Send) -> Any:
        with trace.get_tracer("test").start_as_current_span(request.method):
            return await send()

    faults = Faults(Fault("trace", play, times=None))
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, wrap_transport=faults.wrap
    ) as driver:
        await driver.put_content("/a", b"content")
    *requests, operation = telemetry.spans[-3:]
    assert [span.name for span in requests] == ["HEAD", "PUT"]
    for span in requests:
        assert span.parent == operation.get_span_context()


async def test_the_server_is_told_where_there_is_one(
    azurite_server: AzuriteServer, container: str, telemetry: RecordedTelemetry
) -> None:
    faults = Faults()
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        wrap_transport=faults.wrap,
        retry=RetrySettings(retries=0),
    ) as driver:
        await driver.put_content("/a", b"content")
        faults.add(answer(412, "LeaseIdMissing", times=None))
        with pytest.raises(BackendError):
            await driver.get_content("/a")
    put, get = telemetry.spans
    server = {
        "server.address": "127.0.0.1",
        "server.port": int(azurite_server.blob_endpoint.split(":")[2].partition("/")[0]),
        "azure.resource_provider.namespace": "Microsoft.Storage",
    }
    assert put.kind.name == "CLIENT"
    assert server.items() <= attributes(put).items()
    assert attributes(get) == {
        **server,
        "azdriver.driver": "azure",
        "azdriver.operation": "get_content",
        "azdriver.path": "/a",
        "azdriver.bytes": 0,
        "error.type": "BackendError",
        "azdriver.error_code": "LeaseIdMissing",
        "http.response.status_code": 412,
        "azure.service.request.id": "injected",
    }
    [point] = [
        point
        for point in telemetry.points()["azdriver.operation.duration"]
        if point.attributes["azdriver.operation"] == "get_content"
    ]
    assert dict(point.attributes) == {
        **server,
        "azdriver.driver": "azure",
        "azdriver.operation": "get_content",
        "error.type": "BackendError",
    }


async def test_every_operation_of_the_contract_is_observed(
    driver: AzureBlobDriver, telemetry: RecordedTelemetry
) -> None:
    for name, operation in OPERATIONS.items():
        before = len(telemetry.spans)
        with suppress(StorageDriverError):  # some find nothing, or what they cannot use
            await operation(driver, "/a")
        method = name.partition(",")[0]
        assert [span.name for span in telemetry.spans[before:]] == [f"{method} azure"]


@pytest.mark.parametrize("error", [ImportError, TypeError])
async def test_an_api_that_is_too_old_is_left_alone(
    memory: BaseDriver,
    telemetry: RecordedTelemetry,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise error

    monkeypatch.setattr(azdriver.telemetry, "Telemetry", fail)
    monkeypatch.setattr(azdriver.telemetry, "_telemetry", None)
    monkeypatch.setattr(azdriver.telemetry, "_is_unusable", False)
    for _ in range(3):
        await memory.put_content("/a", b"content")
    assert tries == [1]
    assert telemetry.spans == []


def test_the_api_is_not_loaded_for_an_application_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(azdriver.telemetry, "_telemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert loaded_telemetry() is None
    assert "opentelemetry.trace" not in sys.modules
