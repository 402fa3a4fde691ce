"""What happens when many clients put a content at one path at once?

N clients put M contents each, while others read; every content holds its own hash, so that a
read which is not one whole version shows. Against azdriver stands the way in which contents were
put before 2016, by the append writer: delete what is there, create an append blob, append. It is
done charitably here: the Go driver of that time also forgot to create after some deletions. At
first there is a content of the same kind, or a legacy append blob, which azdriver has to migrate.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from anyio.from_thread import start_blocking_portal
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from azdriver import AzureBlobDriver, StorageDriverError
from azdriver.azureblob.options import SharedKey
from azdriver.testing.azurite import azurite
from azdriver.testing.recording import RecordingTransport
from benchmarks.harness import (
    ACCOUNT_KEY,
    ACCOUNT_NAME,
    Session,
    arguments,
    session,
)

__all__ = ["measure"]

CLIENTS: Final = (2, 4, 8, 16, 32, 64, 128)
READERS: Final = 4
PUTS_EACH: Final = 8
MAX_BODY_BYTES: Final = 64 * 1024
CONTAINER: Final = f"race-{time.time_ns():x}"  # the Azurite may be one that runs already
DIGEST_BYTES: Final = 32

Put = Callable[[bytes], Awaitable[object]]


def _content(rng: random.Random) -> bytes:
    body = rng.randbytes(rng.randrange(1, MAX_BODY_BYTES))
    return hashlib.sha256(body).digest() + body


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[DIGEST_BYTES:]).digest() == content[:DIGEST_BYTES]


class _Contender:
    """How contents are put; ``requests`` counts what that took, where it can be seen."""

    def __init__(self, put: Put, transports: Sequence[RecordingTransport]) -> None:
        self.put = put
        self.transports = transports

    def requests(self) -> dict[str, int]:
        return dict(sum((Counter(t.counts()) for t in self.transports), Counter[str]()))

    def forget(self) -> None:
        for transport in self.transports:
            transport.requests.clear()


@asynccontextmanager
async def _azdriver(endpoint: str, name: str, clients: int) -> AsyncIterator[_Contender]:
    from azdriver import AzureBlobOptions

    transports: list[RecordingTransport] = []

    def record(inner: Any) -> RecordingTransport:
        transports.append(RecordingTransport(inner))
        return transports[-1]

    options = AzureBlobOptions(
        account_url=endpoint,
        container=CONTAINER,
        credential=SharedKey(ACCOUNT_NAME, ACCOUNT_KEY),
        connections=max(100, clients),
    )
    async with AzureBlobDriver(options, wrap_transport=record) as driver:
        yield _Contender(lambda content: driver.put_content("/" + name, content), transports)


@asynccontextmanager
async def _append_writer(endpoint: str, name: str, clients: int) -> AsyncIterator[_Contender]:
    async with _sdk(endpoint) as container:
        blob = container.get_blob_client(name)

        async def put(content: bytes) -> None:
            with suppress(ResourceNotFoundError):
                await blob.delete_blob()
            await blob.create_append_blob()
            await blob.append_block(content)

        yield _Contender(put, ())


Opener = Callable[[str, str, int], AbstractAsyncContextManager[_Contender]]
CONTENDERS: Final[dict[str, Opener]] = {
    "azdriver": _azdriver,
    "append-writer": _append_writer,
}


@asynccontextmanager
async def _sdk(endpoint: str) -> AsyncIterator[ContainerClient]:
    async with BlobServiceClient(
        endpoint,
        credential={"account_name": ACCOUNT_NAME, "account_key": ACCOUNT_KEY},
        retry_total=0,
    ) as service:
        yield service.get_container_client(CONTAINER)


async def _race(
    endpoint: str, contender_name: str, scenario: str, clients: int, puts_each: int
) -> dict[str, Any]:
    name = f"race-{time.time_ns():x}"
    rng = random.Random()
    seen: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    last: set[bytes] = set()
    finished = asyncio.Event()
    async with (
        _sdk(endpoint) as container,
        CONTENDERS[contender_name](endpoint, name, clients) as contender,
    ):
        blob = container.get_blob_client(name)
        if scenario == "legacy":
            await blob.create_append_blob()
            await blob.append_block(_content(rng))
        else:
            await contender.put(_content(rng))
        contender.forget()

        async def read() -> None:
            seen["reads"] += 1
            try:
                content = await (await blob.download_blob()).readall()
            except ResourceNotFoundError:
                seen["missing"] += 1
            except AzureError:
                seen["read_errors"] += 1
            else:
                seen["whole" if _is_whole(content) else "torn"] += 1

        async def reader() -> None:
            while not finished.is_set():
                await read()

        async def client() -> None:
            for _ in range(puts_each):
                content = _content(rng)
                try:
                    await contender.put(content)
                except (StorageDriverError, HttpResponseError) as error:
                    code = getattr(error, "error_code", None)
                    failed[str(getattr(code, "value", code) or type(error).__name__)] += 1
                else:
                    seen["acknowledged"] += 1
                    last.add(content)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(reader())
            try:
                async with asyncio.TaskGroup() as writers:
                    for _ in range(clients):
                        writers.create_task(client())
            finally:
                finished.set()
        seconds = time.perf_counter() - began
        requests = contender.requests()
        try:
            left = await (await blob.download_blob()).readall()
        except AzureError:
            left = b""
    row: dict[str, Any] = {"seconds": round(seconds, 6), "failed": dict(failed)}
    for count in ("acknowledged", "reads", "whole", "torn", "missing", "read_errors"):
        row[count] = seen[count]
    if requests:
        row["requests"] = requests
        # More than the one look and the one write that a put takes.
        puts = clients * puts_each
        row["retries"] = sum(requests.values()) - 2 * puts
    return row | {"left_is_whole": left in last}


def measure(run: Session, server: str = "azurite") -> None:
    if server == "standin":
        run.standin.container(CONTAINER)
        run.standin.shape()
        _measure(run, run.standin.endpoint, server)
        return
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(azurite()) as started:
            with portal.wrap_async_context_manager(_sdk(started.blob_endpoint)) as container:
                portal.call(container.create_container)
            _measure(run, started.blob_endpoint, server)


def _measure(run: Session, endpoint: str, server: str) -> None:
    settings = run.settings
    puts_each = settings.scale(PUTS_EACH, 2)
    for number in range(settings.rounds):
        for clients in CLIENTS if not settings.is_quick else (2, 8):
            for scenario in ("content", "legacy"):
                for peer in random.sample(sorted(CONTENDERS), k=len(CONTENDERS)):
                    setting = {
                        "workload": "race",
                        "peer": peer,
                        "round": number,
                        "server": server,
                        "scenario": scenario,
                        "clients": clients,
                        "puts_each": puts_each,
                    }
                    row = asyncio.run(_race(endpoint, peer, scenario, clients, puts_each))
                    run.output.row(setting | row)
                    run.output.say(f"{setting}: {row}")
                    is_right = not (row["torn"] or row["failed"]) and row["left_is_whole"]
                    if peer == "azdriver" and not is_right:
                        run.output.failed(f"a torn read or a lost write: {setting} {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=("azurite", "standin"), default="azurite")
    # The server is this script's own option; the others are those of all scripts.
    settings = arguments(None, parser)
    with session(settings) as run:
        measure(run, parser.parse_args().server)


if __name__ == "__main__":
    main()
