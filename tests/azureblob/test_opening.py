"""Opening and closing: the container, the credentials, the event loop, and nothing left open."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import ContainerClient

from azdriver import (
    AzureBlobDriver,
    AzureBlobOptions,
    BackendError,
    ConfigurationError,
    DriverStateError,
    PathNotFoundError,
)
from azdriver.azureblob import RetrySettings, SasToken, SharedKey
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Faults, answer, lose_answer, reset
from azdriver.testing.recording import RecordedRequest, RecordingTransport

FAST = RetrySettings(retries=2, first_delay_seconds=0.001)


def opened(server: AzuriteServer, container: str, **options: Any) -> AzureBlobDriver:
    return AzureBlobDriver.from_connection_string(
        server.connection_string, container, retry=FAST, **options
    )


def by_container_sas(
    server: AzuriteServer, container: str, permissions: str, **options: Any
) -> AzureBlobDriver:
    token = generate_container_sas(
        server.account_name,
        container,
        account_key=server.account_key,
        permission=ContainerSasPermissions.from_string(permissions),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return AzureBlobDriver(
        AzureBlobOptions(
            account_url=server.blob_endpoint,
            container=container,
            credential=SasToken(token),
            retry=FAST,
        ),
        **options,
    )


def by_account_sas(server: AzuriteServer, container: str) -> AzureBlobDriver:
    token = generate_account_sas(
        server.account_name,
        server.account_key,
        resource_types=ResourceTypes(container=True, object=True),
        permission=AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True
        ),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return AzureBlobDriver(
        AzureBlobOptions(
            account_url=server.blob_endpoint, container=container, credential=SasToken(f"?{token}")
        )
    )


@asynccontextmanager
async def nothing_left_open() -> AsyncIterator[None]:
    """Fails if the block leaves a session, a connection or a coroutine to the garbage collector."""
    gc.collect()
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    tasks = asyncio.all_tasks()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
            await asyncio.sleep(0)
            gc.collect()
    finally:
        loop.set_exception_handler(previous)
    assert [str(warning.message) for warning in caught] == []
    assert complaints == []
    assert asyncio.all_tasks() <= tasks


async def exists(server: AzuriteServer, container: str) -> bool:
    async with ContainerClient.from_connection_string(
        server.connection_string, container
    ) as client:
        return await client.exists()


class TestTheContainer:
    async def test_it_is_created(self, azurite_server: AzuriteServer, container: str) -> None:
        assert not await exists(azurite_server, container)
        async with opened(azurite_server, container) as driver:
            assert await driver.list("/") == []
        assert await exists(azurite_server, container)

    async def test_one_that_is_there_is_used(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with opened(azurite_server, container) as driver:
            await driver.put_content("/a", b"kept")
        requests: list[RecordedRequest] = []
        async with opened(
            azurite_server,
            container,
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        ) as driver:
            assert [request.operation for request in requests] == ["Create Container"]
            assert await driver.get_content("/a") == b"kept"

    async def test_many_drivers_open_it_at_once(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async def use(number: int) -> None:
            async with opened(azurite_server, container) as driver:
                await driver.put_content(f"/{number}", b"x")

        await asyncio.gather(*(use(number) for number in range(8)))
        async with opened(azurite_server, container) as driver:
            assert len(await driver.list("/")) == 8

    @pytest.mark.parametrize(
        "fault",
        [
            lose_answer(on="Create Container"),
            reset(on="Create Container"),
            answer(500, "InternalError", on="Create Container"),
            answer(503, "ServerBusy", on="Create Container"),
        ],
        ids=lambda fault: str(fault.name),
    )
    async def test_a_creation_whose_answer_was_lost_is_tried_again(
        self, azurite_server: AzuriteServer, container: str, fault: Any
    ) -> None:
        async with opened(azurite_server, container, wrap_transport=Faults(fault).wrap) as driver:
            assert await driver.list("/") == []
        assert fault.struck == 1

    async def test_one_that_is_being_deleted_is_an_error(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        fault = answer(409, "ContainerBeingDeleted", on="Create Container", times=None)
        with pytest.raises(BackendError) as caught:
            async with opened(azurite_server, container, wrap_transport=Faults(fault).wrap):
                pass
        assert (caught.value.status, caught.value.error_code) == (409, "ContainerBeingDeleted")
        assert caught.value.operation == "open"


class TestCredentials:
    async def test_one_that_may_not_create_containers_will_do_where_it_is(
        self, azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
    ) -> None:
        await driver.put_content("/a", b"content")
        requests: list[RecordedRequest] = []
        async with by_container_sas(
            azurite_server,
            container,
            "racwdl",
            wrap_transport=lambda inner: RecordingTransport(inner, requests),
        ) as limited:
            assert [r.operation for r in requests] == ["Create Container", "List Blobs"]
            assert await limited.get_content("/a") == b"content"
            await limited.put_content("/b", b"new")
            async with limited.writer("/c") as writer:
                await writer.write(b"stream")
            await limited.move("/b", "/d")
            assert await limited.list("/") == ["/a", "/c", "/d"]
            assert (await limited.stat("/d")).size == 3
            await limited.delete("/d")
            with pytest.raises(PathNotFoundError):
                await limited.stat("/d")

    async def test_one_that_may_only_read_can_read(
        self, azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
    ) -> None:
        await driver.put_content("/a", b"content")
        async with by_container_sas(azurite_server, container, "rl") as limited:
            assert await limited.get_content("/a") == b"content"
            assert await limited.list("/") == ["/a"]
            for call in (limited.put_content("/a", b""), limited.delete("/a")):
                with pytest.raises(BackendError) as caught:
                    await call
                assert caught.value.status == 403
        assert await driver.get_content("/a") == b"content"

    @pytest.mark.parametrize("permissions", ["r", "rcw"])
    async def test_one_that_may_not_even_list_can_do_what_it_may(
        self,
        azurite_server: AzuriteServer,
        container: str,
        driver: AzureBlobDriver,
        permissions: str,
    ) -> None:
        await driver.put_content("/a", b"content")
        async with by_container_sas(azurite_server, container, permissions) as limited:
            assert await limited.get_content("/a") == b"content"
            with pytest.raises(BackendError, match="403 AuthorizationPermissionMismatch"):
                await limited.list("/")

    async def test_a_missing_container_that_it_may_not_create_is_an_error_that_says_so(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with nothing_left_open():
            with pytest.raises(BackendError, match="open failed: 404 ContainerNotFound") as caught:
                async with by_container_sas(azurite_server, container, "racwdl"):
                    pass
            assert caught.value.operation == "open"
            del caught
        assert not await exists(azurite_server, container)

    async def test_an_account_sas_may_create_it(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with by_account_sas(azurite_server, container) as driver:
            await driver.put_content("/a", b"x")
            assert await driver.list("/") == ["/a"]
        assert await exists(azurite_server, container)

    async def test_a_wrong_signature_is_an_error(
        self, azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
    ) -> None:
        wrong = AzureBlobOptions(
            account_url=azurite_server.blob_endpoint,
            container=container,
            credential=SasToken("sv=2021-12-02&sr=c&sp=rl&se=2090-01-01T00%3A00%3A00Z&sig=d3Jv"),
            retry=FAST,
        )
        async with nothing_left_open():
            with pytest.raises(BackendError, match="open failed: 403") as caught:
                async with AzureBlobDriver(wrong):
                    pass
            del caught

    async def test_a_wrong_key_is_an_error(
        self, azurite_server: AzuriteServer, container: str, driver: AzureBlobDriver
    ) -> None:
        wrong = AzureBlobOptions(
            account_url=azurite_server.blob_endpoint,
            container=container,
            credential=SharedKey(azurite_server.account_name, "d3Jvbmc="),
            retry=FAST,
        )
        async with nothing_left_open():
            with pytest.raises(BackendError) as caught:
                async with AzureBlobDriver(wrong):
                    pass
            assert caught.value.status == 403
            del caught


class TestLife:
    async def _calls(self, driver: AzureBlobDriver) -> list[Callable[[], Awaitable[Any]]]:
        async def read() -> None:
            async with driver.reader("/a"):
                pass

        async def write() -> None:
            async with driver.writer("/a"):
                pass

        async def walk() -> None:
            async for _ in driver.walk("/"):
                pass

        return [
            lambda: driver.get_content("/a"),
            lambda: driver.put_content("/a", b""),
            read,
            write,
            lambda: driver.stat("/a"),
            lambda: driver.list("/"),
            lambda: driver.move("/a", "/b"),
            lambda: driver.delete("/a"),
            lambda: driver.url_for("/a"),
            walk,
        ]

    async def test_use_before_opening_and_after_closing(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        driver = opened(azurite_server, container)
        for call in await self._calls(driver):
            with pytest.raises(DriverStateError, match="azure: driver is not open: use it with"):
                await call()
        async with driver:
            await driver.put_content("/a", b"")
        for call in await self._calls(driver):
            with pytest.raises(DriverStateError, match="azure: driver is closed"):
                await call()

    async def test_it_is_opened_once(self, azurite_server: AzuriteServer, container: str) -> None:
        async with opened(azurite_server, container) as driver:
            with pytest.raises(DriverStateError, match="was opened already"):
                await driver.open()
            assert await driver.list("/") == []
        with pytest.raises(DriverStateError, match="is closed"):
            await driver.open()

    async def test_closing_again_does_nothing(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with nothing_left_open():
            driver = opened(azurite_server, container)
            await driver.open()
            await driver.aclose()
            await driver.aclose()
            never_opened = opened(azurite_server, container)
            await never_opened.aclose()
            await never_opened.aclose()
            async with opened(azurite_server, container) as driver:
                await driver.aclose()

    async def test_another_event_loop_is_refused(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with opened(azurite_server, container) as driver:
            calls = [*await self._calls(driver), driver.aclose]

            async def elsewhere() -> None:
                for call in calls:
                    with pytest.raises(DriverStateError, match="belongs to another event loop"):
                        await call()

            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
            await driver.put_content("/a", b"still usable here")

    async def test_the_callers_own_session_stays_open(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with aiohttp.ClientSession() as session:
            for number in range(2):
                async with opened(azurite_server, container, session=session) as driver:
                    await driver.put_content(f"/{number}", b"x")
                    url = await driver.url_for("/0")
                assert not session.closed
                async with session.get(url) as response:
                    assert await response.read() == b"x"

    async def test_the_callers_own_session_stays_open_when_opening_fails(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with aiohttp.ClientSession() as session:
            for wrong in ({"connection_string": None}, {"api_version": "1999-01-01"}):
                connection_string = azurite_server.connection_string
                if "connection_string" in wrong:
                    connection_string = connection_string.replace(
                        azurite_server.blob_endpoint, "http://127.0.0.1:9/devstoreaccount1"
                    )
                    wrong = {}
                driver = AzureBlobDriver.from_connection_string(
                    connection_string, container, session=session, retry=FAST, **wrong
                )
                with pytest.raises((BackendError, ConfigurationError)):
                    await driver.open()
                assert not session.closed

    async def test_failing_to_open_leaves_nothing_open(self, container: str) -> None:
        options: dict[str, Any] = {
            "account_url": "http://127.0.0.1:9/devstoreaccount1",
            "container": container,
            "credential": SharedKey("devstoreaccount1", "a2V5"),
            "retry": FAST,
        }
        async with nothing_left_open():
            driver = AzureBlobDriver(AzureBlobOptions(**options))
            with pytest.raises(BackendError, match=r"no connection to 127\.0\.0\.1:9"):
                await driver.open()
            with pytest.raises(DriverStateError, match="is closed"):
                await driver.stat("/")
            await driver.aclose()
            del driver

    async def test_a_version_that_the_sdk_does_not_know_leaves_nothing_open(
        self, azurite_server: AzuriteServer, container: str
    ) -> None:
        async with nothing_left_open():
            with pytest.raises(ConfigurationError) as caught:
                async with opened(azurite_server, container, api_version="1999-01-01"):
                    pass
            assert caught.value.parameter == "api_version"
            del caught

    async def test_cancelling_the_opening_leaves_nothing_open(self, container: str) -> None:
        # The system takes the connection; nobody answers.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with nothing_left_open():
                driver = AzureBlobDriver(
                    AzureBlobOptions(
                        account_url=f"http://127.0.0.1:{silent.getsockname()[1]}/account",
                        container=container,
                        credential=SharedKey("account", "a2V5"),
                    )
                )
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await driver.open()
                with pytest.raises(DriverStateError, match="is closed"):
                    await driver.stat("/")
                del driver


def test_the_driver_is_imported_when_it_is_asked_for() -> None:
    code = """
