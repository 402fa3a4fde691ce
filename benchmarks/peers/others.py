"""Other libraries: obstore (the Rust crate object_store), opendal, adlfs."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.peers.base import MIB, Peer, blocks_of, in_order, spans_of

__all__ = ["Adlfs", "Obstore", "Opendal"]

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
