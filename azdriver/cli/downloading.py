"""One file from the driver: into a part file, which takes its place when it is whole."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azdriver.cli.failures import Failure
from azdriver.cli.local import CHUNK_BYTES, LocalFile, hash_of, in_thread
from azdriver.cli.progress import Progress
from azdriver.contract import FileInfo, FileReader, StorageDriver

__all__ = ["Download", "not_regular"]

# So much of the end of a part is read again and compared before it is gone on with: what a crash
# of the machine takes is at the end.
OVERLAP_BYTES: Final = 1024 * 1024
# How often a file is begun again because another version is stored meanwhile.
MOST_VERSIONS: Final = 3
LONGEST_NAME_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Download:
    """How files are fetched."""

    driver: StorageDriver
    progress: Progress
    resume: bool = False

    async def file(self, info: FileInfo, target: Path) -> str | None:
        """Fetch a file over what is at ``target``; its SHA-256, or None if it was there already.

        The file gets the time of the version that was stored. Until it is whole, it is a part
        file beside ``target``, which is kept if the transfer fails or is interrupted.

        Raises:
            Failure: at ``target`` is no file that could be replaced, other versions keep being
                stored, or the disk has other bytes than came.
        """
        await in_thread(_require_replaceable, target)
        if self.resume and await in_thread(_is_there, info, target):
            self.progress.passed_over(info.size)
            return None
        part = _Part.beside(target)
        try:
            for _ in range(MOST_VERSIONS):
                sha256 = await self._version(info, part)
                if sha256 is not None:
                    if await hash_of(part.data) != sha256:
                        await in_thread(part.remove)
                        raise Failure(f"{target}: the disk has other bytes than were received")
                    await in_thread(part.becomes, target, info)
                    return sha256
                info = await self.driver.stat(info.path)
            raise Failure(f"{info.path}: new versions keep being stored")
        except BaseException:
            if info.size <= OVERLAP_BYTES:  # nothing that would be gone on with
                part.remove()
            raise

    async def _version(self, info: FileInfo, part: _Part) -> str | None:
        """Fetch one version into the part file; None if another one is stored by now."""
        begun = self.resume and await in_thread(part.is_of, info)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with await in_thread(LocalFile, part.data, flags) as file:
            there = file.status().st_size if begun else 0
            start = max(0, min(there, info.size) - OVERLAP_BYTES)
            if not start:
                await in_thread(file.clear)
            async with self.driver.reader(info.path, start) as reader:
                if None not in (reader.etag, info.etag) and _bare(reader.etag) != _bare(info.etag):
                    return None
                if not await self._goes_on(reader, file, start):
                    await in_thread(file.clear)
                    return None
                await in_thread(part.note_version, info)
                while data := await reader.read(CHUNK_BYTES):
                    await in_thread(file.write, data)
                    self.progress.advance(len(data))
            if file.status().st_size != info.size:
                return None
            return file.sha256

    async def _goes_on(self, reader: FileReader, file: LocalFile, start: int) -> bool:
        """Whether what is in the part file is what is stored; it is at its end afterwards."""
        if not start:
            return True
        if not await file.pass_over(start):
            return False
        tail = await in_thread(file.read, OVERLAP_BYTES)
        if await reader.read(len(tail)) != tail:
            return False
        self.progress.passed_over(start + len(tail))
        return True


@dataclass(frozen=True, slots=True)
class _Part:
    """A part file, and a file that says which version it is of."""

    data: Path
    version: Path

    @classmethod
    def beside(cls, target: Path) -> _Part:
        name = target.name
        encoded = os.fsencode(name)
        if len(encoded) > LONGEST_NAME_BYTES:  # with what is added, too long for a file
            begin = encoded[:LONGEST_NAME_BYTES].decode("utf-8", "ignore")
            name = begin + hashlib.sha256(encoded).hexdigest()[:16]
        return cls(
            target.with_name(f".{name}.azdriver.part"), target.with_name(f".{name}.azdriver.etag")
        )

    def is_of(self, info: FileInfo) -> bool:
        if info.etag is None:
            return False
        try:
            return self.version.read_text("utf-8") == f"{info.path} {_bare(info.etag)}"
        except (OSError, ValueError):
            return False

    def note_version(self, info: FileInfo) -> None:
        if info.etag is not None and info.size > OVERLAP_BYTES:
            # Not through a symbolic link that somebody put there.
            self.version.unlink(missing_ok=True)
            with self.version.open("x", encoding="utf-8") as file:
                file.write(f"{info.path} {_bare(info.etag)}")

    def becomes(self, target: Path, info: FileInfo) -> None:
        if info.mod_time is not None:
            seconds = info.mod_time.timestamp()
            os.utime(self.data, (seconds, seconds))
        self.data.replace(target)
        self.version.unlink(missing_ok=True)

    def remove(self) -> None:
        self.version.unlink(missing_ok=True)
        self.data.unlink(missing_ok=True)


def _require_replaceable(target: Path) -> None:
    """Whoever names a device or a pipe wants to write into it, not to lose it."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise Failure(f"{target} is a directory")
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise not_regular(target)


def not_regular(target: Path) -> Failure:
    """The error for a target that is a device, a pipe or the like."""
    return Failure(f"{target} is no regular file; use - and the shell's > to write into it")


def _bare(etag: str | None) -> str | None:
    return None if etag is None else etag.strip('"')


def _is_there(info: FileInfo, target: Path) -> bool:
    """Whether an earlier run has fetched this version: by size and time."""
    try:
        status = target.lstat()
    except OSError:
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and info.mod_time is not None
        and status.st_size == info.size
        and abs(status.st_mtime - info.mod_time.timestamp()) < 1e-3
    )
