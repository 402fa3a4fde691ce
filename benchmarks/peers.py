"""Opens the peers: one interface over azdriver and what it is compared with.

A peer is used as its documentation tells a user to, not as its fastest expert would; where a
peer has a setting for what is asked (blocks in flight, ranges in flight), it is set. What is not
installed, or an option that azdriver does not have yet, is reported and left out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote, urlsplit

__all__ = ["PEERS", "Missing", "Peer", "Place", "Tuning", "open_peer", "peer_version"]

MIB: Final = 1024 * 1024


class Missing(Exception):
    """A peer that cannot take part, and why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where all peers work: the same endpoint, account and container."""

    endpoint: str
    account_name: str
    account_key: str
    container: str

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={urlsplit(self.endpoint).scheme};"
            f"AccountName={self.account_name};AccountKey={self.account_key};"
            f"BlobEndpoint={self.endpoint};"
        )

    def sas(self) -> str:
        """For the peer that cannot sign requests."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        return generate_container_sas(
            self.account_name,
            self.container,
            account_key=self.account_key,
            permission=ContainerSasPermissions(
                read=True, add=True, create=True, write=True, delete=True, list=True
            ),
            expiry=datetime.now(UTC) + timedelta(hours=12),
        )


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a workload asks of every peer that can be told; None for a peer's own default.

    Attributes:
        connections: requests at once at most; a pool smaller than that would be what is measured.
        in_flight: blocks of a stream on their way at once, or ranges of one.
        part_bytes: the bytes of one block, or of one range.
    """

    connections: int | None = None
    in_flight: int | None = None
    part_bytes: int | None = None


class Peer(ABC):
    """Names have no leading slash; a directory has neither that nor one at its end."""

    module: ClassVar[str]
    """What it comes in, for its version."""

    def __init__(self, place: Place, tuning: Tuning) -> None:
        self.place = place
        self.tuning = tuning
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        try:
            await self.open()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.stack.__aexit__(exc_type, exc, tb)

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def get(self, name: str) -> int:
        """Read a blob whole; its length."""

    @abstractmethod
    async def put(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a stream of unknown length."""

    @abstractmethod
    def read(self, name: str) -> AsyncIterator[int]:
        """Read a stream; the lengths of its chunks as they become the caller's."""

    @abstractmethod
    async def list(self, directory: str) -> int:
        """How many blobs and directories are one level below."""

    @abstractmethod
    async def walk(self, directory: str) -> tuple[int, int]:
        """How many blobs are below, and their bytes."""

    @abstractmethod
    async def delete(self, directory: str) -> None:
        """Everything below."""


