"""What a task does with paths of its own, whose contents it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azdriver.azureblob import AzureBlobDriver
from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    PathNotFoundError,
    PreconditionFailedError,
)
from azdriver.testing.soak.known import Content, Known, WrongError, digest
from azdriver.testing.soak.load import KIB, RETIRED_FILES


class _Interrupted(Exception):
    """A caller's own exception in the middle of a stream."""


class OwnOperations(Known):
    """Each checks what the driver says against what is known."""

    async def put(self) -> None:
        path, content = self._path(), self._content()
        self._doubts[path] = self._put_or_not(path, content)
        info = await self._driver.put_content(path, content)
        self._wrote(path, content)
        if info.size != len(content):
            raise WrongError(f"{path}: put {len(content)} bytes, told {info.size}")

    def _put_or_not(self, path: str, content: bytes) -> Callable[[Content | bytearray], bool]:
        migrated = [None] if path in self._streams else []
        return self._either(self._files.get(path), digest(content), *migrated)

    def _wrote(self, path: str, content: bytes, *, stream: bool = False) -> None:
        self._files[path] = digest(content)
        if stream:
            self._streams.add(path)
        else:
            self._streams.discard(path)
        del self._doubts[path]

    async def get(self) -> None:
        if (path := self._known()) is not None:
            self._check(path, await self._driver.get_content(path))

    async def compare_and_swap(self) -> None:
        if (path := self._known()) is None:
            return
        etag = (await self._driver.stat(path)).etag
        content = self._content()
        self._doubts[path] = self._put_or_not(path, content)
        await self._driver.put_content(path, content, if_match=etag)
        self._wrote(path, content)
        for condition in ({"if_match": etag}, {"if_absent": True}):
            arguments: dict[str, Any] = condition
            try:
                await self._driver.put_content(path, b"never", **arguments)
            except PreconditionFailedError:
                continue
            raise WrongError(f"{path}: put although {condition} does not hold")

    async def stat(self) -> None:
        if (path := self._known()) is not None and (await self._driver.stat(path)).is_dir:
            raise WrongError(f"{path} is a directory")
        try:
            await self._driver.stat(f"{self._directory}/none")
        except PathNotFoundError:
            return
        raise WrongError("a path that was never written is there")

    async def read(self) -> None:
        """A stream, whole, of a part, or given up."""
        if (path := self._known()) is None:
            return
        async with self._driver.reader(path) as reader:
            content = b"".join([chunk async for chunk in reader])
        self._check(path, content)
        offset = self._random.randrange(len(content) + 2)
        length = self._random.randrange(len(content) + 2)
        async with self._driver.reader(path, offset, length=length) as reader:
            if await reader.read() != content[offset : offset + length]:
                raise WrongError(f"{path}: another part than {offset} + {length}")
        async with self._driver.reader(path) as reader:
            await reader.read(self._random.randrange(len(content) + 1))

    async def stream(self) -> None:
        path = self._path("s")
        data = self._random.randbytes(min(int(self._random.lognormvariate(11, 1.3)), 2048 * KIB))
        before = self._either(self._files.get(path))
        self._doubts[path] = lambda held: (
            before(held) or (held is not None and data.startswith(held))
        )
        interrupt_at = self._random.randrange(1 + 2 * len(data))
        append = interrupted = False
        while True:
            try:
                async with self._driver.writer(path, append=append) as writer:
                    if append:
                        self._report.resumed += 1
                    append = True  # from here on, what is there is ours
                    while writer.size < len(data):
                        size = self._random.randrange(1, 96 * KIB)
                        await writer.write(data[writer.size : writer.size + size])
                        if writer.size > interrupt_at:
                            interrupt_at = len(data)
                            interrupted = True
                            raise _Interrupted
                    await writer.commit()
                break
            except _Interrupted:
                continue
            except ConcurrentWriteError as error:
                # The last block of the writer that was left by an exception: given up when its
                # grace was over, and stored all the same when the next writer was open already.
                if not interrupted:
                    raise
                self._count(error)
                interrupted = False
            except BackendError as error:
                self._count(error)
        self._wrote(path, data, stream=True)
        self._check(path, await self._driver.get_content(path))

    async def cancelled_stream(self) -> None:
        path = f"{self._directory}/x"
        if path in self._retired:
            return
        data = self._random.randbytes(100 * KIB)
        before = self._either(self._files.get(path), None)  # of one that could not be cancelled
        self._doubts[path] = lambda held: (
            before(held) or (held is not None and data.startswith(held))
        )
        async with self._driver.writer(path) as writer:
            await writer.write(data)
            await writer.cancel()
        self._files.pop(path, None)
        del self._doubts[path]

    async def move(self) -> None:
        source, dest = self._known(), self._path()
        if source is None or source == dest:
            return
        content = self._files[source]
        gone = False

        def at_source(held: Content | bytearray) -> bool:
            nonlocal gone
            gone = held is None
            return self._either(content, None)(held)

        def at_dest(held: Content | bytearray) -> bool:
            # Never at neither place.
            return self._either(content, *([] if gone else [before]))(held)

        before = self._files.get(dest)
        self._doubts = {source: at_source, dest: at_dest}
        await self._driver.move(source, dest)
        self._files[dest] = self._files.pop(source)
        if source in self._streams:
            self._streams.add(dest)
        self._doubts = {}
        try:
            await self._driver.stat(source)
        except PathNotFoundError:
            return
        raise WrongError(f"{source} is there after its move")

    async def delete(self) -> None:
        if (path := self._known()) is None:
            return
        self._doubts[path] = self._either(self._files[path], None)
        await self._driver.delete(path)
        del self._files[path], self._doubts[path]

    async def delete_tree(self) -> None:
        """All of a worker's own, now and then: what was retired goes as well."""
        if len(self._retired) < RETIRED_FILES and self._random.random() > 0.1:
            return
        if not self._files:
            return
        self._doubts = {path: self._either(content, None) for path, content in self._files.items()}
        await self._driver.delete(self._directory)
        self._start_anew()

    async def list(self) -> None:
        try:
            found = set(await self._driver.list(self._directory))
        except PathNotFoundError:
            found = set()
        self._check_names(found)

    async def walk(self) -> None:
        found = set()
        try:
            async for info in self._driver.walk(self._directory):
                found.add(info.path)
        except PathNotFoundError:
            pass
        self._check_names(found)

    def _check_names(self, found: set[str]) -> None:
        if not self._files.keys() <= found <= self._files.keys() | self._retired:
            raise WrongError(f"{self._directory} lists {found}, holds {self._files.keys()}")

    async def url_for(self) -> None:
        """Fetched by another client than the driver, without faults."""
        if (path := self._known()) is not None:
            url = await self._driver.url_for(path)
            async with self._plain.get(url) as response:
                self._check(path, await response.read())

    async def open_another(self) -> None:
        """Drivers come and go."""
        async with AzureBlobDriver(self._driver.options) as driver:
            if (path := self._known()) is not None:
                self._check(path, await driver.get_content(path))
