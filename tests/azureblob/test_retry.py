"""The retry policy on a clock of its own: what is sent again, when, and until when."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import StorageErrorCode

from azdriver import AzureBlobDriver
from azdriver.azureblob import RetrySettings
from azdriver.azureblob.client import Clients
from azdriver.azureblob.lean import LeanLane
from azdriver.azureblob.regulator import Regulator
from azdriver.azureblob.retry import (
    NotSentError,
    Retrier,
    RetryPolicy,
    is_ambiguous,
    retry_after_seconds,
)
from azdriver.azureblob.wire import Meter
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse

READS = ("GET", "HEAD")
WRITES = ("PUT", "DELETE", "POST")
TRANSIENT = (408, 429, 500, 502, 503, 504)
FINAL = (200, 201, 206, 304, 400, 401, 403, 404, 409, 412, 416, 501, 505)


class FakeTime:
    """A clock that only moves when someone sleeps, or is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


Step = AzureError | tuple[int, str] | tuple[int, str, dict[str, str]] | Callable[[], Any]


class ScriptedTransport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Answers by a script; its last line is for all further requests."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[HttpRequest] = []
        self.options: list[dict[str, Any]] = []
        self.responses: list[CannedResponse] = []

    async def send(self, request: HttpRequest, **kwargs: Any) -> AsyncHttpResponse:
        self.requests.append(request)
        self.options.append(kwargs)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, AzureError):
            raise step
        if callable(step):
            step = await step()
        assert isinstance(step, tuple)
        status, code, *headers = step
        response = CannedResponse(request, status, code, headers=headers[0] if headers else None)
        self.responses.append(response)
        return response

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def __aexit__(self, *exc: object) -> None:
        pass


SETTINGS = RetrySettings(retries=3, first_delay_seconds=0.2, longest_delay_seconds=0.7)


class Harness:
    """One policy over one scripted transport."""

    def __init__(
        self, *script: Step, settings: RetrySettings = SETTINGS, jitter: float = 1.0
    ) -> None:
        self.time = FakeTime()
        self.regulator = Regulator(1)
        self.meter = Meter()
        self.transport = ScriptedTransport(*script)
        self.policy = RetryPolicy(
            settings,
            self.regulator,
            self.meter,
            clock=self.time,
            sleep=self.time.sleep,
            jitter=lambda: jitter,
        )
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            self.transport, policies=[self.policy]
        )

    async def send(self, method: str, *, body_bytes: int = 0, **options: Any) -> AsyncHttpResponse:
        headers = {"Content-Length": str(body_bytes)} if body_bytes else None
        request = HttpRequest(method, "http://127.0.0.1/account/container/blob", headers=headers)
        return (await self._pipeline.run(request, **options)).http_response

    @property
    def sent(self) -> int:
        return len(self.transport.requests)


OK = (200, "")


@pytest.mark.parametrize(("jitter", "factor"), [(1.0, 1.0), (0.5, 0.75), (0.0, 0.5)])
async def test_the_waits_double_up_to_the_longest_with_jitter(jitter: float, factor: float) -> None:
    settings = RetrySettings(retries=4, first_delay_seconds=0.2, longest_delay_seconds=0.7)
    harness = Harness((503, "ServerBusy"), settings=settings, jitter=jitter)
    response = await harness.send("GET")
    assert response.status_code == 503
    assert harness.sent == 5
    assert harness.time.sleeps == pytest.approx([w * factor for w in (0.2, 0.4, 0.7, 0.7)])