async def blocks_of(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Chunks joined to blocks, as a user who has to fill them does."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


async def in_order(
    spans: Iterable[tuple[int, int]],
    fetch: Callable[[int, int], Any],
    in_flight: int,
) -> AsyncIterator[Any]:
    """What ``fetch(first, length)`` brings, in order, so many at once."""
    tasks: list[asyncio.Task[Any]] = []
    remaining = iter(spans)
    try:
        while True:
            while len(tasks) < in_flight and (span := next(remaining, None)) is not None:
                tasks.append(asyncio.ensure_future(fetch(*span)))
            if not tasks:
                return
            yield await tasks.pop(0)
    finally:
        for task in tasks:
            task.cancel()


def spans_of(size: int, part: int) -> Iterator[tuple[int, int]]:
    for first in range(0, size, part):
        yield first, min(part, size - first)


# azdriver.

# What a setting of ours is called there: the first one that exists is taken.
_TUNED_OPTIONS: Final[dict[str, Sequence[str]]] = {
    "connections": ("connections",),
    "in_flight": ("blocks_in_flight",),
    "part_bytes": ("block_bytes",),
    "ranges_in_flight": ("read_ranges_in_flight",),
    "range_bytes": ("read_range_bytes",),
    "lean_lane": ("lean_lane", "use_lean_lane"),
}


class Azdriver(Peer):
    module = "azdriver"
    options: ClassVar[dict[str, Any]] = {}
    """Options of this variant by their own names; what does not exist leaves the variant out."""

    @classmethod
    def make_options(cls, place: Place, tuning: Tuning, more: dict[str, Any]) -> Any:
        from azdriver.azureblob.options import AzureBlobOptions, SharedKey
        from azdriver.errors import ConfigurationError

        known = {field.name for field in dataclasses.fields(AzureBlobOptions)}
        arguments: dict[str, Any] = {}
        wanted: dict[str, Any] = {
            "connections": tuning.connections,
            "in_flight": tuning.in_flight,
            "part_bytes": tuning.part_bytes,
            "ranges_in_flight": tuning.in_flight,
            "range_bytes": tuning.part_bytes,
        }
        for setting, value in wanted.items():
            for name in _TUNED_OPTIONS[setting]:
                if value is not None and name in known:
                    arguments[name] = value
                    break
        for name, value in more.items():
            names = _TUNED_OPTIONS.get(name, (name,))
            found = next((name for name in names if name in known), None)
            if found is None:
                raise Missing(f"AzureBlobOptions has no {' or '.join(names)}")
            arguments[found] = value
        try:
            return AzureBlobOptions(
                account_url=place.endpoint,
                container=place.container,
                credential=SharedKey(place.account_name, place.account_key),
                **arguments,
            )
        except ConfigurationError as error:
            raise Missing(str(error)) from error

    async def open(self) -> None:
        from azdriver import AzureBlobDriver

        options = self.make_options(self.place, self.tuning, dict(self.options))
        self.driver = await self.stack.enter_async_context(AzureBlobDriver(options))

    async def get(self, name: str) -> int:
        return len(await self.driver.get_content("/" + name))

    async def put(self, name: str, data: bytes) -> None:
        await self.driver.put_content("/" + name, data)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        async with self.driver.writer("/" + name) as writer:
            async for chunk in chunks:
                await writer.write(chunk)
            await writer.commit()

    async def read(self, name: str) -> AsyncIterator[int]:
        async with self.driver.reader("/" + name) as reader:
            async for chunk in reader:
                yield len(chunk)

    async def list(self, directory: str) -> int:
        return len(await self.driver.list("/" + directory))

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for info in self.driver.walk("/" + directory):
            if not info.is_dir:
                count += 1
                size += info.size
        return count, size

    async def delete(self, directory: str) -> None:
        await self.driver.delete("/" + directory)


class AzdriverBlock(Azdriver):
    options: ClassVar[dict[str, Any]] = {"write_mode": "block"}


class AzdriverOneRange(Azdriver):
    """Reads by one request for all: one connection."""

    options: ClassVar[dict[str, Any]] = {"read_range_bytes": 1 << 40}


class AzdriverSdkLane(Azdriver):
    """The switch back to the SDK's own calls."""

    options: ClassVar[dict[str, Any]] = {"lean_lane": False}


# The SDK, as a plain user has it.


class Sdk(Peer):
    module = "azure-storage-blob"
    append_bytes: ClassVar[int] = 4 * MIB

    async def open(self) -> None:
        from azure.storage.blob.aio import BlobServiceClient

        service = BlobServiceClient.from_connection_string(self.place.connection_string)
        await self.stack.enter_async_context(service)
        self.client = service.get_container_client(self.place.container)

    async def get(self, name: str) -> int:
        stream = await self.client.download_blob(name)
        return len(await stream.readall())

    async def put(self, name: str, data: bytes) -> None:
        await self.client.upload_blob(name, data, overwrite=True)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        blob = self.client.get_blob_client(name)
        await blob.create_append_blob()
        async for block in blocks_of(chunks, self.append_bytes):
            await blob.append_block(block)

    async def read(self, name: str) -> AsyncIterator[int]:
        arguments: dict[str, Any] = {}
        if self.tuning.in_flight is not None:
            arguments["max_concurrency"] = self.tuning.in_flight
        stream = await self.client.download_blob(name, **arguments)
        async for chunk in stream.chunks():
            yield len(chunk)

    async def list(self, directory: str) -> int:
        count = 0
        async for _ in self.client.walk_blobs(name_starts_with=directory + "/", delimiter="/"):
            count += 1
        return count

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for blob in self.client.list_blobs(name_starts_with=directory + "/"):
            count += 1
            size += blob.size
        return count, size

    async def delete(self, directory: str) -> None:
        batch: list[str] = []
        async for blob in self.client.list_blobs(name_starts_with=directory + "/"):
            batch.append(blob.name)
            if len(batch) == 256:
                await self._delete_batch(batch)
                batch.clear()
        if batch:
            await self._delete_batch(batch)

    async def _delete_batch(self, batch: Sequence[str]) -> None:
        answers = await self.client.delete_blobs(*batch, raise_on_any_failure=False)
        statuses = [answer.status_code async for answer in answers]
        if statuses != [202] * len(batch):
            # Azurite up to 3.35 misreads the SDK's batches: then it is one by one.
            for name in batch:
                await self.client.delete_blob(name)


class SdkStaged(Sdk):
    """Its writes go by ``upload_blob`` of a generator, staged side by side."""

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        await self.client.upload_blob(
            name, chunks, overwrite=True, max_concurrency=self.tuning.in_flight or 16
        )


# aiohttp by hand, with a signed query: the floor.


class Raw(Peer):
    module = "aiohttp"
    append_bytes: ClassVar[int] = 4 * MIB
    _headers: ClassVar[dict[str, str]] = {"x-ms-version": "2025-01-05"}
    _marker = re.compile(r"<NextMarker>([^<]*)</NextMarker>")
    _entry = re.compile(
        r"<Blob><Name>([^<]*)</Name>.*?<Content-Length>(\d+)</Content-Length>", re.DOTALL
    )

    async def open(self) -> None:
        import aiohttp

        self.session = await self.stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.tuning.connections or 100),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                read_bufsize=512 * 1024,
                raise_for_status=True,
            )
        )
        self.sas = self.place.sas()

    def _url(self, name: str, query: str = "") -> Any:
        import yarl

        base = f"{self.place.endpoint}/{self.place.container}/{quote(name)}"
        return yarl.URL(f"{base}?{query}{'&' if query else ''}{self.sas}", encoded=True)

    async def _send(
        self, method: str, url: Any, data: Any = None, headers: dict[str, str] | None = None
    ) -> bytes:
        async with self.session.request(method, url, data=data, headers=headers) as response:
            return await response.read()

    async def get(self, name: str) -> int:
        return len(await self._send("GET", self._url(name)))

    async def put(self, name: str, data: bytes) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Length": str(len(data))}
        # A large body handed over whole would be copied into the loop's write buffer.
        body = data if len(data) <= MIB else _slices(data)
        await self._send("PUT", self._url(name), body, headers)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        await self._send("PUT", self._url(name), b"", {"x-ms-blob-type": "AppendBlob"})
        url = self._url(name, "comp=appendblock")
        async for block in blocks_of(chunks, self.append_bytes):
            await self._send("PUT", url, _slices(block), {"Content-Length": str(len(block))})

    async def read(self, name: str) -> AsyncIterator[int]:
        if self.tuning.in_flight is not None:
            part = self.tuning.part_bytes or 4 * MIB
            size = await self._size(name)
            async for body in in_order(
                spans_of(size, part), lambda a, n: self._range(name, a, n), self.tuning.in_flight
            ):
                yield len(body)
            return
        async with self.session.get(self._url(name)) as response:
            async for chunk in response.content.iter_any():
                yield len(chunk)

    async def _size(self, name: str) -> int:
        async with self.session.head(self._url(name)) as response:
            return int(response.headers["Content-Length"])

    async def _range(self, name: str, first: int, length: int) -> bytes:
        headers = {"x-ms-range": f"bytes={first}-{first + length - 1}"}
        return await self._send("GET", self._url(name), None, headers)

    async def _pages(self, directory: str, more: str = "") -> AsyncIterator[str]:
        marker = ""
        query = f"restype=container&comp=list&prefix={quote(directory + '/', safe='')}{more}"
        base = f"{self.place.endpoint}/{self.place.container}?{query}&{self.sas}"
        while True:
            import yarl

            url = yarl.URL(f"{base}&marker={quote(marker, safe='')}", encoded=True)
            page = (await self._send("GET", url)).decode()
            yield page
            found = self._marker.search(page)
            if found is None or not found[1]:
                return
            marker = found[1]

    async def list(self, directory: str) -> int:
        return sum([page.count("<Name>") async for page in self._pages(directory, "&delimiter=/")])

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for page in self._pages(directory):
            for match in self._entry.finditer(page):
                count += 1
                size += int(match[2])
        return count, size

    async def delete(self, directory: str) -> None:
        async for page in self._pages(directory):
            names = [match[1] for match in self._entry.finditer(page)]
            for start in range(0, len(names), 256):
                await self._delete_batch(names[start : start + 256])

    async def _delete_batch(self, names: Sequence[str]) -> None:
        path = urlsplit(self.place.endpoint).path
        body = "".join(
            "--batch_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: {n}\r\n\r\n"
            f"DELETE {path}/{self.place.container}/{quote(name)}?{self.sas} HTTP/1.1\r\n"
            "Content-Length: 0\r\n\r\n"
            for n, name in enumerate(names)
        )
        import yarl

        base = f"{self.place.endpoint}/{self.place.container}?restype=container&comp=batch"
        answer = await self._send(
            "POST",
            yarl.URL(f"{base}&{self.sas}", encoded=True),
            f"{body}--batch_1--\r\n".encode(),
            {"Content-Type": "multipart/mixed; boundary=batch_1"},
        )
        if answer.count(b"HTTP/1.1 202") != len(names):
            raise RuntimeError(f"a batch of {len(names)} was not deleted: {answer[:300]!r}")


