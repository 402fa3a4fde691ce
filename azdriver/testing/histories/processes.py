"""The load in processes of its own: what starts them, and what they run."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.testing.histories.load import RETRY, Load
from azdriver.testing.histories.records import Record
from azdriver.testing.histories.wire import RandomFaults, Tap
from azdriver.testing.histories.worker import Worker


async def record_histories(connection_string: str, load: Load) -> list[Record]:
    """Run the load, in processes of its own, on a container of its own."""
    container = f"histories-{uuid4().hex}"
    async with AzureBlobDriver.from_connection_string(connection_string, container):
        pass
    with tempfile.TemporaryDirectory(prefix="azdriver-histories-") as directory:
        # A connection string holds a key: through a pipe, not on a command line.
        job = json.dumps(
            {"connection_string": connection_string, "container": container, "load": asdict(load)}
        )
        results = [Path(directory, f"{number}.jsonl") for number in range(load.processes)]
        try:
            async with asyncio.TaskGroup() as group:
                for number, result in enumerate(results):
                    group.create_task(_process(job, number, result))
        except* _WorkerError as errors:
            raise errors.exceptions[0] from None
        return [
            Record.from_json(line)
            for result in results
            for line in result.read_text("utf-8").splitlines()
        ]


class _WorkerError(RuntimeError):
    """A process of the load failed."""


async def _process(job: str, number: int, result: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(["-P"] if sys.flags.safe_path else []),
        "-m",
        "azdriver.testing.histories",
        "--work",
        str(number),
        str(result),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate(job.encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise _WorkerError(f"process {number} failed:\n{errors.decode(errors='replace')[-4000:]}")


def work_main(number: int, result: Path) -> None:
    job = json.load(sys.stdin)
    records = asyncio.run(
        _work(job["connection_string"], job["container"], Load(**job["load"]), number)
    )
    with result.open("w", encoding="utf-8") as file:
        file.writelines(record.to_json() + "\n" for record in records)


async def _work(connection_string: str, container: str, load: Load, process: int) -> list[Record]:
    """What one process does."""
    records: list[Record] = []
    share = load.operations // load.processes + (process < load.operations % load.processes)
    budget = [share]
    retry = RetrySettings(
        retries=load.retries,
        first_delay_seconds=RETRY.first_delay_seconds,
        longest_delay_seconds=RETRY.longest_delay_seconds,
        raise_if_unsure=load.raise_if_unsure,
    )
    # Of a driver, since the SDK's own client, and aiohttp below it, may send writes again.
    async with AzureBlobDriver.from_connection_string(
        connection_string, container, retry=retry, wrap_transport=Tap
    ) as clean:
        raw = clean._clients.container
        async with asyncio.TaskGroup() as group:
            for number in range(load.drivers):
                group.create_task(
                    _work_with_driver(
                        connection_string,
                        container,
                        load,
                        retry,
                        raw,
                        f"{process}.{number}",
                        load.fault_share if number % 2 else 0.0,
                        budget,
                        records,
                    )
                )
    return records


async def _work_with_driver(
    connection_string: str,
    container: str,
    load: Load,
    retry: RetrySettings,
    raw: ContainerClient,
    by: str,
    fault_share: float,
    budget: list[int],
    records: list[Record],
) -> None:
    rng = random.Random(f"faults {load.seed} {by}")
    async with AzureBlobDriver.from_connection_string(
        connection_string,
        container,
        retry=retry,
        wrap_transport=lambda inner: RandomFaults(Tap(inner), fault_share, rng),
    ) as driver:
        worker = Worker(load, driver, raw, by, budget, records)
        async with asyncio.TaskGroup() as group:
            for _ in range(load.tasks):
                group.create_task(worker.run())
