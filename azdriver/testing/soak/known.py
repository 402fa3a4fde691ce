"""What a task knows of its own paths, and the checks of what it finds there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import TypeAlias

import aiohttp

from azdriver.azureblob import AzureBlobDriver
from azdriver.errors import (
    BackendError,
    ConcurrentWriteError,
    PathNotFoundError,
    StorageDriverError,
)
from azdriver.testing.soak.load import KIB, OWN_FILES
from azdriver.testing.soak.report import Report


class WrongError(Exception):
    """The driver said something that cannot be."""


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


Content: TypeAlias = bytes | None
"""The SHA-256 of what a path holds; None if it holds nothing."""


class Known:
    """The directory of one task, and what is known of it."""

    def __init__(
        self, driver: AzureBlobDriver, report: Report, plain: aiohttp.ClientSession, number: int
    ) -> None:
        self._driver = driver
        self._report = report
        self._plain = plain
        self._random = random.Random(f"{report.seed} task {number}")
        self._name = f"/t{number}"
        self._generation = 0
        self._serial = 0
        self._files: dict[str, bytes] = {}
        # Which of them may be append blobs. A put deletes such a blob first: the one-time
        # migration, whose failure may leave nothing.
        self._streams: set[str] = set()
        self._retired: set[str] = set()
        # Paths that an operation is changing, and what each may hold until it has ended.
        self._doubts: dict[str, Callable[[Content | bytearray], bool]] = {}

    def _count(self, error: StorageDriverError) -> None:
        kind = type(error).__name__
        if isinstance(error, BackendError):
            kind += f" {error.operation} {error.status or ''} {error.error_code or ''}".rstrip()
        self._report.errors[kind] += 1

    async def _resolve(self, *, keep: bool) -> None:
        """See what became of the paths that a failed operation was changing."""
        # In the order in which the operation named them: a move's source before its destination.
        for path, fits in self._doubts.items():
            content = await self._look(path)
            if not fits(None if content is None else bytearray(content)):
                found = "nothing" if content is None else f"{len(content)} bytes"
                raise WrongError(f"{path} holds {found}, none of what it may")
            self._files.pop(path, None)
            self._streams.add(path)  # for all we know
            if not keep:
                self._retired.add(path)
            elif content is not None:
                self._files[path] = digest(content)

    async def _look(self, path: str) -> bytes | None:
        while True:
            try:
                return await self._driver.get_content(path)
            except PathNotFoundError:
                return None
            except (BackendError, ConcurrentWriteError) as error:
                self._count(error)

    def _start_anew(self) -> None:
        """In another directory, of which everything is known: it is empty."""
        self._generation += 1
        self._files = {}
        self._streams = set()
        self._retired = set()
        self._doubts = {}

    # What the operations are made of.

    @property
    def _directory(self) -> str:
        return f"{self._name}.{self._generation}"

    def _path(self, kind: str = "f") -> str:
        """One of the few paths of a worker that are not retired."""
        path = f"{self._directory}/{kind}{self._random.randrange(OWN_FILES)}"
        return path if path not in self._retired else f"{path}.{len(self._retired)}"

    def _known(self) -> str | None:
        return self._random.choice(list(self._files)) if self._files else None

    def _content(self) -> bytes:
        """Mostly small, unlike any other, and self-describing: SHA-256, then what it is of."""
        self._serial += 1
        size = min(int(self._random.lognormvariate(8, 1.6)), 512 * KIB)
        body = f"{self._name} {self._serial}\n".encode() + self._random.randbytes(size)
        return digest(body) + body

    def _either(self, *contents: Content) -> Callable[[Content | bytearray], bool]:
        return lambda held: (None if held is None else digest(bytes(held))) in contents

    def _check(self, path: str, content: bytes) -> None:
        self._report.bytes += len(content)
        if digest(content) != self._files[path]:
            raise WrongError(f"{path}: {len(content)} bytes that were not written")