async def _slices(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), 256 * 1024):
        yield view[start : start + 256 * 1024]


# obstore: the Rust crate object_store.


class Obstore(Peer):
    module = "obstore"

    async def open(self) -> None:
        self.lib = importlib.import_module("obstore")
        self.store = importlib.import_module("obstore.store").AzureStore(
            self.place.container,
            config={
                "account_name": self.place.account_name,
                "account_key": self.place.account_key,
                "endpoint": self.place.endpoint,
            },
            client_options={"allow_http": True},
        )

    async def get(self, name: str) -> int:
        result = await self.lib.get_async(self.store, name)
        return len(await result.bytes_async())

    async def put(self, name: str, data: bytes) -> None:
        await self.lib.put_async(self.store, name, data, use_multipart=False)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        arguments: dict[str, Any] = {}
        if self.tuning.in_flight is not None:
            arguments["max_concurrency"] = self.tuning.in_flight
        if self.tuning.part_bytes is not None:
            arguments["buffer_size"] = self.tuning.part_bytes
        async with self.lib.open_writer_async(self.store, name, **arguments) as writer:
            async for chunk in chunks:
                await writer.write(chunk)

    async def read(self, name: str) -> AsyncIterator[int]:
        if self.tuning.in_flight is not None:
            part = self.tuning.part_bytes or 4 * MIB
            meta = await self.lib.head_async(self.store, name)

            async def fetch(first: int, length: int) -> Any:
                return await self.lib.get_range_async(self.store, name, start=first, length=length)

            async for body in in_order(spans_of(meta["size"], part), fetch, self.tuning.in_flight):
                yield len(body)
            return
        result = await self.lib.get_async(self.store, name)
        # Its default of 10 MiB would make the first byte late, and the memory larger.
        async for chunk in result.stream(min_chunk_size=256 * 1024):
            yield len(chunk)

    async def list(self, directory: str) -> int:
        found = await self.lib.list_with_delimiter_async(self.store, directory + "/")
        return len(found["common_prefixes"]) + len(found["objects"])

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for chunk in self.lib.list(self.store, prefix=directory + "/", chunk_size=1000):
            for meta in chunk:
                count += 1
                size += meta["size"]
        return count, size

    async def delete(self, directory: str) -> None:
        async for chunk in self.lib.list(self.store, prefix=directory + "/", chunk_size=5000):
            await self.lib.delete_async(self.store, [meta["path"] for meta in chunk])


