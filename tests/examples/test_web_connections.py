"""The web apps and their connections: bad requests, clients that hang up, back-pressure, faults."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest

from azdriver import AzureBlobDriver, FileInfo, MemoryDriver, PathNotFoundError, StorageDriver
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import Fault, Faults, Send, answer, cut_answer
from azdriver.testing.recording import RecordedRequest, RecordingTransport

KIB: Final = 1024
MIB: Final = 1024 * KIB
PATH: Final = "/files/x"


async def connect(
    address: tuple[str, int],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with little buffer on this side, so that what was sent has been taken."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, address)
    reader, writer = await asyncio.open_connection(sock=client, limit=64 * KIB)
    writer.transport.set_write_buffer_limits(high=0)
    return reader, writer


async def ask(address: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """Send bytes; the status and everything else of what comes back."""
    reader, writer = await connect(address)
    writer.write(request)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answered.split(b" ", 2)[1]), answered


def head(method: str, target: str, *fields: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: test", "Connection: close", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    "target",
    [
        "/files/../uploads/x",
        "/files/%2e%2e/uploads/x",
        "/files/..%2fuploads%2fx",
        "/files//x",
        "/files/a%20b",
        "/files/%00",
        "/files/caf%C3%A9",
        "/files/x%0a",
        "/files/" + "x" * 1024,
    ],
)
async def test_a_wrong_path_is_a_bad_request(serve: Any, target: str) -> None:
    async with MemoryDriver() as driver:
        await driver.put_content("/uploads/x", b"not to be reached")
        async with serve(driver) as address:
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                status, answered = await ask(address, head(method, target, "Content-Length: 0"))
                # aiohttp's router matches no newline.
                assert status == 400 or (status == 404 and target.endswith("%0a"))
                assert b"not to be reached" not in answered
        assert [info.path async for info in driver.walk("/")] == ["/uploads", "/uploads/x"]


async def test_the_rule_that_a_path_breaks_is_told(serve: Any) -> None:
    async with MemoryDriver() as driver, serve(driver) as address:
        status, answered = await ask(address, head("GET", "/files/a%20b"))
        assert status == 400
        assert b"segments are of letters" in answered


async def test_a_body_of_a_wrong_length_is_a_bad_request(serve: Any) -> None:
    async with MemoryDriver() as driver, serve(driver) as address:
        for field in ("Content-Length: x", "Content-Length: -1", "Transfer-Encoding: nonsense"):
            status, _ = await ask(address, head("PUT", PATH, field) + b"body")
            assert 400 <= status <= 501
        assert await driver.list("/") == []


async def until(is_so: Callable[..., bool], *arguments: object) -> None:
    """Wait for what only shows in the log; the test's own time-out ends it."""
    while not is_so(*arguments):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_a_malformed_chunk_leaves_nothing(serve: Any) -> None:
    async with MemoryDriver() as driver, serve(driver) as address:
        request = head("PUT", PATH, "Transfer-Encoding: chunked") + b"4\r\nbodyxx\r\n"
        status, _ = await ask(address, request)
        assert status == 400
        assert await driver.list("/") == []


def downloads_ended(caplog: pytest.LogCaptureFixture, count: int) -> bool:
    return sum(f": reader {PATH}" in text for text in caplog.messages) == count


