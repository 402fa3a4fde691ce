"""Reads the directory that is stored; what cannot be stored is counted and shown."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from guided_run.names import LONG, path_of

__all__ = ["Source", "SourceFile", "scan"]

AT_LEAST_STREAMED: Final = 3


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file on disk, the path that it is stored at, and its size in bytes when it was found."""

    file: Path
    path: str
    size: int


@dataclass(slots=True)
class Source:
    """What a directory holds.

    Attributes:
        root: the directory.
        files: what is stored, in the order of the names.
        skipped: what is not, by the reason.
    """

    root: Path
    files: list[SourceFile] = field(default_factory=list)
    skipped: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def renamed(self) -> int:
        """How many files have a character in their names that a path may not have."""
        return sum(
            file.path.rpartition("/")[2] != file.file.name or file.path.startswith(LONG + "/")
            for file in self.files
        )

    def streamed(self, above: int) -> set[str]:
        """The paths of the files larger than ``above`` bytes; of the largest if there are none."""
        large = {file.path for file in self.files if file.size > above}
        by_size = sorted(self.files, key=lambda file: file.size, reverse=True)
        return large or {file.path for file in by_size[:AT_LEAST_STREAMED]}


def scan(root: Path, *, limit_bytes: int | None = None) -> Source:
    """List the files below a directory. Links to directories are not followed.

    Args:
        root: the directory.
        limit_bytes: leave out each file with which all together would be larger.

    Raises:
        OSError: ``root`` is no directory, or cannot be read.
    """
    source = Source(root)
    os.listdir(root)  # raises, where the walk would find nothing
    size = 0

    def unreadable(error: OSError) -> None:
        source.skipped["directory that cannot be read"].append(Path(error.filename))

    for directory, directories, names in os.walk(root, onerror=unreadable):
        directories.sort()
        for name in directories:
            if os.path.islink(os.path.join(directory, name)):
                source.skipped["link to a directory"].append(Path(directory, name))
        if not directories and not names:
            source.skipped["empty directory"].append(Path(directory))
        for name in sorted(names):
            file = Path(directory, name)
            try:
                status = file.stat()
            except OSError:
                source.skipped["file that cannot be read"].append(file)
                continue
            if not stat.S_ISREG(status.st_mode):
                source.skipped["no regular file"].append(file)
            elif limit_bytes is not None and size + status.st_size > limit_bytes:
                source.skipped["beyond --limit-bytes"].append(file)
            else:
                size += status.st_size
                path = path_of(file.relative_to(root))
                source.files.append(SourceFile(file, path, status.st_size))
    return source