# opendal.


class Opendal(Peer):
    module = "opendal"

    async def open(self) -> None:
        lib = importlib.import_module("opendal")
        self.operator = lib.AsyncOperator(
            "azblob",
            endpoint=self.place.endpoint,
            container=self.place.container,
            account_name=self.place.account_name,
            account_key=self.place.account_key,
            root="/",
        )

    def _tuned(self) -> dict[str, int]:
        arguments: dict[str, int] = {}
        if self.tuning.in_flight is not None:
            arguments["concurrent"] = self.tuning.in_flight
        if self.tuning.part_bytes is not None:
            arguments["chunk"] = self.tuning.part_bytes
        return arguments

    async def get(self, name: str) -> int:
        return len(await self.operator.read(name))

    async def put(self, name: str, data: bytes) -> None:
        await self.operator.write(name, data)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        arguments = {"chunk": 4 * MIB, **self._tuned()}
        async with await self.operator.open(name, "wb", **arguments) as file:
            async for chunk in chunks:
                await file.write(chunk)

    async def read(self, name: str) -> AsyncIterator[int]:
        async with await self.operator.open(name, "rb", **self._tuned()) as file:
            while chunk := await file.read(256 * 1024):
                yield len(chunk)

    async def list(self, directory: str) -> int:
        return len([entry async for entry in await self.operator.list(directory + "/")])

    async def walk(self, directory: str) -> tuple[int, int]:
        count = size = 0
        async for entry in await self.operator.list(directory + "/", recursive=True):
            length = entry.metadata.content_length
            if not entry.path.endswith("/"):
                count += 1
                size += length
        return count, size

    async def delete(self, directory: str) -> None:
        await self.operator.delete(directory + "/", recursive=True)