def uploads_ended(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the driver's own log says of writers that were left."""
    return [text for text in caplog.messages if ": writer /uploads/" in text]


@pytest.mark.parametrize("length", ["declared", "chunked"])
@pytest.mark.parametrize("end", ["closed", "reset"])
async def test_an_upload_that_is_broken_off_leaves_nothing(
    serve: Any,
    storage: StorageDriver,
    caplog: pytest.LogCaptureFixture,
    length: str,
    end: str,
) -> None:
    await storage.put_content(PATH, b"old")
    caplog.set_level(logging.DEBUG, "azdriver")
    async with serve(storage) as address:
        _, writer = await connect(address)
        part = bytes(MIB)
        if length == "declared":
            writer.write(head("PUT", PATH, f"Content-Length: {9 * MIB}"))
        else:
            writer.write(head("PUT", PATH, "Transfer-Encoding: chunked"))
        for _ in range(2):
            writer.write(part if length == "declared" else b"100000\r\n" + part + b"\r\n")
            await writer.drain()
        if end == "closed":
            writer.close()
            await writer.wait_closed()
        else:
            writer.transport.abort()

        await until(lambda: bool(uploads_ended(caplog)))
        assert ": ok" not in uploads_ended(caplog)[0]
        assert await storage.get_content(PATH) == b"old"
        assert await storage.list("/") == ["/files"]
        temporary = uploads_ended(caplog)[0].split(": writer ")[1].split(":")[0]
        with pytest.raises(PathNotFoundError):  # not even to be resumed
            async with storage.writer(temporary, append=True):
                pass
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_small_upload_that_is_broken_off_leaves_nothing(
    serve: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "azdriver")
    async with MemoryDriver() as driver:
        async with serve(driver) as address:
            _, writer = await connect(address)
            writer.write(head("PUT", PATH, "Content-Length: 1000") + bytes(999))
            await writer.drain()

            await until(lambda: any(": stat /files/x" in text for text in caplog.messages))
            writer.close()
            await writer.wait_closed()
        # The server has stopped, and with it every request.
        assert await driver.list("/") == []


async def test_downloads_that_are_broken_off_leak_no_connection(
    serve: Any,
    azure: StorageDriver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The driver has two connections: five that leaked would leave none."""
    body = random.Random(1).randbytes(16 * MIB)
    async with azure.writer(PATH) as stream:
        await stream.write(body)
        await stream.commit()
    caplog.set_level(logging.DEBUG, "azdriver")
    async with serve(azure) as address:
        for number in range(1, 6):
            reader, writer = await connect(address)
            writer.write(head("GET", PATH))
            assert (await reader.readline()).split()[1] == b"200"
            if number % 2:
                writer.transport.abort()
            else:
                writer.close()
                await writer.wait_closed()
            await until(downloads_ended, caplog, number)
        status, answered = await ask(address, head("GET", PATH))
        assert (status, answered.endswith(body)) == (200, True)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_hangs_up_while_it_is_waited_for_is_no_error(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It took so little that the server waits for it, and then resets the connection."""
    caplog.set_level(logging.DEBUG, "azdriver")
    async with MemoryDriver() as driver:
        await driver.put_content(PATH, bytes(16 * MIB))
        async with serve(driver) as address:
            reader, writer = await connect(address)
            writer.write(head("GET", PATH))
            assert (await reader.readline()).split()[1] == b"200"
            await asyncio.sleep(0.3)  # until nothing more is sent
            assert not downloads_ended(caplog, 1)
            client = writer.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await until(downloads_ended, caplog, 1)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Gate:
    """Lets the first requests of one kind through, and holds the others until it is opened."""

    def __init__(self, operation: str, *, after: int) -> None:
        self.is_open = asyncio.Event()
        self.fault = Fault("held back", self._play, on=operation, after=after, times=None)

    async def _play(self, request: Any, send: Send) -> Any:
        await self.is_open.wait()
        return await send()


async def test_a_fast_client_waits_for_a_slow_storage(
    serve: Any, azurite_server: AzuriteServer, container: str
) -> None:
    body = random.Random(1).randbytes(24 * MIB)
    gate = Gate("Put Block", after=5)  # the one by which a writer declares itself, and 1 MiB
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        write_mode="block",
        block_bytes=256 * KIB,
        blocks_in_flight=2,
        wrap_transport=Faults(gate.fault).wrap,
    ) as driver:
        async with serve(driver) as address:
            reader, writer = await connect(address)
            writer.write(head("PUT", PATH, f"Content-Length: {len(body)}"))
            taken = 0

            async def send_all() -> None:
                nonlocal taken
                for begin in range(0, len(body), 64 * KIB):
                    writer.write(body[begin : begin + 64 * KIB])
                    await writer.drain()
                    taken = begin + 64 * KIB

            sending = asyncio.create_task(send_all())
            before = -1
            while before != taken or gate.fault.struck == 0:  # until nothing is taken any more
                before = taken
                await asyncio.sleep(0.5)
            assert not sending.done()
            assert MIB < taken <= 4 * MIB
            gate.is_open.set()
            await sending
            assert (await reader.readline()).split()[1] == b"201"
            writer.close()
            await writer.wait_closed()
            stored = await driver.get_content(PATH)
            assert hashlib.sha256(stored).digest() == hashlib.sha256(body).digest()


async def test_a_slow_client_holds_the_reader_back(
    serve: Any, azurite_server: AzuriteServer, container: str
) -> None:
    requests: list[RecordedRequest] = []
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        read_range_bytes=256 * KIB,
        read_ranges_in_flight=2,
        wrap_transport=lambda inner: RecordingTransport(inner, requests),
    ) as driver:
        await driver.put_content(PATH, bytes(24 * MIB))
        requests.clear()

        def ranges() -> int:
            return sum(request.operation == "Get Blob" for request in requests)

        async with serve(driver) as address:
            reader, writer = await connect(address)
            writer.write(head("GET", PATH))
            await reader.readline()
            before = -1
            while before != ranges() or not before:  # until nothing more is fetched
                before = ranges()
                await asyncio.sleep(0.5)
            assert ranges() <= 24  # of 96
            answered = await reader.read()
            assert answered.endswith(bytes(24 * MIB))
            writer.close()
            await writer.wait_closed()


