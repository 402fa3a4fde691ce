"""The limit on requests in flight: fair, gives way and comes back, and never loses a slot."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from azdriver import AzureBlobDriver, BackendError, StorageDriverError
from azdriver.azureblob import RetrySettings
from azdriver.azureblob.regulator import Regulator
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import CannedResponse, Fault, Faults, Send
from azdriver.testing.sweep.cancelling import CancelledAt

FAST = RetrySettings(retries=5, first_delay_seconds=0.02)


async def enter(regulator: Regulator) -> int:
    if not regulator.try_enter():
        await regulator.wait()
    return regulator.window


async def test_the_limit_holds_and_the_first_come_is_the_first_served() -> None:
    regulator = Regulator(3)
    served: list[int] = []
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        window = await enter(regulator)
        served.append(number)
        most = max(most, regulator.in_flight)
        await asyncio.sleep(0)
        regulator.leave(window, False)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(work(number))
    assert served == list(range(100))
    assert most == 3
    assert (regulator.in_flight, regulator.waiting) == (0, 0)


async def test_nobody_overtakes_one_who_waits() -> None:
    regulator = Regulator(1)
    window = await enter(regulator)
    waiting = asyncio.create_task(enter(regulator))
    await asyncio.sleep(0)
    regulator.leave(window, False)  # the slot is its own from now on, although it has not run
    assert not regulator.try_enter()
    regulator.leave(await waiting, False)
    assert regulator.try_enter()


async def test_a_round_of_refusals_halves_the_limit_once() -> None:
    regulator = Regulator(64)
    windows = [await enter(regulator) for _ in range(64)]
    for window in windows:
        regulator.leave(window, True)
    assert regulator.limit == 32


async def test_the_limit_is_halved_from_what_was_in_flight() -> None:
    regulator = Regulator(1000)
    windows = [await enter(regulator) for _ in range(10)]
    for window in windows:
        regulator.leave(window, True)
    assert regulator.limit == 5


async def test_one_may_always_be_in_flight() -> None:
    regulator = Regulator(2)
    for _ in range(10):
        regulator.leave(await enter(regulator), True)
    assert regulator.limit == 1
    assert regulator.try_enter()


async def test_the_limit_grows_by_one_a_round_and_only_while_it_holds_back() -> None:
    regulator = Regulator(64)
    for window in [await enter(regulator) for _ in range(16)]:
        regulator.leave(window, True)
    assert regulator.limit == 8
    for _ in range(1000):
        regulator.leave(await enter(regulator), False)  # one at a time
    assert regulator.limit == 8

    async def a_round() -> None:
        room = range(int(regulator.limit))
        windows = [await enter(regulator) for _ in room]
        waiting = [asyncio.create_task(enter(regulator)) for _ in room]
        await asyncio.sleep(0)
        for window in windows:
            regulator.leave(window, False)
        for window in await asyncio.gather(*waiting):
            regulator.leave(window, None)

    limits = [regulator.limit]
    while regulator.limit < 64:
        await a_round()
        limits.append(regulator.limit)
    steps = [later - earlier for earlier, later in itertools.pairwise(limits)]
    assert all(0.8 < step <= 1 for step in steps)
    assert limits[-1] == 64


async def test_a_request_without_an_answer_says_nothing() -> None:
    regulator = Regulator(8)
    regulator.leave(await enter(regulator), None)
    assert regulator.limit == 8


async def test_a_fixed_limit_stays() -> None:
    regulator = Regulator(8, adaptive=False)
    regulator.leave(await enter(regulator), True)
    assert regulator.limit == 8


async def test_the_wait_ends_when_the_service_answers_nobody() -> None:
    now = 0.0
    regulator = Regulator(1, patience_seconds=60, clock=lambda: now)
    window = await enter(regulator)
    waiting = asyncio.create_task(regulator.wait())
    await asyncio.sleep(0)
    now = 59.0
    second = asyncio.create_task(regulator.wait())
    await asyncio.sleep(0)
    regulator.leave(window, None)  # no answer
    await waiting
    now = 119.0
    third = Regulator(1, patience_seconds=0.001)
    await enter(third)
    with pytest.raises(TimeoutError):
        await third.wait()
    assert (third.in_flight, third.waiting) == (1, 0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (regulator.in_flight, regulator.waiting) == (1, 0)


async def test_a_cancelled_wait_leaves_no_slot_taken() -> None:
    for is_given in (False, True):
        regulator = Regulator(1)
        window = await enter(regulator)
        waiting = asyncio.create_task(regulator.wait())
        behind = asyncio.create_task(enter(regulator))
        await asyncio.sleep(0)
        if is_given:
            regulator.leave(window, False)  # it has the slot, and does not know it yet
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not is_given:
            regulator.leave(window, False)
        regulator.leave(await behind, False)
        assert (regulator.in_flight, regulator.waiting) == (0, 0)


# On the wire.


class Ceiling:
    """A service that works on so many requests at once, and refuses the others."""

    def __init__(self, most: int, *, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.working = 0
        self.refused = 0
        self.faults = Faults(Fault("ceiling", self._play, times=None))

    async def _play(self, request: Any, send: Send) -> Any:
        if self.working >= self.most:
            self.refused += 1
            return CannedResponse(request, 503, "ServerBusy")
        self.working += 1
        try:
            await asyncio.sleep(self.seconds)
            return await send()
        finally:
            self.working -= 1


def opened(server: AzuriteServer, container: str, **options: Any) -> AzureBlobDriver:
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, **{"retry": FAST, **options}
    )


async def burst(driver: AzureBlobDriver, tasks: int) -> list[BaseException]:
    """So many tasks at once; what of them failed."""
    calls = (driver.get_content("/a") for _ in range(tasks))
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]


@pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])
async def test_a_burst_succeeds_where_the_service_takes_little(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, lean_lane: bool
) -> None:
    await driver.put_content("/a", b"content")
    ceiling = Ceiling(4, seconds=0.01)
    async with opened(
        azurite_server,
        container,
        max_requests_in_flight=32,
        lean_lane=lean_lane,
        wrap_transport=ceiling.faults.wrap,
    ) as busy:
        assert busy.stats().request_limit == 32
        assert await burst(busy, 500) == []
        stats = busy.stats()
        assert stats.throttled == ceiling.refused > 0
        assert stats.throttled == stats.retries
        # It has found what the service takes: far fewer refusals than requests.
        assert stats.requests["Get Blob"] == 500 + stats.throttled
        assert stats.throttled < 250
        assert stats.request_limit is not None
        assert stats.request_limit <= 8
        # And it finds back when the service takes more.
        ceiling.most, ceiling.seconds = 1000, 0
        while stats.request_limit is not None and stats.request_limit < 32:
            assert await burst(busy, 100) == []
            stats = busy.stats()
        assert (stats.requests_in_flight, stats.requests_waiting) == (0, 0)


async def test_the_same_burst_fails_with_a_limit_that_stays(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/a", b"content")
    ceiling = Ceiling(4, seconds=0.01)
    async with opened(
        azurite_server,
        container,
        max_requests_in_flight=32,
        adaptive_limit=False,
        wrap_transport=ceiling.faults.wrap,
    ) as busy:
        failures = await burst(busy, 500)
        assert len(failures) > 50
        assert {getattr(failure, "status", None) for failure in failures} == {503}
        assert busy.stats().request_limit == 32


async def test_the_limit_is_that_of_the_pool_unless_it_is_given(
    azurite_server: AzuriteServer, container: str
) -> None:
    async with opened(azurite_server, container, connections=7) as driver:
        assert driver.stats().request_limit == 7
    async with opened(azurite_server, container, max_requests_in_flight=3) as driver:
        assert driver.stats().request_limit == 3


async def test_paused_readers_hold_no_slot(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    content = bytes(range(256)) * 4096
    await driver.put_content("/a", content)
    async with opened(
        azurite_server, container, max_requests_in_flight=1, read_range_bytes=100_000
    ) as narrow:
        async with narrow.reader("/a") as first, narrow.reader("/a") as second:
            first_byte = await first.read(1)
            assert narrow.stats().requests_in_flight == 0
            assert await narrow.get_content("/a") == content
            assert await second.read() == content
            assert first_byte + await first.read() == content


async def test_a_wait_before_a_retry_holds_no_slot(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
) -> None:
    await driver.put_content("/a", b"content")
    refused = asyncio.Event()

    async def play(request: Any, send: Send) -> Any:
        refused.set()
        return CannedResponse(request, 503, "ServerBusy", headers={"Retry-After": "50"})

    faults = Faults(Fault("busy", play, on="Get Blob"))
    async with opened(
        azurite_server, container, max_requests_in_flight=1, wrap_transport=faults.wrap
    ) as narrow:
        waiting = asyncio.create_task(narrow.get_content("/a"))
        await refused.wait()
        assert (await narrow.stat("/a")).size == 7
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert narrow.stats().requests_in_flight == 0


async def test_a_callers_time_out_bounds_the_wait(
    azurite_server: AzuriteServer, container: str
) -> None:
    faults = Faults()
    async with opened(
        azurite_server, container, max_requests_in_flight=1, wrap_transport=faults.wrap
    ) as narrow:
        hold = asyncio.Event()

        async def play(request: Any, send: Send) -> Any:
            await hold.wait()
            return await send()

        faults.add(Fault("hold", play))
        holder = asyncio.create_task(narrow.stat("/"))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await narrow.stat("/")
        assert narrow.stats().requests_waiting == 0
        hold.set()
        assert (await holder).is_dir
        assert narrow.stats().requests_in_flight == 0


async def test_nothing_is_sent_when_the_service_answers_nobody(
    azurite_server: AzuriteServer, container: str
) -> None:
    faults = Faults()
    slow = RetrySettings(retries=0, attempt_seconds=0.5, total_seconds=0.1)
    async with opened(
        azurite_server,
        container,
        max_requests_in_flight=1,
        retry=slow,
        wrap_transport=faults.wrap,
    ) as stuck:

        async def play(request: Any, send: Send) -> Any:
            await asyncio.sleep(3600)

        faults.add(Fault("stalled", play, times=None))
        calls = (stuck.stat("/a") for _ in range(5))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, BackendError) for result in results)
        assert (stuck.stats().requests_in_flight, stuck.stats().requests_waiting) == (0, 0)


async def _read(driver: AzureBlobDriver) -> None:
    async with driver.reader("/a", 1) as reader:
        await reader.read()


async def _write(driver: AzureBlobDriver) -> None:
    async with driver.writer("/stream") as writer:
        await writer.write(bytes(100))
        await writer.commit()


CALLS: dict[str, Callable[[AzureBlobDriver], Awaitable[object]]] = {
    "get_content": lambda driver: driver.get_content("/a"),
    "put_content": lambda driver: driver.put_content("/b", b"x"),
    "reader": _read,
    "writer": _write,
    "list": lambda driver: driver.list("/"),
}


@pytest.mark.parametrize("lean_lane", [True, False], ids=["lean", "sdk"])
@pytest.mark.parametrize("call", CALLS)
async def test_cancelling_at_every_point_loses_no_slot(
    azurite_server: AzuriteServer, container: str, call: str, lean_lane: bool
) -> None:
    """While others are in flight and in the queue, with refusals in between."""
    refusals = Fault("busy", _refuse, times=None)
    async with opened(
        azurite_server,
        container,
        max_requests_in_flight=2,
        lean_lane=lean_lane,
        retry=RetrySettings(retries=20, first_delay_seconds=0.001),
        wrap_transport=Faults(refusals).wrap,
    ) as narrow:
        await narrow.put_content("/a", b"content")
        for place in itertools.count():
            others = [asyncio.create_task(narrow.stat("/a")) for _ in range(4)]
            cancelled = CancelledAt(CALLS[call](narrow), place)
            with suppress(asyncio.CancelledError, StorageDriverError):
                await cancelled.run()
            await asyncio.gather(*others)
            assert narrow.stats().requests_in_flight == 0
            assert narrow.stats().requests_waiting == 0
            if not cancelled.reached:
                assert place >= 3
                break


_sent = itertools.count()


async def _refuse(request: Any, send: Send) -> Any:
    if next(_sent) % 7 == 3:
        return CannedResponse(request, 503, "ServerBusy")
    return await send()