# adlfs: fsspec over the SDK.


class Adlfs(Peer):
    module = "adlfs"

    async def open(self) -> None:
        filesystem = importlib.import_module("adlfs").AzureBlobFileSystem
        arguments: dict[str, Any] = {
            "connection_string": self.place.connection_string,
            "skip_instance_cache": True,
            "use_listings_cache": False,
        }
        self.fs = filesystem(asynchronous=True, loop=asyncio.get_running_loop(), **arguments)
        # Its files are for threads, and its own event loop does their work.
        self.blocking = filesystem(**arguments)
        self.stack.push_async_callback(self.fs.service_client.close)

    def _path(self, name: str) -> str:
        return f"{self.place.container}/{name}"

    async def get(self, name: str) -> int:
        return len(await self.fs._cat_file(self._path(name)))

    async def put(self, name: str, data: bytes) -> None:
        await self.fs._pipe_file(self._path(name), data, overwrite=True)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        arguments: dict[str, Any] = {}
        if self.tuning.part_bytes is not None:
            arguments["block_size"] = self.tuning.part_bytes
        file = await asyncio.to_thread(self.blocking.open, self._path(name), "wb", **arguments)
        async for part in blocks_of(chunks, 4 * MIB):  # a thread hop for each
            await asyncio.to_thread(file.write, part)
        await asyncio.to_thread(file.close)

    async def read(self, name: str) -> AsyncIterator[int]:
        arguments: dict[str, Any] = {}
        if self.tuning.part_bytes is not None:
            arguments["block_size"] = self.tuning.part_bytes
        file = await asyncio.to_thread(self.blocking.open, self._path(name), "rb", **arguments)
        try:
            while chunk := await asyncio.to_thread(file.read, 4 * MIB):
                yield len(chunk)
        finally:
            await asyncio.to_thread(file.close)

    async def list(self, directory: str) -> int:
        return len(await self.fs._ls(self._path(directory), detail=False))

    async def walk(self, directory: str) -> tuple[int, int]:
        found = await self.fs._find(self._path(directory), detail=True)
        return len(found), sum(info["size"] for info in found.values())

    async def delete(self, directory: str) -> None:
        await self.fs._rm(self._path(directory), recursive=True)


PEERS: Final[dict[str, type[Peer]]] = {
    "azdriver": Azdriver,
    "azdriver-block": AzdriverBlock,
    "azdriver-one-range": AzdriverOneRange,
    "azdriver-sdk-lane": AzdriverSdkLane,
    "sdk": Sdk,
    "sdk-staged": SdkStaged,
    "raw": Raw,
    "obstore": Obstore,
    "opendal": Opendal,
    "adlfs": Adlfs,
}


def peer_version(name: str) -> str:
    """The version of what the peer comes in.

    Raises:
        Missing: it is not installed, or lacks what the variant needs.
    """
    kind = PEERS[name]
    if issubclass(kind, Azdriver):
        place = Place(
            endpoint="http://127.0.0.1:1/a",
            account_name="a",
            account_key="YQ==",
            container="versions",
        )
        kind.make_options(place, Tuning(), dict(kind.options))
        return importlib.import_module("azdriver").__version__  # type: ignore[no-any-return]
    try:
        importlib.import_module(
            {"azure-storage-blob": "azure.storage.blob.aio"}.get(kind.module, kind.module)
        )
        return installed_version(kind.module)
    except ImportError as error:
        raise Missing(f"is not installed: {error}") from error


def open_peer(name: str, place: Place, tuning: Tuning) -> Peer:
    return PEERS[name](place, tuning)
