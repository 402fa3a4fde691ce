"""The SDK, as a plain user has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from benchmarks.peers.base import MIB, Peer, blocks_of

__all__ = ["Sdk", "SdkStaged"]


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
