"""Azurite stopped, or killed, and started again on its port and its data, under load."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from azdriver import AzureBlobDriver
from azdriver.azureblob import RetrySettings
from azdriver.errors import BackendError, ConcurrentWriteError, StorageDriverError
from azdriver.testing.azurite import AzuriteServer, azurite
from azdriver.testing.proxy import fault_proxy
from azdriver.testing.upload_child import sha256_of, stream_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

BLOCK = 32 * 1024
STREAM_SIZE = 80 * BLOCK + 5
# What is known to be stored by the index that Azurite writes every 5 s.
INDEX = "__azurite_db_blob__.json"


@dataclass(slots=True)
class Restartable:
    """An Azurite that can be stopped in the middle, and comes back where it was."""

    server: AzuriteServer
    directory: Path
    stack: AsyncExitStack
    environment: dict[str, str]

    async def restart(self, how: signal.Signals, away_seconds: float) -> None:
        pid = self.server.pid
        assert pid is not None
        os.kill(pid, how)
        # It may take as long as it wants: leaving its block would kill it after a grace.
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        await self.stack.aclose()
        await asyncio.sleep(away_seconds)
        await self.start(urlsplit(self.server.blob_endpoint).port or 0)

    async def start(self, port: int) -> None:
        self.server = await self.stack.enter_async_context(
            azurite(data_directory=self.directory, port=port, environment=self.environment)
        )

    async def has_saved(self, name: str) -> None:
        """Wait until the index on disk has this name."""
        async with asyncio.timeout(30):
            while name not in _text(self.directory / INDEX):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    def driver(
        self, container: str, endpoint: str | None = None, **options: Any
    ) -> AzureBlobDriver:
        server = self.server
        if endpoint is not None:
            server = replace(server, blob_endpoint=endpoint)
        return AzureBlobDriver.from_connection_string(
            server.connection_string, container, append_block_bytes=BLOCK, **options
        )


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text("utf-8", errors="replace")
    return ""


@pytest.fixture
async def restartable(tmp_path: Path) -> AsyncIterator[Restartable]:
    environment = {key: text for key, text in os.environ.items() if key != "AZDRIVER_AZURITE"}
    async with AsyncExitStack() as stack:
        own = Restartable(AzuriteServer(""), tmp_path / "data", stack, environment)
        await own.start(0)
        yield own


@dataclass(slots=True)
class Putter:
    """Puts one content after the other to a path, and remembers what was acknowledged.

    Attributes:
        acknowledged: the number of the last one that was; 0 before the first.
        attempted: that of the last one that was begun.
    """

    driver: AzureBlobDriver
    path: str
    acknowledged: int = 0
    attempted: int = 0
    errors: list[StorageDriverError] = field(default_factory=list)

    def content(self, number: int) -> bytes:
        return f"{self.path} {number} ".encode() * 50

    async def put(self) -> None:
        self.attempted += 1
        try:
            await self.driver.put_content(self.path, self.content(self.attempted))
        except StorageDriverError as error:
            self.errors.append(error)
            await asyncio.sleep(0.05)
        else:
            self.acknowledged = self.attempted

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.put()
        self.attempted += 1  # one more, when all is quiet again
        await self.driver.put_content(self.path, self.content(self.attempted))
        self.acknowledged = self.attempted

    async def hold(self, driver: AzureBlobDriver) -> None:
        content = await driver.get_content(self.path)
        whole = [self.content(n) for n in range(self.acknowledged, self.attempted + 1)]
        assert content in whole, f"{self.path}: neither the last acknowledged nor a later one"


@dataclass(slots=True)
class Streamer:
    """Uploads a stream, resuming where the server says after each error."""

    driver: AzureBlobDriver
    path: str
    append: bool = False
    errors: list[StorageDriverError] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while True:
            try:
                await self._go_on()
                return
            except StorageDriverError as error:
                self.errors.append(error)
                await asyncio.sleep(0.05)

    async def _go_on(self) -> None:
        async with self.driver.writer(self.path, append=self.append) as writer:
            if self.append:
                self.resumed_at.append(writer.size)
            self.append = True  # from here on, what is there is ours
            while writer.size < STREAM_SIZE:
                end = min(STREAM_SIZE, writer.size + 10_000)
                await writer.write(stream_bytes(self.path, writer.size, end))
                self.begun.set()
                await asyncio.sleep(0.005)  # so that it takes longer than the restart
            await writer.commit()

    async def hold(self, driver: AzureBlobDriver) -> None:
        content = await driver.get_content(self.path)
        assert hashlib.sha256(content).hexdigest() == sha256_of(self.path, STREAM_SIZE)


async def within(seconds: float, call: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await call


def retry(retries: int) -> RetrySettings:
    return RetrySettings(
        retries=retries, first_delay_seconds=0.1, longest_delay_seconds=0.5, total_seconds=60
    )


def errors_of(load: list[Putter | Streamer]) -> list[StorageDriverError]:
    return [error for each in load for error in each.errors]


async def test_nothing_acknowledged_is_lost_over_a_restart(
    restartable: Restartable, container: str
) -> None:
    async with (
        fault_proxy(restartable.server.blob_endpoint) as proxy,
        restartable.driver(container, proxy.endpoint, retry=retry(0)) as hasty,
        restartable.driver(container, proxy.endpoint, retry=retry(100)) as patient,
    ):
        putters = {
            driver: [Putter(driver, f"/contents/{word}/{number}") for number in range(3)]
            for driver, word in ((hasty, "hasty"), (patient, "patient"))
        }
        streamers = {driver: Streamer(driver, f"/stream/{id(driver)}") for driver in putters}
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            streaming = []
            for driver in (hasty, patient):
                for putter in putters[driver]:
                    group.create_task(within(90, putter.run(stop)))
                streaming.append(group.create_task(within(90, streamers[driver].run())))
                await streamers[driver].begun.wait()
            await asyncio.sleep(0.5)
            assert not any(task.done() for task in streaming)
            # Azurite saves everything when it is asked to stop, but does not stop while a client
            # has connections in use. So from here on each answer is lost, and the connection
            # with it; what the request did is stored.
            proxy.cut_answers_after(0, times=1_000_000)
            await restartable.restart(signal.SIGTERM, away_seconds=0.5)
            proxy.cut_answers_after(0, times=0)
            await asyncio.wait(streaming)
            stop.set()
        for driver in (hasty, patient):
            for putter in putters[driver]:
                assert putter.acknowledged > 1
                await putter.hold(driver)
            await streamers[driver].hold(driver)
        # The patient outlast the restart: their callers have noticed nothing.
        assert errors_of([*putters[patient], streamers[patient]]) == []
        noticed = errors_of([*putters[hasty], streamers[hasty]])
        assert {type(error) for error in noticed} == {BackendError}


async def test_what_is_in_the_index_outlives_a_kill_and_uploads_resume(
    restartable: Restartable, container: str
) -> None:
    async with (
        restartable.driver(container, retry=retry(1)) as hasty,
        restartable.driver(container, retry=retry(100)) as patient,
    ):
        putters = [Putter(hasty, f"/contents/{number}") for number in range(20)]
        for putter in putters:
            await putter.put()
        streamers = [
            Streamer(driver, path, append=True)
            for driver, path in ((hasty, "/hasty"), (patient, "/patient"))
        ]
        for streamer in streamers:
            async with streamer.driver.writer(streamer.path) as writer:
                await writer.write(stream_bytes(streamer.path, 0, 3 * BLOCK))
        for path in (*(each.path for each in putters), *(each.path for each in streamers)):
            await restartable.has_saved(path[1:])
        # Azurite itself loses what it acknowledged after its last index. The writer that was
        # open then may not go on behind what is no longer there, however patient it is.
        async with asyncio.TaskGroup() as group:
            resuming = [group.create_task(within(90, each.run())) for each in streamers]
            for streamer in streamers:
                await streamer.begun.wait()
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in resuming)
            await restartable.restart(signal.SIGKILL, away_seconds=1.0)
        for putter in putters:
            await putter.hold(patient)
        for streamer in streamers:
            await streamer.hold(patient)
            assert streamer.resumed_at[0] == min(streamer.resumed_at) == 3 * BLOCK
        kinds = {type(error) for error in errors_of([*streamers])}
        assert BackendError in kinds  # the hasty one's
        assert kinds <= {BackendError, ConcurrentWriteError}
