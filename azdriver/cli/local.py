"""Local files: hashed while they are read and written, and never outside of a directory."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

import anyio

from azdriver.cli.failures import Failure

__all__ = ["CHUNK_BYTES", "LocalFile", "Tree", "hash_of", "in_thread", "scan"]

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES: Final = 1024 * 1024
# What is read in a thread is waited for: by so much Ctrl-C may come late.
_STEP_BYTES: Final = 16 * 1024 * 1024
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED: Final = {"con", "prn", "aux", "nul"} | {
    f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10)
}


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what may wait for a disk. It is waited for even if the task is cancelled."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))


class LocalFile:
    """A file that is read or written from its beginning to its end, with its SHA-256."""

    def __init__(self, path: Path, flags: int) -> None:
        """
        Args:
            path: which one.
            flags: those of ``os.open``; ``O_NOFOLLOW`` to refuse a symbolic link.
        """
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "rb+" if flags & os.O_RDWR else "rb", buffering=0)
        self._sha256 = hashlib.sha256()
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._file.close()

    def status(self) -> os.stat_result:
        return os.fstat(self._file.fileno())

    @property
    def sha256(self) -> str:
        """Of what was read or written so far."""
        return self._sha256.hexdigest()

    def read(self, limit_bytes: int = CHUNK_BYTES) -> bytes:
        """So many bytes, fewer at the end only."""
        parts = []
        while limit_bytes > 0 and (part := self._file.read(limit_bytes)):
            parts.append(part)
            limit_bytes -= len(part)
        data = b"".join(parts)
        self._sha256.update(data)
        return data

    async def pass_over(self, size_bytes: int) -> bool:
        """Read up to a position; False if the file is shorter. It can be cancelled on the way."""
        while size_bytes > 0 and (done := await in_thread(self._read_on, size_bytes)):
            size_bytes -= done
        return size_bytes <= 0

    def _read_on(self, limit_bytes: int) -> int:
        begun = left = min(limit_bytes, _STEP_BYTES)
        while left > 0 and (data := self.read(min(left, CHUNK_BYTES))):
            left -= len(data)
        return begun - left

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._sha256.update(data)

    def rewind(self) -> None:
        """Begin again."""
        self._file.seek(0)
        self._sha256 = hashlib.sha256()

    def clear(self) -> None:
        """Empty the file, and begin again."""
        self._file.truncate(0)
        self.rewind()


async def hash_of(path: Path) -> str:
    """The SHA-256 of a file. It can be cancelled on the way."""
    with await in_thread(LocalFile, path, os.O_RDONLY) as file:
        await file.pass_over(file.status().st_size)
        return file.sha256


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a tree, by its path below the top with slashes between the segments."""

    path: Path
    relative: str
    size: int


def scan(top: Path, on_error: Callable[[OSError], None]) -> Iterator[Found | Path]:
    """The files below a directory in order; what is neither file nor directory as its path.

    Symbolic links are not followed: they are among the latter.
    """
    for directory, directories, names in os.walk(top, onerror=on_error):
        directories.sort()
        for name in sorted([*names, *(d for d in directories if Path(directory, d).is_symlink())]):
            path = Path(directory, name)
            try:
                status = path.lstat()
            except OSError as error:
                on_error(error)
                continue
            if stat.S_ISREG(status.st_mode):
                yield Found(path, path.relative_to(top).as_posix(), status.st_size)
            else:
                yield path


class Tree:
    """A directory that files are written into, and never out of it.

    The paths of azdriver have no segment ``..``; this holds even if a driver returned one, or if
    a symbolic link is in the directory.
    """

    def __init__(self, top: Path) -> None:
        top.mkdir(parents=True, exist_ok=True)
        self.top = top
        self._safe = {top}
        self._taken: dict[str, str] | None = {} if _ignores_case(top) else None

    def place(self, relative: str) -> Path:
        """Where a file goes; the directories above it are made.

        Raises:
            Failure: it would be outside, or over another file of this tree.
        """
        segments = relative.split("/")
        if not all(_is_file_name(segment) for segment in segments):
            raise Failure(f"{relative!r} is not a name for a file here")
        if self._taken is not None:
            other = self._taken.setdefault(relative.casefold(), relative)
            if other != relative:
                raise Failure(f"{relative} and {other} are one file here: upper and lower case")
        directory = self.top
        for segment in segments[:-1]:
            directory /= segment
            if directory not in self._safe:
                if directory.is_symlink():
                    raise Failure(f"{directory} is a symbolic link, which is not followed")
                directory.mkdir(exist_ok=True)
                self._safe.add(directory)
        return directory / segments[-1]


def _is_file_name(segment: str) -> bool:
    if segment in ("", ".", "..") or "/" in segment or "\0" in segment:
        return False
    if sys.platform != "win32":
        return True
    stem = segment.partition(".")[0].rstrip().lower()
    bad = any(character in '<>:"\\|?*' or character < " " for character in segment)
    return not bad and stem not in _RESERVED and not segment.endswith((".", " "))


def _ignores_case(directory: Path) -> bool:
    with tempfile.NamedTemporaryFile(prefix=".azdriver-case-", dir=directory) as probe:
        path = Path(probe.name)
        return path.with_name(path.name.upper()).exists()
