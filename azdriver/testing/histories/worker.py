"""What the tasks of a driver do: operations at random, written down; the historical algorithms."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobType
from azure.storage.blob.aio import ContainerClient

from azdriver.azureblob import AzureBlobDriver
from azdriver.errors import PathNotFoundError, PreconditionFailedError, StorageDriverError
from azdriver.testing.histories.load import SHARES, Load
from azdriver.testing.histories.records import Record, Sent
from azdriver.testing.histories.wire import current

HISTORICAL_CHUNK: Final = 100  # bytes of one Append Block of the historical put
# Between the look and the deletion of the unconditional migration, in times that the look took:
# what a network would put there. On loopback the window is there as well, but a short load
# rarely meets it.
HISTORICAL_PAUSE: Final = 10


def _content(value: str, rng: random.Random) -> bytes:
    """Bytes that name the value, and show whether they are whole."""
    body = value.encode() + b"\n" + rng.randbytes(rng.randrange(1, 600))
    return hashlib.sha256(body).digest() + body


def _value(content: bytes) -> str:
    """The value of whole bytes; ``""`` of others."""
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        return ""
    return body.partition(b"\n")[0].decode()


class Worker:
    """One driver and its tasks."""

    def __init__(
        self,
        load: Load,
        driver: AzureBlobDriver,
        raw: ContainerClient,
        by: str,
        budget: list[int],
        records: list[Record],
    ) -> None:
        self._load = load
        self._driver = driver
        self._raw = raw
        self._by = by
        self._budget = budget
        self._records = records
        self._random = random.Random(f"{load.seed} {by}")
        self._paths = [f"/histories/{number}" for number in range(load.paths)]
        self._values = 0
        self._put: Callable[..., Awaitable[str]] = {
            "azdriver": self._put_by_driver,
            "append-writer": self._put_by_append_writer,
            "unconditional-delete": self._put_with_unconditional_delete,
        }[load.variant]

    async def run(self) -> None:
        possible = {k: n for k, n in SHARES.items() if k != "move" or len(self._paths) > 1}
        if self._load.variant == "unconditional-delete":
            possible["plant"] *= 4  # what it does wrong, it does to those
        kinds, shares = list(possible), list(possible.values())
        while self._budget[0] > 0:
            self._budget[0] -= 1
            (kind,) = self._random.choices(kinds, shares)
            path = self._random.choice(self._paths)
            if kind == "swap":
                await self._swap(path)
            else:
                await self._do(Record(kind, path, by=self._by))

    async def _swap(self, path: str) -> None:
        looked = Record("stat", path, by=self._by)
        await self._do(looked)
        if looked.outcome == "ok":
            self._budget[0] -= 1
            await self._do(Record("swap", path, condition=looked.got, by=self._by))

    async def _do(self, record: Record) -> None:
        if record.kind in ("put", "swap", "create", "plant"):
            self._values += 1
            record.value = f"{self._by}.{self._values}"
        if record.kind == "move":
            record.dest = self._random.choice([p for p in self._paths if p != record.path])
        self._records.append(record)
        token = current.set(record)
        record.start = time.monotonic_ns()
        try:
            record.got = await self._call(record) or ""
            record.outcome = "ok"
        except PathNotFoundError:
            record.outcome = "missing"
        except PreconditionFailedError:
            record.outcome = "refused"
        except StorageDriverError as error:
            record.outcome = "unknown"
            record.error = f"{type(error).__name__}: {error}"
        finally:
            record.end = time.monotonic_ns()
            current.reset(token)

    async def _call(self, record: Record) -> str | None:
        match record.kind:
            case "get":
                return _value(await self._driver.get_content(record.path))
            case "stat":
                return _bare((await self._driver.stat(record.path)).etag)
            case "put" | "swap" | "create":
                return await self._put(record, _content(record.value, self._random))
            case "delete":
                await self._driver.delete(record.path)
            case "move":
                await self._driver.move(record.path, record.dest)
            case "plant":
                return await self._plant(record)
        return None

    async def _put_by_driver(self, record: Record, content: bytes) -> str:
        info = await self._driver.put_content(
            record.path,
            content,
            if_match=record.condition or None,
            if_absent=record.kind == "create",
        )
        return _bare(info.etag)

    async def _plant(self, record: Record) -> str:
        """An append blob at once, so that what is torn is never the plant's own."""
        staging = self._raw.get_blob_client(f"staging/{uuid4().hex}")
        try:
            await staging.create_append_blob()
            await staging.append_block(_content(record.value, self._random))
            record.start = time.monotonic_ns()
            await self._blob(record.path).start_copy_from_url(staging.url)
            await staging.delete_blob()
        except AzureError as error:
            raise StorageDriverError("plant", record.path) from error
        return ""

    def _blob(self, path: str) -> Any:
        return self._raw.get_blob_client(path[1:])

    async def _put_by_append_writer(self, record: Record, content: bytes) -> str:
        """PutContent as it once was: through the writer, in chunks."""
        if record.kind != "put":
            return await self._put_by_driver(record, content)
        blob = self._blob(record.path)
        sent = Sent("Put Blob", time.monotonic_ns())
        record.sent.append(sent)
        try:
            answer = await blob.create_append_blob()
            for start in range(0, len(content), HISTORICAL_CHUNK):
                answer = await blob.append_block(content[start : start + HISTORICAL_CHUNK])
        except AzureError as error:
            if isinstance(error, HttpResponseError):
                sent.answered, sent.status = time.monotonic_ns(), error.status_code or 0
            raise StorageDriverError("historical", record.path) from error
        sent.answered, sent.status, sent.etag = time.monotonic_ns(), 201, _bare(answer["etag"])
        return sent.etag

    async def _put_with_unconditional_delete(self, record: Record, content: bytes) -> str:
        """A migration that deletes whatever is there by now."""
        if record.kind != "put":
            return await self._put_by_driver(record, content)
        blob = self._blob(record.path)
        try:
            try:
                began = time.monotonic()
                if (await blob.get_blob_properties()).blob_type != BlobType.BLOCKBLOB:
                    await asyncio.sleep(HISTORICAL_PAUSE * (time.monotonic() - began))
                    await blob.delete_blob()
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise
            answer = await blob.upload_blob(content, overwrite=True)
        except AzureError as error:
            raise StorageDriverError("historical", record.path) from error
        return _bare(answer["etag"])


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')
