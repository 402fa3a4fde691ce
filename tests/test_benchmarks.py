"""The benchmarks' stand-in is a server that the driver works on, and every script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from azdriver import AzureBlobDriver, StorageDriver
from azdriver.testing.azurite import DEVSTORE_ACCOUNT, DEVSTORE_KEY
from azdriver.testing.conformance.contents import ContentConformance
from azdriver.testing.conformance.lifecycle import LifecycleConformance
from azdriver.testing.conformance.paths import PathConformance
from azdriver.testing.conformance.readers import ReaderConformance
from azdriver.testing.conformance.streams import StreamConformance
from azdriver.testing.conformance.trees import TreeConformance

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def standin_endpoint() -> Iterator[str]:
    # By its command: the wheel that is tested does not contain the benchmarks.
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.standin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it says where uvloop is missing
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["endpoint"]
        finally:
            process.stdin.close()
            process.wait(10)


class TestStandin(
    PathConformance,
    ContentConformance,
    ReaderConformance,
    StreamConformance,
    TreeConformance,
    LifecycleConformance,
):
    """What is measured on the stand-in is the work of the real thing.

    Without the tests of signed URLs: it checks no signature, so they would prove nothing.
    """

    @pytest_asyncio.fixture
    async def driver(self, standin_endpoint: str, container: str) -> AsyncIterator[StorageDriver]:
        async with AzureBlobDriver.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={DEVSTORE_ACCOUNT};"
            f"AccountKey={DEVSTORE_KEY};BlobEndpoint={standin_endpoint};",
            container,
        ) as driver:
            yield driver
