"""What goes over real connections: nothing is sent twice, nothing leaks, waits are short."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from azdriver import AzureBlobDriver, BackendError
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Faults, answer
from azdriver.testing.proxy import fault_proxy

MIB = 1024 * 1024


def through(
    server: AzuriteServer, endpoint: str, container: str, **options: Any
) -> AzureBlobDriver:
    connection_string = server.connection_string.replace(server.blob_endpoint, endpoint)
    return AzureBlobDriver.from_connection_string(connection_string, container, **options)


@pytest.mark.parametrize("call", ["get", "stat", "put", "delete"])
async def test_a_dropped_connection_is_not_sent_again_behind_the_retry_policy(
    azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver, call: str
) -> None:
    """aiohttp by itself sends each of these methods once more. Counted on the wire."""
    await driver.put_content("/blob", b"content")
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        none = RetrySettings(retries=0)
        async with through(azurite_server, proxy.endpoint, container, retry=none) as hurt:
            await hurt.stat("/blob")  # a connection is kept alive now
            proxy.request_lines.clear()
            proxy.cut_requests_after(1, times=100)
            blob = hurt._clients.blob(hurt._names.of(hurt._parse("/blob")))
            with pytest.raises(Exception, match=r"no answer|connection"):
                match call:
                    case "get":
                        await hurt.get_content("/blob")
                    case "stat":
                        await hurt.stat("/blob")
                    case "put":
                        await blob.upload_blob(b"new", overwrite=True)
                    case "delete":
                        await blob.delete_blob()
        assert len(proxy.request_lines) == 1


# The SDK gets 32 MiB by one request, what is more by further ones.
@pytest.mark.parametrize(
    ("lean_lane", "size", "seconds"),
    [(True, 8 * MIB, 0.1), (False, 8 * MIB, 0.1), (False, 48 * MIB, 0.6)],
)
async def test_cancelled_downloads_give_their_connections_back(
    azurite_server: AzuriteServer, container: str, lean_lane: bool, size: int, seconds: float
) -> None:
    options = {"connections": 3, "lean_lane": lean_lane}
    async with fault_proxy(azurite_server.blob_endpoint) as proxy:
        async with through(azurite_server, proxy.endpoint, container, **options) as driver:
            await driver.put_content("/blob", bytes(size))
            # So that each is cancelled in its body, the last one's in that of a later request.
            proxy.bytes_per_second = 4 * MIB if size < 32 * MIB else 64 * MIB
            for number in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(seconds):
                        if number % 2 or size > 32 * MIB:
                            await driver.get_content("/blob")
                        else:
                            async with driver.reader("/blob") as reader:
                                await reader.read()
            proxy.bytes_per_second = None
            async with asyncio.timeout(10):
                contents = await asyncio.gather(*(driver.get_content("/blob") for _ in range(6)))
            assert all(len(content) == size for content in contents)


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (503, "ServerBusy")])
@pytest.mark.parametrize("operation", ["Put Blob", "Get Blob", "List Blobs", "Append Block"])
async def test_throttling_is_waited_for_as_the_service_asks(
    azurite_server: AzuriteServer, container: str, status: int, code: str, operation: str
) -> None:
    fault = answer(status, code, headers={"Retry-After": "1"}, on=operation)
    faults = Faults(fault)
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, wrap_transport=faults.wrap
    ) as driver:
        began = time.monotonic()
        await driver.put_content("/blob", b"content")
        assert await driver.get_content("/blob") == b"content"
        assert await driver.list("/") == ["/blob"]
        async with driver.writer("/stream") as writer:
            await writer.write(b"stream")
            await writer.commit()
        waited = time.monotonic() - began
    assert fault.struck == 1
    # The bounds are the behaviour: as long as asked, not the 18 s of the SDK's own policy.
    assert 1 <= waited < 3


async def test_a_server_that_cannot_be_reached_is_an_error_of_ours(
    azurite_server: AzuriteServer, container: str
) -> None:
    fast = RetrySettings(retries=1, first_delay_seconds=0.01)
    async with asyncio.timeout(5):
        with pytest.raises(BackendError, match=r"no connection to 127\.0\.0\.1"):
            async with through(
                azurite_server, "http://127.0.0.1:9/devstoreaccount1", container, retry=fast
            ):
                pass
