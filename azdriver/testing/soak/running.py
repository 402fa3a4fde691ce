"""The load on a container of its own, and samples of what the process holds meanwhile."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp

from azdriver.azureblob import AzureBlobDriver, RetrySettings
from azdriver.azureblob.session import open_aiohttp_session
from azdriver.testing.soak.faults import RandomFaults
from azdriver.testing.soak.load import CONNECTIONS, KIB
from azdriver.testing.soak.report import Report
from azdriver.testing.soak.samples import Sample, descriptors, in_use, rss_kib
from azdriver.testing.soak.worker import Worker


async def soak(
    connection_string: str, *, seconds: float, tasks: int, seed: int, fault_share: float
) -> Report:
    """Run the load on a container of its own.

    Args:
        connection_string: of a test server: it is loaded hard, and little is cleaned up.
        seconds: how long new operations are begun.
        tasks: how many run at once.
        seed: of what is done and which faults strike; what meets what is not repeated by it.
        fault_share: of all requests, how many are struck by a fault; 0 for no outages either.
    """
    report = Report(tasks, seed, fault_share)
    running = asyncio.all_tasks()
    report.descriptors_before = descriptors()
    template = AzureBlobDriver.from_connection_string(
        connection_string,
        f"soak-{time.time_ns()}",
        connections=CONNECTIONS,
        append_block_bytes=64 * KIB,
        read_range_bytes=64 * KIB,
        # Few and short: so that faults get through to the caller as well.
        retry=RetrySettings(retries=2, first_delay_seconds=0.02, longest_delay_seconds=0.2),
    )
    async with (
        aiohttp.ClientSession() as plain,
        open_aiohttp_session(template.options) as session,
    ):
        async with AzureBlobDriver(template.options) as clean:
            await Worker(clean, report, plain, 0).prefill()
        async with AzureBlobDriver(
            template.options,
            session=session,
            wrap_transport=lambda inner: RandomFaults(inner, report),
        ) as driver:
            # Not so many that they themselves would be what grows.
            interval = max(min(1.0, seconds / 20), seconds / 300)
            sampler = asyncio.create_task(_sample(report, session, interval))
            until = time.monotonic() + seconds
            workers = [Worker(driver, report, plain, number) for number in range(tasks)]
            try:
                await asyncio.gather(*(worker.run(until) for worker in workers))
            finally:
                sampler.cancel()
                await asyncio.wait({sampler})
            report.leaked_connections = in_use(session)
    await asyncio.sleep(0.25)  # for the transports to close
    report.leaked_tasks = len(asyncio.all_tasks() - running)
    report.descriptors_after = descriptors()
    return report


async def _sample(report: Report, session: aiohttp.ClientSession, interval: float) -> None:
    began = time.monotonic()
    while True:
        wake = time.monotonic() + interval
        await asyncio.sleep(interval)
        now = time.monotonic()
        report.samples.append(
            Sample(
                seconds=now - began,
                operations=sum(report.operations.values()),
                rss_kib=rss_kib(),
                descriptors=descriptors(),
                blocks=sys.getallocatedblocks(),
                tasks=len(asyncio.all_tasks()),
                connections=in_use(session),
                lateness=max(0.0, now - wake),
            )
        )