async def test_the_jitter_of_a_policy_is_not_always_the_same() -> None:
    waits = []
    for _ in range(20):
        clock = FakeTime()
        policy = RetryPolicy(SETTINGS, Regulator(100), Meter(), clock=clock, sleep=clock.sleep)
        pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            ScriptedTransport((503, "ServerBusy"), OK), policies=[policy]
        )
        await pipeline.run(HttpRequest("GET", "http://127.0.0.1/"))
        waits += clock.sleeps
    assert all(0.1 <= wait <= 0.2 for wait in waits)
    assert len(set(waits)) > 10


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("status", TRANSIENT)
async def test_a_read_is_sent_again_after_every_transient_answer(method: str, status: int) -> None:
    harness = Harness((status, ""), (status, "InternalError"), OK)
    assert (await harness.send(method)).status_code == 200
    assert harness.sent == 3


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize(
    "failure",
    [
        NotSentError("no connection"),
        ServiceRequestError("lost"),
        ServiceResponseError("lost"),
        ServiceResponseTimeoutError("late"),
        IncompleteReadError("cut"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_read_is_sent_again_after_every_lost_answer(
    method: str, failure: AzureError
) -> None:
    harness = Harness(failure, failure, OK)
    assert (await harness.send(method)).status_code == 200
    assert harness.sent == 3


@pytest.mark.parametrize("method", [*READS, *WRITES])
@pytest.mark.parametrize("status", FINAL)
async def test_any_other_answer_is_final(method: str, status: int) -> None:
    harness = Harness((status, "Whatever"))
    assert (await harness.send(method)).status_code == status
    assert harness.sent == 1
    assert harness.time.sleeps == []


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "refusal", [(429, ""), (429, "TooManyRequests"), (503, "ServerBusy")], ids=str
)
async def test_a_write_is_sent_again_if_the_service_refused_it(
    method: str, refusal: tuple[int, str]
) -> None:
    harness = Harness(refusal, refusal, (201, ""))
    assert (await harness.send(method)).status_code == 201
    assert harness.sent == 3


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "answer",
    [
        (503, ""),
        (503, "InternalError"),
        (500, "InternalError"),
        (500, "OperationTimedOut"),
        (500, "ServerBusy"),
        (502, ""),
        (504, ""),
        (408, ""),
    ],
    ids=str,
)
async def test_a_write_that_may_have_been_applied_is_not_sent_again(
    method: str, answer: tuple[int, str]
) -> None:
    harness = Harness(answer)
    assert (await harness.send(method)).status_code == answer[0]
    assert harness.sent == 1


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "failure",
    [
        ServiceRequestError("lost"),
        ServiceResponseError("lost"),
        ServiceResponseTimeoutError("late"),
        IncompleteReadError("cut"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_write_whose_answer_was_lost_is_not_sent_again(
    method: str, failure: AzureError
) -> None:
    harness = Harness(failure)
    with pytest.raises(AzureError) as caught:
        await harness.send(method)
    assert caught.value is failure
    assert harness.sent == 1


@pytest.mark.parametrize("method", [*READS, *WRITES])
async def test_what_was_never_sent_is_sent_again(method: str) -> None:
    harness = Harness(NotSentError("refused"), NotSentError("refused"), OK)
    assert (await harness.send(method)).status_code == 200
    assert harness.sent == 3
    assert harness.time.sleeps == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("method", [*READS, *WRITES])
async def test_the_attempts_end(method: str) -> None:
    harness = Harness(NotSentError("refused"))
    with pytest.raises(NotSentError):
        await harness.send(method)
    assert harness.sent == 1 + SETTINGS.retries


@pytest.mark.parametrize("method", READS)
async def test_no_retries_means_one_attempt(method: str) -> None:
    harness = Harness((503, "ServerBusy"), settings=RetrySettings(retries=0))
    assert (await harness.send(method)).status_code == 503
    assert harness.sent == 1


async def test_an_error_of_another_kind_is_not_sent_again() -> None:
    for failure in (ClientAuthenticationError("no"), AzureError("what?")):
        harness = Harness(failure)
        with pytest.raises(AzureError) as caught:
            await harness.send("GET")
        assert caught.value is failure
        assert harness.sent == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("refusal", [(429, "TooManyRequests"), (503, "ServerBusy")], ids=str)
async def test_the_wait_is_as_long_as_the_service_asks(
    method: str, refusal: tuple[int, str]
) -> None:
    harness = Harness((*refusal, {"Retry-After": "7"}), (*refusal, {"retry-after": "0.1"}), OK)
    assert (await harness.send(method)).status_code == 200
    # The second one asks for less than our own wait.
    assert harness.time.sleeps == pytest.approx([7, 0.4])


async def test_a_date_to_wait_for_is_waited_for() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    harness = Harness((503, "ServerBusy", {"Retry-After": date}), OK)
    assert (await harness.send("GET")).status_code == 200
    [wait] = harness.time.sleeps
    assert 25 < wait <= 30


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("3", 3),
        ("0.5", 0.5),
        ("-3", 0),
        ("nan", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Wed, 99 Oct 9999 07:28:00 GMT", 0),
    ],
)
def test_what_a_retry_after_says(text: str | None, seconds: float) -> None:
    assert retry_after_seconds({} if text is None else {"Retry-After": text}) == seconds


@pytest.mark.parametrize("asked", ["61", "inf", "1e400"])
async def test_a_wait_past_the_deadline_is_not_begun(asked: str) -> None:
    harness = Harness(
        (503, "ServerBusy", {"Retry-After": asked}), settings=RetrySettings(total_seconds=60)
    )
    assert (await harness.send("GET")).status_code == 503
    assert (harness.sent, harness.time.sleeps) == (1, [])


async def test_the_attempts_end_at_the_deadline_over_all() -> None:
    settings = RetrySettings(
        retries=1000, first_delay_seconds=1, longest_delay_seconds=8, total_seconds=20
    )
    harness = Harness(NotSentError("refused"), settings=settings)
    with pytest.raises(NotSentError):
        await harness.send("PUT")
    assert harness.time.sleeps == [1, 2, 4, 8]  # the next 8 would end behind it
    assert harness.time.now - 1000 < 20


async def test_a_large_body_moves_the_deadline() -> None:
    settings = RetrySettings(
        retries=1000,
        first_delay_seconds=8,
        longest_delay_seconds=8,
        total_seconds=20,
        slowest_bytes_per_second=1000,
    )
    harness = Harness(NotSentError("refused"), settings=settings)
    with pytest.raises(NotSentError):
        await harness.send("PUT", body_bytes=20_000)
    assert harness.time.sleeps == [8, 8, 8, 8]  # within 40 s


async def stalled() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize(("method", "attempts"), [("GET", 3), ("PUT", 1), ("DELETE", 1)])
async def test_an_attempt_that_stalls_ends(method: str, attempts: int) -> None:
    settings = RetrySettings(retries=2, attempt_seconds=0.05)
    harness = Harness(stalled, settings=settings)
    began = time.monotonic()
    with pytest.raises(ServiceResponseTimeoutError, match=r"no answer within 0\.1 s"):
        await harness.send(method)
    assert harness.sent == attempts
    assert time.monotonic() - began < 5


async def test_a_stalled_read_succeeds_at_the_second_attempt() -> None:
    harness = Harness(stalled, OK, settings=RetrySettings(attempt_seconds=0.05))
    assert (await harness.send("GET")).status_code == 200
    assert harness.sent == 2


async def test_no_attempt_goes_on_past_the_deadline_over_all() -> None:
    settings = RetrySettings(retries=5, attempt_seconds=1000, total_seconds=0.2)
    transport = ScriptedTransport(stalled)
    pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
        transport, policies=[RetryPolicy(settings, Regulator(100), Meter())]
    )
    began = time.monotonic()
    with pytest.raises(ServiceResponseTimeoutError):
        await pipeline.run(HttpRequest("GET", "http://127.0.0.1/"))
    assert len(transport.requests) == 1
    assert 0.2 <= time.monotonic() - began < 5


async def test_a_cancelled_wait_is_a_cancellation() -> None:
    harness = Harness(stalled)
    task = asyncio.create_task(harness.send("GET"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert harness.sent == 1


async def test_an_answer_that_is_not_wanted_is_closed_before_the_wait() -> None:
    """A streamed one holds its connection."""
    harness = Harness((503, "ServerBusy"), (500, ""), OK)
    last = await harness.send("GET")
    assert [response.is_closed for response in harness.transport.responses] == [True, True, False]
    assert last is harness.transport.responses[-1]


async def test_the_options_of_the_sdks_own_policy_do_not_reach_the_transport(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "azdriver")  # at DEBUG the number of the attempt goes along
    harness = Harness(OK)
    response: Any = await harness.send(
        "GET", hosts={"primary": "127.0.0.1"}, location_mode="primary", retry_to_secondary=False
    )
    assert harness.transport.options == [{}]
    assert response.location_mode == "primary"


@pytest.fixture
async def clients(azurite_server: AzuriteServer, container: str) -> AsyncIterator[Clients]:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container
    ) as driver:
        yield driver._clients


def retry_policies(pipeline: Any) -> list[Any]:
    """Those in the chain of a pipeline, as its requests go through it; the SDK's too."""
    found = []
    node = pipeline._impl_policies[0]
    while node is not None:
        if "Retry" in type(node).__name__:
            found.append(node)
        node = getattr(node, "next", None)
    return found


async def test_each_pipeline_has_one_retry_policy_of_its_own(clients: Clients) -> None:
    """Of two that shared one, requests of one client would go out through the other's transport."""
    assert isinstance(clients.lane, LeanLane)
    [of_sdk] = retry_policies(clients.service._pipeline)
    [of_lean] = retry_policies(clients.lane._pipeline)
    assert isinstance(of_sdk, RetryPolicy)
    assert isinstance(of_lean, RetryPolicy)
    assert of_sdk is not of_lean
    assert of_sdk.next is not of_lean.next


def test_which_failures_are_ambiguous() -> None:
    request = HttpRequest("PUT", "http://127.0.0.1/")

    def answered(status: int, code: str = "") -> HttpResponseError:
        error = HttpResponseError(response=CannedResponse(request, status, code))
        error.error_code = code  # type: ignore[attr-defined] # as the SDK sets it
        return error

    for status in (408, 500, 502, 503, 504):
        assert is_ambiguous(answered(status))
    for status in FINAL:
        assert not is_ambiguous(answered(status))
    assert not is_ambiguous(answered(429))
    assert not is_ambiguous(answered(503, "ServerBusy"))
    assert not is_ambiguous(answered(503, StorageErrorCode.SERVER_BUSY))
    assert is_ambiguous(ServiceRequestError("lost"))
    assert is_ambiguous(ServiceResponseError("lost"))
    assert is_ambiguous(IncompleteReadError("cut"))
    assert not is_ambiguous(NotSentError("refused"))
    assert not is_ambiguous(ClientAuthenticationError("no"))


class TestSettle:
    """Writes whose answer was lost."""

    @pytest.fixture
    def retrier(self) -> Retrier:
        return Retrier(RetrySettings(retries=2, first_delay_seconds=0.001), Meter())

    async def test_what_was_applied_is_not_sent_again(self, retrier: Retrier) -> None:
        sent = []

        async def send() -> str:
            sent.append(1)
            raise ServiceResponseError("lost")

        async def look() -> str | None:
            return "found"

        assert await retrier.settle(send, look) == "found"
        assert len(sent) == 1

    async def test_what_was_not_applied_is_sent_again(self, retrier: Retrier) -> None:
        calls = []

        async def send() -> str:
            calls.append("send")
            if len(calls) < 4:
                raise ServiceResponseError("lost")
            return "sent"

        async def look() -> str | None:
            calls.append("look")
            return None

        assert await retrier.settle(send, look) == "sent"
        assert calls == ["send", "look", "send", "look", "send"]

    async def test_it_ends(self, retrier: Retrier) -> None:
        calls = []

        async def send() -> str:
            calls.append("send")
            raise ServiceResponseError("lost")

        async def look() -> str | None:
            calls.append("look")
            return None

        with pytest.raises(ServiceResponseError):
            await retrier.settle(send, look)
        # The last one is looked for too: it may have been applied.
        assert calls == ["send", "look"] * 3

    async def test_what_is_certain_is_raised_at_once(self, retrier: Retrier) -> None:
        async def send() -> str:
            raise NotSentError("refused")

        async def look() -> str | None:
            raise AssertionError("nothing to look for")

        with pytest.raises(NotSentError):
            await retrier.settle(send, look)


async def test_the_wait_for_a_slot_counts_for_no_time_out() -> None:
    """However long the queue is: what was waited is added to the deadline of all attempts."""
    harness = Harness((503, "ServerBusy"), (200, ""))
    assert harness.regulator.try_enter()
    sending = asyncio.create_task(harness.send("PUT"))
    await asyncio.sleep(0)
    assert harness.transport.requests == []
    harness.time.now += 10 * SETTINGS.total_seconds
    harness.regulator.leave(harness.regulator.window, False)
    assert (await sending).status_code == 200
    assert len(harness.transport.requests) == 2
    assert harness.regulator.in_flight == 0
    assert (harness.meter.retries, harness.meter.throttled) == (1, 1)


@pytest.mark.parametrize(
    ("status", "code", "is_refusal"),
    [
        (503, "ServerBusy", True),
        (503, "", True),
        (429, "TooManyRequests", True),
        (500, "OperationTimedOut", True),
        (500, "InternalError", False),
        (404, "BlobNotFound", False),
        (200, "", False),
    ],
)
async def test_what_the_regulator_takes_for_a_refusal(
    status: int, code: str, is_refusal: bool
) -> None:
    harness = Harness((status, code), settings=RetrySettings(retries=0))
    await harness.send("PUT")
    assert harness.meter.throttled == is_refusal
    assert harness.regulator.window == is_refusal
    assert harness.regulator.in_flight == 0
