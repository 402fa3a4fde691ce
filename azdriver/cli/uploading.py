"""One file to the driver: whole if it is small, else as a stream that can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from azdriver.cli.failures import Failure, describe
from azdriver.cli.local import CHUNK_BYTES, LocalFile, in_thread
from azdriver.cli.output import detail
from azdriver.cli.progress import Progress
from azdriver.contract import FileWriter, StorageDriver
from azdriver.errors import NotAppendableError, PathNotFoundError

__all__ = ["SMALL_BYTES", "Journal", "Upload", "hash_stored"]

# Up to this size a file is written as a content: by one request, and never seen in part.
SMALL_BYTES: Final = 4 * 1024 * 1024
# How long the service keeps blocks that were not committed.
KEPT_SECONDS: Final = 7 * 86400


class Journal:
    """Which file an upload was begun from, for streams whose beginning cannot be read back.

    In block mode nothing of a stream is visible before it is committed. Each record is a small
    file in the user's state directory; it holds no content, and no credential.

    It is an aid: where that directory cannot be used, nothing is recorded.
    """

    def __init__(self, destination: str) -> None:
        """
        Args:
            destination: what names the driver.
        """
        self._destination = destination
        self._is_pruned = False
        self._is_told = False

    def begun(self, remote: str, local: Path, status: os.stat_result) -> str | None:
        """Remember that ``local``, as it is, is being stored at ``remote``.

        Returns:
            Why that is not possible, if it is not; the first time only.
        """
        try:
            file = self._file(remote)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._is_pruned:
                self._is_pruned = True
                self._prune(file.parent)
            file.write_text(json.dumps(self._record(local, status)), "utf-8")
        except (OSError, RuntimeError) as error:
            told, self._is_told = self._is_told, True
            return None if told else (describe(error) if isinstance(error, OSError) else str(error))
        return None

    @staticmethod
    def _prune(directory: Path) -> None:
        for old in directory.glob("*.json"):
            with suppress(FileNotFoundError):  # another process does the same
                if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                    old.unlink()

    def matches(self, remote: str, local: Path, status: os.stat_result) -> bool:
        """Whether the upload to ``remote`` was begun from this very file."""
        try:
            found = json.loads(self._file(remote).read_text("utf-8"))
            return bool(found == self._record(local, status))
        except (OSError, RuntimeError, ValueError):
            return False

    def done(self, remote: str) -> None:
        """Forget it."""
        with suppress(OSError, RuntimeError):
            self._file(remote).unlink(missing_ok=True)

    def _record(self, local: Path, status: os.stat_result) -> dict[str, object]:
        return {
            "file": str(local.resolve()),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }

    def _file(self, remote: str) -> Path:
        # Without a home directory, this is a RuntimeError.
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        name = hashlib.sha256(f"{self._destination}\n{remote}".encode()).hexdigest()
        return Path(state, "azdriver", "uploads", f"{name[:32]}.json")


@dataclass(frozen=True, slots=True)
class Upload:
    """How files are stored."""

    driver: StorageDriver
    journal: Journal
    progress: Progress
    resume: bool = False
    verify: bool = False

    async def file(self, local: Path, remote: str) -> str | None:
        """Store a file; its SHA-256, or None if it was there already.

        Raises:
            Failure: it changed while it was read, or other bytes were found stored.
        """
        with await in_thread(LocalFile, local, os.O_RDONLY) as file:
            status = file.status()
            if self.resume and await self._is_there(remote, status):
                self.progress.passed_over(status.st_size)
                return None
            if status.st_size <= SMALL_BYTES:
                content = await in_thread(file.read, SMALL_BYTES + 1)
                if len(content) != status.st_size or _changed(file, status):
                    raise _changed_meanwhile(local)
                await self.driver.put_content(remote, content)
                self.progress.advance(len(content))
                surely = not self.verify
            else:
                surely = await self._stream(file, status, remote) and not self.verify
        if not surely and await hash_stored(self.driver, remote) != file.sha256:
            raise Failure(f"{remote}: what is stored differs from {local}; put it again")
        return file.sha256

    async def _is_there(self, remote: str, status: os.stat_result) -> bool:
        try:
            info = await self.driver.stat(remote)
        except PathNotFoundError:
            return False
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        if info.is_dir or info.size != status.st_size or info.mod_time is None:
            return False
        return info.mod_time >= changed.replace(microsecond=0)

    async def _stream(self, file: LocalFile, status: os.stat_result, remote: str) -> bool:
        """Store a large file; whether it is certain that what was there before is its beginning."""
        if self.resume:
            async with AsyncExitStack() as stack:
                writer = await self._reopened(stack, remote)
                if writer is not None:
                    known = await self._begins_like(file, status, remote, writer.size)
                    if known is not None:
                        self.progress.passed_over(writer.size)
                        await self._fill(writer, file, status, remote)
                        return known
            await in_thread(file.rewind)
        unusable = await in_thread(self.journal.begun, remote, file.path, status)
        if unusable is not None:
            detail(f"not noted for --resume: {unusable}")
        async with self.driver.writer(remote) as writer:
            await self._fill(writer, file, status, remote)
        return True

    async def _reopened(self, stack: AsyncExitStack, remote: str) -> FileWriter | None:
        """A writer at the end of what is stored; None if there is no stream."""
        try:
            return await stack.enter_async_context(self.driver.writer(remote, append=True))
        except (NotAppendableError, PathNotFoundError):
            return None

    async def _begins_like(
        self, file: LocalFile, status: os.stat_result, remote: str, stored: int
    ) -> bool | None:
        """Whether the stream can be gone on with: True by its bytes, False by our record of it."""
        if stored > status.st_size or not await file.pass_over(stored):
            return None
        try:
            visible = await self.driver.stat(remote)
            if visible.size == stored and not visible.is_dir:
                same = await hash_stored(self.driver, remote) == file.sha256
                return True if same else None
        except PathNotFoundError:
            pass
        if stored and await in_thread(self.journal.matches, remote, file.path, status):
            return False
        return None

    async def _fill(
        self, writer: FileWriter, file: LocalFile, status: os.stat_result, remote: str
    ) -> None:
        while chunk := await in_thread(file.read, CHUNK_BYTES):
            await writer.write(chunk)
            self.progress.advance(len(chunk))
        if writer.size != status.st_size or _changed(file, status):
            raise _changed_meanwhile(file.path)
        await writer.commit()
        await in_thread(self.journal.done, remote)


def _changed(file: LocalFile, before: os.stat_result) -> bool:
    now = file.status()
    return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def _changed_meanwhile(local: Path) -> Failure:
    return Failure(f"{local}: it changed while it was read")


async def hash_stored(driver: StorageDriver, remote: str) -> str:
    """The SHA-256 of what is stored at a path."""
    sha256 = hashlib.sha256()
    async with driver.reader(remote) as reader:
        while chunk := await reader.read(CHUNK_BYTES):
            await in_thread(sha256.update, chunk)
    return sha256.hexdigest()