async def test_a_blob_that_changes_under_a_download_cuts_it(
    serve: Any, azure: StorageDriver
) -> None:
    """No status is left to be sent; the client can tell by the length that its body is not all."""
    await azure.put_content(PATH, bytes(16 * MIB))
    async with serve(azure) as address:
        reader, writer = await connect(address)
        writer.write(head("GET", PATH))
        assert (await reader.readline()).split()[1] == b"200"
        await azure.put_content(PATH, b"\1" * 16 * MIB)
        received = b""
        with suppress(ConnectionResetError):  # as clear
            received = await reader.read()
        assert len(received) < 16 * MIB
        assert b"\1" not in received
        writer.transport.abort()
        status, answered = await ask(address, head("GET", PATH, "Range: bytes=0-9"))
        assert (status, answered.endswith(b"\1" * 10)) == (206, True)


class Overwritten(MemoryDriver):
    """Another client overwrites the file right after it was looked at, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def stat(self, path: str) -> FileInfo:
        info = await super().stat(path)
        if self.left:
            self.left -= 1
            await self.put_content(path, b"v%d" % self.left + bytes(info.size))
        return info


async def test_head_and_body_are_of_one_version(serve: Any) -> None:
    async with Overwritten(2) as driver:
        await driver.put_content(PATH, b"v2")
        async with serve(driver) as address:
            status, answered = await ask(address, head("GET", PATH))
            assert (status, answered.endswith(b"\r\n\r\nv0" + bytes(4))) == (200, True)
            assert b"content-length: 6\r\n" in answered.lower()
            etag = (await driver.stat(PATH)).etag
            assert etag is not None
            assert etag.encode() in answered


async def test_a_file_that_is_overwritten_all_the_time_is_a_conflict(serve: Any) -> None:
    async with Overwritten(99) as driver:
        await driver.put_content(PATH, b"")
        async with serve(driver) as address:
            await ask(address, head("HEAD", PATH))
            assert (await ask(address, head("GET", PATH)))[0] == 409


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (answer(503, "ServerBusy", on="Get Blob Properties", times=None), 503),
        (answer(403, "AuthorizationFailure", on="Get Blob Properties", times=None), 502),
    ],
    ids=["busy", "forbidden"],
)
async def test_what_the_backend_answers_is_not_shown(
    serve: Any, azurite_server: AzuriteServer, container: str, fault: Fault, status: int
) -> None:
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string,
        container,
        retry=RetrySettings(retries=0),
        wrap_transport=Faults(fault).wrap,
    ) as driver:
        async with serve(driver) as address:
            for method in ("GET", "PUT", "DELETE"):
                answered = await ask(address, head(method, PATH, "Content-Length: 0"))
                assert answered[0] == status
                assert b"azure" not in answered[1].lower()
                assert b"ServerBusy" not in answered[1]
                assert (b"retry-after: 1" in answered[1].lower()) == (status == 503)


async def test_a_cut_answer_of_the_storage_is_not_seen(
    serve: Any, azurite_server: AzuriteServer, container: str
) -> None:
    fault = cut_answer(on="Get Blob")
    body = random.Random(1).randbytes(MIB)
    async with AzureBlobDriver.from_connection_string(
        azurite_server.connection_string, container, wrap_transport=Faults(fault).wrap
    ) as driver:
        await driver.put_content(PATH, body)
        async with serve(driver) as address:
            status, answered = await ask(address, head("GET", PATH))
            assert (status, answered.endswith(body), fault.struck) == (200, True, 1)
