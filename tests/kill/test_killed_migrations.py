"""Migrations killed with SIGKILL at random moments, gone on with by another process each time."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext

import pytest
from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob.migration import MigrationReport, MigrationSettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.migration_child import run_migration

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, and a fork server")

KILLS = 20
BLOBS = 160
LARGE = 5_000_000  # bytes: more than a block
# Until the kill, so many requests were begun, and then so many seconds have passed.
LONGEST_LIFE_REQUESTS = 100
LONGEST_LIFE_SECONDS = 0.01
SETTINGS = MigrationSettings(convert="all", parallel=8)


@dataclass(frozen=True)
class Planted:
    """A blob as an old driver left it, and what it has to become."""

    name: str
    dest: str
    is_append: bool
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def planted() -> list[Planted]:
    dice = random.Random("the blobs")
    blobs = []
    for number in range(BLOBS):
        dest = f"docker/registry/v2/repositories/{number}/link"
        moves = number % 8 < 2  # the others are listed after these
        size = LARGE if number in (1, 2) else dice.randrange(0, 2_000)
        content = hashlib.shake_128(str(number).encode()).digest(size)
        is_append = not moves or number % 8 == 1
        blobs.append(Planted(("/" if moves else "") + dest, dest, is_append, content))
    return blobs


async def plant(client: ContainerClient, blobs: list[Planted]) -> None:
    await client.create_container()
    remaining = iter(blobs)

    async def put() -> None:
        for blob in remaining:
            metadata = {"sha256": blob.sha256}
            if not blob.is_append:
                await client.upload_blob(blob.name, blob.content, metadata=metadata)
                continue
            one = client.get_blob_client(blob.name)
            await one.create_append_blob(metadata=metadata)
            for start in range(0, len(blob.content), 1_000_000):
                await one.append_block(blob.content[start : start + 1_000_000])

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(put())


async def lost(client: ContainerClient, blobs: list[Planted]) -> list[str]:
    """The blobs whose content is nowhere; each has its SHA-256 with it wherever it goes."""
    there = {
        (blob.metadata["sha256"], blob.size)
        async for blob in client.list_blobs(include=["metadata"])
    }
    return [blob.name for blob in blobs if (blob.sha256, len(blob.content)) not in there]


async def found(client: ContainerClient) -> dict[str, tuple[str, str]]:
    """Type and SHA-256 of every blob, by name."""
    digests = {}
    async for blob in client.list_blobs():
        content = await (await client.download_blob(blob.name)).readall()
        digests[blob.name] = (str(blob.blob_type.value), hashlib.sha256(content).hexdigest())
    return digests


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Of a server that has imported the SDK once; each child is forked from it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["azdriver.testing.migration_child", "pytest"])
    return context


def run_child(
    processes: ForkServerContext,
    server: AzuriteServer,
    container: str,
    life_requests: int | None,
    rest_seconds: float = 0.0,
) -> tuple[MigrationReport | None, list[str]]:
    """Run a migration, and kill it after so many requests; None for not at all.

    Returns:
        The report, None if it was killed; and what it was sending last.
    """
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(
        target=run_migration, args=(server.connection_string, container, SETTINGS, sender)
    )
    process.start()
    sender.close()  # the child has its own: what is received ends with it
    sent: list[str] = []
    report = None
    try:
        while True:
            try:
                note = receiver.recv()
            except (EOFError, OSError):  # it has ended, perhaps in the middle of a note
                break
            if isinstance(note, MigrationReport):
                report = note
            else:
                sent.append(note)
                if len(sent) == life_requests:
                    time.sleep(rest_seconds)
                    process.kill()
        process.join()
        if report is None:
            assert process.exitcode == -signal.SIGKILL
        return report, sent
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        receiver.close()


async def test_a_migration_killed_twenty_times_loses_nothing(
    processes: ForkServerContext,
    azurite_server: AzuriteServer,
    container: str,
    record_property: Callable[[str, object], None],
) -> None:
    dice = random.Random("the kills")
    blobs = planted()
    killed_at: Counter[str] = Counter()
    unfinished = 0
    async with ContainerClient.from_connection_string(
        azurite_server.connection_string, container
    ) as client:
        await plant(client, blobs)
        kills = 0
        while kills < KILLS:
            report, sent = await asyncio.to_thread(
                run_child,
                processes,
                azurite_server,
                container,
                dice.randrange(1, LONGEST_LIFE_REQUESTS),
                dice.random() * LONGEST_LIFE_SECONDS,
            )
            assert report is None, f"at its end after {kills} kills: plant more blobs"
            kills += 1
            killed_at.update(sent[-1:])
            assert await lost(client, blobs) == []
            backups = [name async for name in client.list_blob_names(name_starts_with="~")]
            unfinished += len(backups)
        report, _ = await asyncio.to_thread(run_child, processes, azurite_server, container, None)
        assert report is not None
        assert report.is_complete, report
        right = {blob.dest: ("BlockBlob", blob.sha256) for blob in blobs}
        assert await found(client) == right
    summary = (
        f"{kills} kills of the migration of {len(blobs)} blobs, {unfinished} backups left to the "
        f"next run, the last requests {dict(killed_at)}; every SHA-256 right"
    )
    print(summary)
    record_property("killed migrations", summary)
    assert unfinished  # else the moments were not what they should be