import sys
import azdriver
assert not any(name == "azure" or name.startswith("azure.") for name in sys.modules)
assert "aiohttp" not in sys.modules
driver = azdriver.AzureBlobDriver
assert "azure.storage.blob" in sys.modules
from azdriver import AzureBlobDriver, AzureBlobOptions
assert driver is AzureBlobDriver
try:
    azdriver.AzureDriver
except AttributeError as error:
    assert "AzureDriver" in str(error)
else:
    raise AssertionError("an attribute that is not there")
"""
    # -W error: an import that warns would be an error for those who run their tests so.
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


async def test_opening_by_name_and_parameters(azurite_server: AzuriteServer) -> None:
    import azdriver

    parameters = {
        "accountname": azurite_server.account_name,
        "accountkey": azurite_server.account_key,
        "serviceurl": azurite_server.blob_endpoint,
        "container": f"test-{uuid4().hex}",
        "rootdirectory": "registry",
    }
    async with azdriver.open_driver("azure", parameters) as driver:
        await driver.put_content("/a", b"x")
        assert await driver.get_content("/a") == b"x"
    connection = {
        "connectionstring": azurite_server.connection_string,
        "container": parameters["container"],
    }
    async with azdriver.open_driver("azure", connection) as driver:
        assert await driver.list("/") == ["/registry"]


async def test_a_missing_container_is_an_error_where_none_is_to_be_created(
    azurite_server: AzuriteServer, container: str
) -> None:
    def driver(*, create_container: bool) -> AzureBlobDriver:
        return AzureBlobDriver.from_connection_string(
            azurite_server.connection_string, container, create_container=create_container
        )

    with pytest.raises(ConfigurationError, match=f"container: does not exist: {container}"):
        await driver(create_container=False).open()
    async with driver(create_container=True) as creating:
        await creating.put_content("/a", b"1")
    async with driver(create_container=False) as opened:
        assert await opened.get_content("/a") == b"1"
