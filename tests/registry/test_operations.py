"""What who runs a registry relies on: health, limits, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from yarl import URL

from azdriver import BackendError, ConfigurationError, MemoryDriver, StorageDriver
from oci_registry.settings import RegistrySettings
from oci_registry.web import make_app
from oci_registry.web.serving import serving
from oci_registry.web.traffic import TRAFFIC
from registry_client import OpenRegistry, RegistryClient, sha256


class Body:
    """A body that is sent when the test says so."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def __call__(self) -> AsyncIterator[bytes]:
        yield b"first "
        self.started.set()
        await self.goes_on.wait()
        yield b"second"


async def test_it_says_that_it_lives_and_is_ready(registry: RegistryClient) -> None:
    assert (await registry.ask("GET", "/healthz", status=200)).json == {"status": "live"}
    assert (await registry.ask("GET", "/readyz", status=200)).json == {"status": "ready"}
    assert (await registry.ask("HEAD", "/readyz", status=200)).body == b""


class BrokenDriver(MemoryDriver):
    lists = 0

    async def _list(self, path: Any) -> Any:
        self.lists += 1
        await asyncio.sleep(0.01)
        raise BackendError(self.name, path, "the storage is away")


async def test_it_is_not_ready_when_the_storage_is_away() -> None:
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(BrokenDriver())
        app = make_app(driver)
        url = await stack.enter_async_context(
            serving(app, host="127.0.0.1", port=0, shutdown_seconds=1)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        registry = RegistryClient(session, URL(url))
        await registry.ask("GET", "/healthz", status=200)
        # However many ask, the storage is asked once at a time.
        for _ in range(3):
            answers = await asyncio.gather(
                *(registry.ask("GET", "/readyz", status=503) for _ in range(10))
            )
            for answer in answers:
                assert answer.json == {"status": "storage does not answer"}
        assert driver.lists < 10


@pytest.mark.parametrize("error", [BackendError("memory", "/x", "away"), RuntimeError("bug")])
async def test_a_path_makes_no_lines_in_the_log(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise error

    async with (
        MemoryDriver() as driver,
        TestServer(make_app(driver, middlewares=[fail])) as server,
        aiohttp.ClientSession() as session,
    ):
        registry = RegistryClient(session, server.make_url("/"))
        answer = await registry.ask("GET", "/v2/a%0d%0aforged/tags/list")
        assert answer.status >= 500
    (record,) = (record for record in caplog.records if record.name.startswith("oci_registry"))
    assert "/v2/a%0d%0aforged/tags/list" in record.getMessage()
    assert len(record.getMessage().splitlines()) == 1


async def test_too_many_requests_are_refused(storage: StorageDriver) -> None:
    app = make_app(storage, RegistrySettings(max_concurrent_requests=1))
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        registry = RegistryClient(session, server.make_url("/"))
        location, body = await registry.start("a"), Body()
        push = asyncio.create_task(registry.ask("PATCH", location, body(), status=202))
        await _wait_for_request(app)
        answer = await registry.ask("GET", "/v2/", status=429)
        assert answer.code == "TOOMANYREQUESTS"
        assert answer.headers["Retry-After"] == "1"
        await registry.ask("GET", "/readyz", status=200)
        body.goes_on.set()
        await push
        await registry.ask("GET", "/v2/", status=200)


async def test_uploads_have_a_limit_of_their_own(open_registry: OpenRegistry) -> None:
    registry = await open_registry(
        RegistrySettings(max_concurrent_uploads=2, upload_wait_seconds=0.1)
    )
    bodies = [Body() for _ in range(2)]
    pushes = [
        asyncio.create_task(registry.ask("PATCH", await registry.start("a"), body(), status=202))
        for body in bodies
    ]
    location = await registry.start("a")
    for body in bodies:
        await body.started.wait()
    # What has no body goes on, and one that has is refused before it is read.
    await registry.ask("GET", "/v2/", status=200)
    answer = await registry.ask("PATCH", location, b"third", status=429)
    assert (answer.code, answer.headers["Retry-After"]) == ("TOOMANYREQUESTS", "1")
    assert (await registry.ask("GET", location, status=204)).headers["Range"] == "0-0"
    for body in bodies:
        body.goes_on.set()
    await asyncio.gather(*pushes)
    await registry.ask("PATCH", location, b"third", status=202)


async def test_an_upload_waits_for_another_to_end(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(max_concurrent_uploads=1))
    locations = [await registry.start("a") for _ in range(8)]
    first = Body()
    push = asyncio.create_task(registry.ask("PATCH", locations[0], first(), status=202))
    await first.started.wait()
    others = [
        asyncio.create_task(registry.ask("PATCH", location, b"content", status=202))
        for location in locations[1:]
    ]
    assert not (await asyncio.wait(others, timeout=0.1))[0]
    first.goes_on.set()
    await asyncio.gather(push, *others)


async def test_a_blob_has_a_limit(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(max_upload_bytes=10))

    async def chunked(content: bytes) -> AsyncIterator[bytes]:
        yield content

    await registry.push_blob("a", b"0123456789")
    for content in (b"0123456789a", chunked(b"0123456789a")):
        digest = sha256(b"0123456789a")
        path = f"/v2/a/blobs/uploads/?digest={digest}"
        answer = await registry.ask("POST", path, content, status=413)
        assert (answer.code, answer.json["errors"][0]["detail"]) == ("SIZE_INVALID", {"limit": 10})
        await registry.ask("HEAD", f"/v2/a/blobs/{digest}", status=404)
    location = await registry.start("a")
    location = (await registry.ask("PATCH", location, b"012345", status=202)).location
    await registry.ask("PATCH", location, b"6789a", status=413)
    await registry.ask("PATCH", location, chunked(b"6789a"), status=413)
    # What was there is still there.
    assert (await registry.ask("GET", location, status=204)).headers["Range"] == "0-5"
    await registry.ask("PUT", f"{location}?digest={sha256(b'0123456789')}", b"6789", status=201)


async def test_a_client_that_sends_nothing_is_told_so(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(body_idle_seconds=0.1))
    location, body = await registry.start("a"), Body()
    answer = await registry.ask("PATCH", location, body(), status=408)
    assert answer.code == "BLOB_UPLOAD_INVALID"
    assert (await registry.ask("GET", location, status=204)).headers["Range"] == "0-5"


async def test_a_client_that_takes_nothing_is_cut(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(body_idle_seconds=0.2))
    # More than what sockets hold.
    digest = await registry.push_blob("a", bytes(24 * 1024 * 1024))
    assert registry.base.host is not None
    reader, writer = await asyncio.open_connection(
        registry.base.host, registry.base.port, limit=1024
    )
    try:
        request = f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(request.encode())
        assert b"200" in await reader.readline()
        await asyncio.sleep(0.5)
        received = 0
        with pytest.raises(ConnectionResetError):
            while chunk := await reader.read(65536):
                received += len(chunk)
            raise ConnectionResetError  # the end came early, without one
        assert received < 24 * 1024 * 1024
    finally:
        writer.close()


@pytest.mark.parametrize("way", ["resets the connection", "takes nothing"])
async def test_a_client_that_is_gone_is_a_line_in_the_log(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(MemoryDriver())
        idle_seconds = 0.2 if way == "takes nothing" else 60
        app = make_app(driver, RegistrySettings(body_idle_seconds=idle_seconds))
        # Not aiohttp's server for tests, which cancels a request when its client is gone.
        url = await stack.enter_async_context(
            serving(app, host="127.0.0.1", port=0, shutdown_seconds=1)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        digest = await RegistryClient(session, URL(url)).push_blob("a", bytes(24 * 1024 * 1024))
        host, port = URL(url).host, URL(url).port
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        writer.write(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        await asyncio.sleep(0.3)  # until nothing more is sent, and the registry waits
        client = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way == "resets the connection":
            writer.transport.abort()
        async with asyncio.timeout(10):
            while not any("the client is gone" in text for text in caplog.messages):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        writer.transport.abort()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_request_has_a_limit_of_time(open_registry: OpenRegistry) -> None:
    registry = await open_registry(RegistrySettings(request_seconds=0.2))
    location, body = await registry.start("a"), Body()
    answer = await registry.ask("PATCH", location, body(), status=408)
    assert answer.code == "UNAVAILABLE"
    assert (await registry.ask("GET", location, status=204)).headers["Range"] == "0-5"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_upload_bytes", -1),
        ("max_concurrent_requests", 0),
        ("max_concurrent_uploads", 0),
        ("body_idle_seconds", 0.0),
        ("request_seconds", 0.0),
        ("request_seconds", float("inf")),
        ("body_idle_seconds", float("nan")),
        ("grace_period", timedelta(days=100_000)),
        ("redirect_expiry", timedelta(0)),
    ],
)
def test_limits_are_checked(setting: str, value: float | timedelta) -> None:
    options: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigurationError, match=setting):
        RegistrySettings(**options)


async def _wait_for_request(app: web.Application) -> None:
    while not app[TRAFFIC].count:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)


async def test_requests_are_finished_at_the_end(storage: StorageDriver) -> None:
    body, app = Body(), make_app(storage)
    async with aiohttp.ClientSession() as session:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(
                serving(app, host="127.0.0.1", port=0, shutdown_seconds=60)
            )
            registry = RegistryClient(session, URL(url))
            await registry.ask("GET", "/v2/", status=200)  # leaves an idle connection
            content = b"first second"
            path = f"/v2/a/blobs/uploads/?digest={sha256(content)}"
            push = asyncio.create_task(registry.ask("POST", path, body(), status=201))
            await body.started.wait()
            await _wait_for_request(app)
            end = asyncio.create_task(stack.pop_all().aclose())
            while True:
                try:
                    _, writer = await asyncio.open_connection(
                        registry.base.host, registry.base.port
                    )
                    writer.close()
                    await asyncio.sleep(0)
                except ConnectionError:
                    break
            assert not end.done()
            body.goes_on.set()
            answer = await push
            assert answer.headers["Connection"] == "close"
            await end
        assert await storage.list("/docker/registry/v2/blobs/sha256")


async def test_requests_that_take_too_long_are_cut_at_the_end(storage: StorageDriver) -> None:
    body, app = Body(), make_app(storage)
    async with aiohttp.ClientSession() as session:
        async with serving(app, host="127.0.0.1", port=0, shutdown_seconds=0.1) as url:
            registry = RegistryClient(session, URL(url))
            location = await registry.start("a")
            push = asyncio.create_task(registry.ask("PATCH", location, body()))
            await body.started.wait()
            await _wait_for_request(app)
        with pytest.raises(aiohttp.ClientError):
            await push
    async with storage.writer(
        f"/docker/registry/v2/repositories/a/_uploads/{location.rpartition('/')[2]}/data",
        append=True,
    ) as writer:
        assert writer.size == 6
