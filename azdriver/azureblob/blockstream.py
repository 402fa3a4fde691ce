"""A stream cut into blocks: some on their way while the next one fills."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from dataclasses import dataclass, field

from azdriver.azureblob.client import Clients
from azdriver.azureblob.naming import BlobName
from azdriver.azureblob.options import DRIVER_NAME
from azdriver.azureblob.pieces import Pieces
from azdriver.azureblob.translate import translated
from azdriver.errors import BackendError, ContentTooLargeError, StorageDriverError
from azdriver.filewriter import BaseFileWriter
from azdriver.paths import StoragePath

__all__ = ["Block", "BlockStreamWriter"]


@dataclass(slots=True, eq=False)
class Block:
    """A block on its way.

    Attributes:
        offset: where in the stream it begins, in bytes.
        data: its bytes; let go of once they are stored.
        size: how many bytes.
        name: what the service calls it, where blocks have names.
        error: why it could not be stored.
    """

    offset: int
    data: Pieces
    size: int = field(init=False)
    name: str = ""
    error: StorageDriverError | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.size = self.data.size

    @property
    def is_stored(self) -> bool:
        task = self.task
        return task is not None and task.done() and not task.cancelled() and self.error is None

    @property
    def is_on_its_way(self) -> bool:
        return self.task is not None and not self.task.done()


class BlockStreamWriter(BaseFileWriter):
    """What the two write modes share: filling, sending ahead, and failing.

    In memory are the block that fills and those on their way, as many as the mode allows.
    Cancelling a call does not cancel the blocks: they belong to the writer, which waits for them
    when it is closed.
    """

    def __init__(self, clients: Clients, path: StoragePath, name: BlobName, *, stored: int) -> None:
        super().__init__(DRIVER_NAME, path)
        self._clients = clients
        self._name = name
        self._stored = stored  # bytes, without a gap from the beginning
        self._blob = clients.blob(name)
        self._filling = Pieces()
        self._blocks: deque[Block] = deque()  # sent, in order; the first is not yet stored
        self._failure: StorageDriverError | None = None
        self._failure_was_raised = False

    @abstractmethod
    def _block_bytes(self) -> int:
        """The size of the block that fills."""

    @abstractmethod
    def _limit(self) -> int:
        """How large the stream can become, in bytes."""

    @abstractmethod
    def _blocks_at_once(self) -> int:
        """How many blocks may be on their way."""

    def _prepare(self, block: Block) -> None:
        """Called for each block in order, before it is sent."""

    @abstractmethod
    async def _store(self, block: Block) -> None:
        """Send one block until it is known what became of it."""

    @property
    def size(self) -> int:
        return self._stored + self._sent + self._filling.size

    @property
    def _sent(self) -> int:
        """Bytes of the blocks that were sent and are not counted as stored."""
        return sum(block.size for block in self._blocks)

    async def _accept(self, data: memoryview) -> None:
        await self._raise_failure()
        limit = self._limit()
        if self.size + len(data) > limit:
            raise ContentTooLargeError(DRIVER_NAME, self._path, self.size + len(data), limit)
        while data:
            room = self._block_bytes() - self._filling.size
            part = data[: max(room, 0)]  # empty where a cancelled call left the block full
            self._filling.add(part)
            data = data[len(part) :]
            if len(part) >= room:
                await self._send_block()

    async def _flush(self) -> None:
        if self._failure is not None and self._failure_was_raised:
            return  # the caller knows; what is stored can be resumed
        if self._filling.size:
            await self._send_block()
        await self._until_on_their_way(0)

    async def _finish(self) -> None:
        await self._raise_failure()
        await self._flush()

    async def _release(self) -> None:
        for block in self._blocks:
            if block.task is not None:
                block.task.cancel()
        await self._ended()
        self._filling = Pieces()

    async def _send_block(self) -> None:
        """Send what was filled, once there is room for it among those on their way."""
        await self._until_on_their_way(self._blocks_at_once() - 1)
        block = Block(self._stored + self._sent, self._filling)
        self._filling = Pieces()
        self._prepare(block)
        self._blocks.append(block)
        block.task = asyncio.create_task(self._send(block))
        block.task.add_done_callback(self._count_stored)

    async def _until_on_their_way(self, most: int) -> None:
        """Wait until at most so many blocks are; cancelling this wait does not cancel them."""
        while self._failure is None:
            tasks = [block.task for block in self._blocks if block.is_on_its_way]
            if len(tasks) <= most:
                break
            await asyncio.wait(
                [task for task in tasks if task is not None],
                return_when=asyncio.FIRST_COMPLETED,
            )
        await self._raise_failure()

    async def _ended(self) -> None:
        """Wait for the end of all that is on its way, whatever that is."""
        tasks = [block.task for block in self._blocks if block.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def _raise_failure(self) -> None:
        if self._failure is None:
            return
        # Blocks before the failed one may still arrive: ``size`` is to be exact.
        await self._ended()
        self._blocks.clear()
        self._filling = Pieces()
        self._failure_was_raised = True
        raise self._failure

    def _count_stored(self, _: asyncio.Task[None]) -> None:
        while self._blocks and self._blocks[0].is_stored:
            self._stored += self._blocks.popleft().size

    async def _send(self, block: Block) -> None:
        """The task that sends one block; what fails is kept for the writer's next call."""
        try:
            with translated(self._path, "writer"):
                await self._store(block)
        except StorageDriverError as error:
            block.error = error
        except asyncio.CancelledError:
            block.error = BackendError(
                DRIVER_NAME, self._path, "writer", reason="closed before the last block arrived"
            )
            raise
        except Exception as error:
            # Not foreseen, such as a session that was closed under us. Nobody awaits this task's
            # result: without this the block would vanish, and ``commit`` succeed all the same.
            block.error = BackendError(
                DRIVER_NAME, self._path, "writer", reason=type(error).__name__
            )
            block.error.__cause__ = error
        finally:
            # It may have to be counted for long, until the blocks before it have arrived too.
            block.data = Pieces()
            if block.error is not None and self._failure is None:
                self._failure = block.error
