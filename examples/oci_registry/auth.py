"""Who may come in: the names and passwords of a file that ``htpasswd -B`` writes."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bcrypt

from azdriver import ConfigurationError
from oci_registry.storage.concurrency import KeyedLocks

__all__ = ["Htpasswd"]

_log = logging.getLogger(__name__)

# bcrypt takes no more of a password, and htpasswd cuts longer ones there.
MAX_PASSWORD_BYTES: Final = 72
MAX_REMEMBERED: Final = 1000
# Each check keeps a core busy for a good while: guessing is not to keep all of them so.
MAX_CHECKS_AT_ONCE: Final = 2

_HASH: Final = re.compile(rb"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class _Users:
    """A file as it was read.

    Attributes:
        version: by which a change is seen; None if the file could not be read.
        hashes: by name.
        faults: what was not understood of it; never a line itself.
    """

    version: tuple[int, ...] | None
    hashes: dict[str, bytes] = field(repr=False)
    faults: Sequence[str]


class Htpasswd:
    """The users of a file. It is read again when it has changed.

    It is to be right in the beginning. Later, who is not in it does not come in, whatever else
    is wrong with it: a line that is not understood lets in nobody, and takes nobody else along;
    if the file is empty or gone, nobody comes in.
    """

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            ConfigurationError: it cannot be read, has no users, or another hash than bcrypt's.
        """
        self._path = path
        self._users = _read(path)
        if self._users.faults:
            raise ConfigurationError("registry", "htpasswd", self._users.faults[0])
        self._checks = asyncio.Semaphore(MAX_CHECKS_AT_ONCE)
        self._checking = KeyedLocks()
        # Who came in before, by a hash that nobody can make without the key.
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"Htpasswd({str(self._path)!r}, users={len(self._users.hashes)})"

    async def admits(self, user: str, password: str) -> bool:
        """Whether there is such a user with this password.

        How long it takes does not tell whether there is such a user.
        """
        self._reload()
        given = password.encode()
        seen = hmac.digest(self._key, b"%d:%b:%b" % (len(user), user.encode(), given), "sha256")
        # One check for all requests that a client sends at once.
        async with self._checking.holding(seen):
            if seen in self._remembered:
                self._remembered.move_to_end(seen)
                return True
            users = self._users
            if not users.hashes:
                return False
            stored = users.hashes.get(user)
            # Some hash is compared in any case.
            compared = stored or next(iter(users.hashes.values()))
            async with self._checks:
                is_right = await asyncio.to_thread(_matches, given, compared)
            if stored is None or not is_right:
                return False
            if users is self._users:
                self._remembered[seen] = None
                while len(self._remembered) > MAX_REMEMBERED:
                    self._remembered.popitem(last=False)
            return True

    def _reload(self) -> None:
        if _version(self._path) != self._users.version:
            faults = self._users.faults
            self._users = _read(self._path)
            self._remembered.clear()
            if self._users.faults != faults:  # what cannot be read is tried each time
                for fault in self._users.faults:
                    _log.error("%s", fault)


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:MAX_PASSWORD_BYTES], stored)
    except ValueError:  # such as a NUL, which some versions refuse
        return False


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    # The times of its content, and of who may read it.
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> _Users:
    # Before the lines: what changes meanwhile is seen to have changed.
    version = _version(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        return _Users(None, {}, [f"{path}: {error.strerror}: nobody comes in"])
    hashes: dict[str, bytes] = {}
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        user, _, value = line.partition(b":")
        try:
            if not (user and _HASH.fullmatch(value)):
                raise ValueError("another hash, or none")
            hashes[user.decode()] = value
        except ValueError:
            faults.append(
                f"{path}, line {number}: is to be a name, a colon and a hash of bcrypt, as"
                " htpasswd -B writes it, in UTF-8"
            )
    if not hashes:
        faults.append(f"{path}: has no users: nobody comes in")
    return _Users(version, hashes, faults)
