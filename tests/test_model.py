"""The same random operations on the memory driver and on Azurite, with faults: no difference.

``AZDRIVER_SOAK`` in the environment makes it a long run of new operations every time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from azdriver import (
    AzureBlobDriver,
    BackendError,
    ConcurrentWriteError,
    FileInfo,
    FileWriter,
    MemoryDriver,
    PartialDeleteError,
    PathNotFoundError,
    StorageDriver,
    StorageDriverError,
)
from azdriver.azureblob import RetrySettings
from azdriver.testing.azurite import AzuriteServer
from azdriver.testing.faults import (
    Fault,
    Faults,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    refuse,
    reset,
)

T = TypeVar("T")

SOAK: Final = "AZDRIVER_SOAK" in os.environ
SETTINGS: Final = settings(
    max_examples=1500 if SOAK else 30,
    stateful_step_count=60 if SOAK else 25,
    derandomize=not SOAK,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

BLOCK: Final = 7  # bytes of an append block, and of a range that is read
LIMIT: Final = 40  # of a content
# Each is below, before or behind another one in some order that might be confused.
PATHS: Final = ("/a", "/a/b", "/a/b/c", "/a-b", "/a.b", "/a0", "/b/c", "/b/d", "/c")
DIRECTORIES: Final = ("/", "/a", "/a/b", "/b", "/c", "/none")
BAD_PATHS: Final = ("", "a", "/", "//", "/a/", "/a//b", "/..", "/a/./b", "/é", "/a\n", "/" * 2000)

paths = st.sampled_from(PATHS)
directories = st.sampled_from(DIRECTORIES)
contents = st.binary(max_size=4 * BLOCK)

KINDS: Final[dict[str, Callable[..., Fault]]] = {
    "refused": refuse,
    "reset": reset,
    "answer lost": lose_answer,
    "answer cut": cut_answer,
    "500 before": lambda **which: answer(500, "InternalError", **which),
    "500 after": lambda **which: answer_after(500, "OperationTimedOut", **which),
    "503": lambda **which: answer(503, "ServerBusy", **which),
    "429": lambda **which: answer(429, "TooManyRequests", **which),
}
# Less in all than the attempts of one request, so that each operation gets through.
faults = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 4)), max_size=3)


@dataclass
class Writer:
    """A writer that is open on both drivers."""

    path: str
    contexts: list[AbstractAsyncContextManager[FileWriter]]
    writers: list[FileWriter]
    is_dirty: bool = False  # Azure may hold bytes back that the memory driver has stored
    is_disturbed: bool = False  # something else was done to what it writes
    is_ended: bool = False


@dataclass
class Outcome:
    """What a call came to on one driver."""

    value: Any = None
    error: Exception | None = None

    def shown(self) -> object:
        if self.error is None:
            return self.value
        own = {key: getattr(self.error, key, None) for key in ("path", "condition", "state")}
        return type(self.error).__name__, own


@dataclass
class Versions:
    """The ETags of one path on both drivers, the newest last; None where nothing was."""

    seen: list[tuple[str | None, str | None]] = field(default_factory=list)


class Model(RuleBasedStateMachine):
    """Every rule does the same on both, and compares what can be seen of it."""

    def __init__(self, server: AzuriteServer) -> None:
        super().__init__()
        self.faults = Faults()
        self.azure = AzureBlobDriver.from_connection_string(
            server.connection_string,
            f"model-{uuid4().hex}",
            wrap_transport=self.faults.wrap,
            append_block_bytes=BLOCK,
            read_range_bytes=BLOCK,
            max_content_bytes=LIMIT,
            retry=RetrySettings(retries=6, first_delay_seconds=0.0005, longest_delay_seconds=0.001),
        )
        self.memory = MemoryDriver(max_content_bytes=LIMIT)
        self.writers: list[Writer] = []
        self.versions = {path: Versions() for path in PATHS}
        self.runner = asyncio.Runner()
        self.run(self.memory.open())
        self.run(self.azure.open())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        try:
            self.faults.faults.clear()
            for writer in self.writers:
                self.leave(writer)
            self.writers.clear()
            self.compare_all(*PATHS)
        finally:
            self.run(self.azure.aclose())
            self.run(self.memory.aclose())
            self.runner.close()

    # Running the same on both.

    def outcomes(
        self,
        call: Callable[[StorageDriver, int], Awaitable[Any]],
        hurt: list[tuple[str, int]] | None = None,
    ) -> tuple[Outcome, Outcome]:
        async def one(driver: StorageDriver, index: int) -> Outcome:
            try:
                return Outcome(await call(driver, index))
            except (StorageDriverError, ValueError) as error:
                return Outcome(error=error)

        for kind, after in hurt or []:
            self.faults.add(KINDS[kind](after=after))
        try:
            return self.run(one(self.memory, 0)), self.run(one(self.azure, 1))
        finally:
            self.faults.faults.clear()

    def same(
        self,
        call: Callable[[StorageDriver, int], Awaitable[Any]],
        hurt: list[tuple[str, int]] | None = None,
    ) -> Outcome:
        memory, azure = self.outcomes(call, hurt)
        assert memory.shown() == azure.shown(), (memory, azure)
        return memory

    # What is known of paths.

    def open_writers(self, path: str) -> list[Writer]:
        return [w for w in self.writers if w.path == path and not w.is_disturbed]

    def is_clean(self, path: str) -> bool:
        return not any(writer.is_dirty for writer in self.open_writers(path))

    def disturb(self, *touched: str) -> None:
        for path in touched:
            for writer in self.open_writers(path):
                writer.is_disturbed = True

    def compare_all(self, *touched: str) -> None:
        """All that is stored: kinds, sizes, and whether the version changed; and some bytes.

        Args:
            touched: the paths whose bytes are compared.
        """

        async def look(driver: StorageDriver, index: int) -> Any:
            blobs: dict[str, FileInfo] = {}
            directories = set()
            async with aclosing(driver.walk("/")) as walk:
                async for info in walk:
                    if info.is_dir:
                        directories.add(info.path)
                    else:
                        blobs[info.path] = info
            contents = {path: await driver.get_content(path) for path in touched if path in blobs}
            return directories, blobs, contents

        memory, azure = self.outcomes(look)
        assert memory.error is None, memory.error
        assert azure.error is None, azure.error
        directories, own, stored = memory.value
        assert directories == azure.value[0]
        infos, received = azure.value[1:]
        assert own.keys() == infos.keys()
        for path in PATHS:
            versions = self.versions[path].seen
            if path not in own:
                versions.append((None, None))
                continue
            content = stored.get(path, b"")
            if not self.is_clean(path):
                # What was flushed is visible, never anything else.
                assert content.startswith(received.get(path, b"")), path
                assert own[path].size >= infos[path].size
                versions.append(("dirty", "dirty"))
                continue
            assert (path, own[path].size) == (path, infos[path].size)
            assert content == received.get(path, b""), path
            etags = own[path].etag, infos[path].etag
            assert all(etags)
            if versions and all(versions[-1]) and versions[-1] != ("dirty", "dirty"):
                changed = [new != old for new, old in zip(etags, versions[-1], strict=True)]
                assert changed[0] == changed[1], f"{path}: changed: {changed}"
            versions.append(etags)

    # Contents.

    @rule(path=paths, content=contents, hurt=faults)
    def put(self, path: str, content: bytes, hurt: list[tuple[str, int]]) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            info = await driver.put_content(path, content)
            assert info.etag is not None
            return info.path, info.size, info.is_dir

        self.disturb(path)
        self.same(call, hurt)
        self.compare_all(path)

    @rule(path=paths, content=contents, hurt=faults)
    def put_if_absent(self, path: str, content: bytes, hurt: list[tuple[str, int]]) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            return (await driver.put_content(path, content, if_absent=True)).size

        if self.same(call, hurt).error is None:
            self.disturb(path)
        self.compare_all(path)

    @rule(path=paths, content=contents, age=st.integers(1, 4), hurt=faults)
    def put_if_match(
        self, path: str, content: bytes, age: int, hurt: list[tuple[str, int]]
    ) -> None:
        known = [pair for pair in self.versions[path].seen if all(pair) and pair[0] != "dirty"]
        chosen = known[-age] if len(known) >= age else ('"0x1"', "0x1")
        if not self.is_clean(path):
            return  # the version of a stream that is written changes by itself

        async def call(driver: StorageDriver, index: int) -> Any:
            return (await driver.put_content(path, content, if_match=chosen[index])).size

        if self.same(call, hurt).error is None:
            self.disturb(path)
        self.compare_all(path)

    @rule(path=paths, hurt=faults)
    def get(self, path: str, hurt: list[tuple[str, int]]) -> None:
        memory, azure = self.outcomes(lambda driver, index: driver.get_content(path), hurt)
        if self.is_clean(path) or memory.error:
            assert memory.shown() == azure.shown()
        else:
            assert memory.value.startswith(azure.value)

    # Readers.

    @rule(
        path=paths,
        offset=st.integers(0, 5 * BLOCK) | st.sampled_from([2**31, 2**40]),
        length=st.none() | st.integers(0, 3 * BLOCK),
        steps=st.lists(st.integers(0, 2 * BLOCK), max_size=3),
        into=st.booleans(),
        hurt=faults,
    )
    def read(
        self,
        path: str,
        offset: int,
        length: int | None,
        steps: list[int],
        into: bool,
        hurt: list[tuple[str, int]],
    ) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            seen: list[object] = []
            async with driver.reader(path, offset, length=length) as reader:
                seen.append((reader.size, reader.offset))
                for step in steps:
                    if into:
                        buffer = bytearray(step)
                        count = await reader.readinto(buffer)
                        seen.append(bytes(buffer[:count]))
                    else:
                        seen.append(await reader.read(step))
                    seen.append(reader.offset)
                chunks = [chunk async for chunk in reader]
                assert all(chunks)
                seen += [b"".join(chunks), reader.offset, await reader.read()]
            return seen

        if self.is_clean(path):
            self.same(call, hurt)

    # Writers.

    @rule(path=paths, append=st.booleans(), hurt=faults)
    def open_writer(self, path: str, append: bool, hurt: list[tuple[str, int]]) -> None:
        if len(self.writers) >= 4 or (append and not self.is_clean(path)):
            return  # where an append begins depends on what was flushed
        contexts: list[AbstractAsyncContextManager[FileWriter]] = []
        opened: list[FileWriter] = []

        async def call(driver: StorageDriver, index: int) -> Any:
            contexts.append(driver.writer(path, append=append))
            opened.append(await contexts[index].__aenter__())
            return opened[-1].size

        if not append:
            self.disturb(path)
        if self.same(call, hurt).error is None:
            self.writers.append(Writer(path, contexts, opened))
        self.compare_all(path)

    def chosen(self, number: int) -> Writer:
        return self.writers[number % len(self.writers)]

    @precondition(lambda self: self.writers)
    @rule(number=st.integers(0, 3), data=contents, hurt=faults)
    def write(self, number: int, data: bytes, hurt: list[tuple[str, int]]) -> None:
        writer = self.chosen(number)

        async def call(driver: StorageDriver, index: int) -> Any:
            await writer.writers[index].write(data)
            return writer.writers[index].size

        for other in self.open_writers(writer.path):
            # Two that append to one stream: the first block of one ends the other.
            if other is not writer and data and not writer.is_disturbed:
                other.is_disturbed = True
        if writer.is_disturbed:
            self.loosely(call, hurt)
        else:
            self.same(call, hurt)
            writer.is_dirty = writer.is_dirty or (bool(data) and not writer.is_ended)
        self.compare_all(writer.path)

    def loosely(
        self,
        call: Callable[[StorageDriver, int], Awaitable[Any]],
        hurt: list[tuple[str, int]],
    ) -> None:
        """A writer whose blob was taken from it may learn of it later on Azure, or never.

        It has to be told so by an error that says so, and what took its place has to stay.
        """
        for outcome in self.outcomes(call, hurt):
            if isinstance(outcome.error, StorageDriverError):
                is_state = type(outcome.error).__name__ == "WriterStateError"
                assert is_state or isinstance(
                    outcome.error, ConcurrentWriteError | PathNotFoundError
                ), outcome

    @precondition(lambda self: self.writers)
    @rule(
        number=st.integers(0, 3),
        end=st.sampled_from(["commit", "close", "cancel"]),
        hurt=faults,
    )
    def end_writer(self, number: int, end: str, hurt: list[tuple[str, int]]) -> None:
        """Also a second time: that is an error of the state."""
        writer = self.chosen(number)

        async def call(driver: StorageDriver, index: int) -> Any:
            await getattr(writer.writers[index], end)()
            return None if end == "cancel" else writer.writers[index].size

        if writer.is_disturbed:
            # The two may be in different states from here on.
            self.loosely(call, hurt)
            self.writers.remove(writer)
            self.leave(writer)
        else:
            outcome = self.same(call, hurt)
            if outcome.error is None:
                if end == "cancel":
                    self.disturb(writer.path)
                    writer.is_disturbed = writer.is_ended
                writer.is_dirty = False
                writer.is_ended = True
        self.compare_all(writer.path)

    @precondition(lambda self: self.writers)
    @rule(number=st.integers(0, 3), by_exception=st.booleans())
    def leave_writer(self, number: int, by_exception: bool) -> None:
        writer = self.chosen(number)
        self.writers.remove(writer)
        self.leave(writer, by_exception)
        self.compare_all(writer.path)

    def leave(self, writer: Writer, by_exception: bool = False) -> None:
        error = KeyError("the caller's own") if by_exception else None
        kind = None if error is None else KeyError

        async def call(driver: StorageDriver, index: int) -> Any:
            try:
                return await writer.contexts[index].__aexit__(kind, error, None)
            except KeyError:
                return "raised"

        if writer.is_disturbed:
            self.loosely(call, [])
        else:
            self.same(call)

    # The tree.

    @rule(path=directories, hurt=faults)
    def stat(self, path: str, hurt: list[tuple[str, int]]) -> None:
        clean = self.is_clean(path)

        async def call(driver: StorageDriver, index: int) -> Any:
            info = await driver.stat(path)
            return info.path, info.is_dir, info.size if clean else None

        self.same(call, hurt)

    @rule(path=directories, hurt=faults)
    def list_level(self, path: str, hurt: list[tuple[str, int]]) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            return [*await driver.list(path)]

        self.same(call, hurt)

    @rule(
        path=directories,
        start_after=st.none() | paths,
        skipped=st.sets(directories),
        hurt=faults,
    )
    def walk(
        self,
        path: str,
        start_after: str | None,
        skipped: set[str],
        hurt: list[tuple[str, int]],
    ) -> None:
        def shown(info: FileInfo) -> object:
            return info.path, info.is_dir, info.size if self.is_clean(info.path) else None

        async def call(driver: StorageDriver, index: int) -> Any:
            seen: list[object] = []
            walk = driver.walk(path, start_after=start_after)
            async with aclosing(walk):
                async for info in walk:
                    seen.append(shown(info))
                    if info.path in skipped:
                        try:
                            walk.skip()
                        except ValueError:
                            seen.append("not a directory")
            return seen

        self.same(call, hurt)

    @rule(source=paths, dest=paths, hurt=faults)
    def move(self, source: str, dest: str, hurt: list[tuple[str, int]]) -> None:
        if not self.is_clean(source):
            return  # what is moved depends on what was flushed

        async def call(driver: StorageDriver, index: int) -> Any:
            await driver.move(source, dest)

        if self.same(call, hurt).error is None and source != dest:
            self.disturb(source, dest)
        self.compare_all(source, dest)

    @rule(path=paths | directories.filter(lambda path: path != "/"), hurt=faults)
    def delete(self, path: str, hurt: list[tuple[str, int]]) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            await driver.delete(path)

        memory, azure = self.outcomes(call, hurt)
        if hurt and isinstance(azure.error, BackendError | PartialDeleteError):
            # After a lost answer, what is there may have been written since, as far as Azure can
            # tell of a blob this young: it is kept, and said. Calling it again finishes.
            assert memory.error is None, (memory, azure)
            _, again = self.outcomes(lambda driver, index: self.again(driver, index, path))
            assert again.error is None or isinstance(again.error, PathNotFoundError), again
        # And a 404 may come of it: that counts as a success.
        elif not (hurt and isinstance(memory.error, PathNotFoundError) and azure.error is None):
            assert memory.shown() == azure.shown(), (memory, azure)
        if memory.error is None:
            self.disturb(*(p for p in PATHS if p == path or p.startswith(path + "/")))
        self.compare_all(path)

    async def again(self, driver: StorageDriver, index: int, path: str) -> None:
        if index == 1:
            await driver.delete(path)

    # What is refused.

    @rule(path=st.sampled_from(BAD_PATHS), other=paths, which=st.integers(0, 11))
    def call_with_a_bad_path(self, path: str, other: str, which: int) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            match which:
                case 0:
                    await driver.get_content(path)
                case 1:
                    await driver.put_content(path, b"")
                case 2:
                    async with driver.reader(path):
                        pass
                case 3:
                    async with driver.writer(path):
                        pass
                case 4:
                    await driver.move(path, other)
                case 5:
                    await driver.move(other, path)
                case 6:
                    await driver.delete(path)
                case 7:
                    async with aclosing(driver.walk("/", start_after=path)) as walk:
                        await anext(walk)
                case 8 if path != "/":
                    await driver.stat(path)
                case 9 if path != "/":
                    await driver.list(path)
                case 10 if path != "/":
                    async with aclosing(driver.walk(path)) as walk:
                        await anext(walk)
                case _:
                    await driver.url_for(path, method="GET")

        assert isinstance(self.same(call).error, ValueError)

    @rule(path=paths, which=st.integers(0, 7))
    def call_with_a_bad_argument(self, path: str, which: int) -> None:
        async def call(driver: StorageDriver, index: int) -> Any:
            match which:
                case 0:
                    await driver.put_content(path, bytes(LIMIT + 1))
                case 1:
                    await driver.put_content(path, b"", if_match='"0x1"', if_absent=True)
                case 2:
                    await driver.put_content(path, b"", if_match="a\r\nb")
                case 3:
                    await driver.put_content(path, b"", if_match="")
                case 4:
                    driver.reader(path, -1)
                case 5:
                    driver.reader(path, 0, length=-1)
                case 6:
                    await driver.put_content(path, b"", if_match="*")
                case _:
                    async with driver.walk("/none") as walk:  # type: ignore[attr-defined]
                        await anext(walk)

        if which < 7:
            assert isinstance(self.same(call).error, ValueError)


def test_both_drivers_do_the_same(azurite_server: AzuriteServer) -> None:
    def machine() -> Model:
        return Model(azurite_server)

    run_state_machine_as_test(cast(Any, machine), settings=SETTINGS)
