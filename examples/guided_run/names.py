"""File names as paths of the contract, and back: no two files share a path.

A path's segments are of letters, digits, ``.``, ``_`` and ``-``; a file's name is of any bytes.
Each other byte becomes ``_x`` and two hexadecimal digits, as ``%2B`` does in an URL, so that
``libstdc++.so`` is stored as ``libstdc_x2B_x2B.so``, and nearly all names stay as they are.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import PurePath
from typing import Final

__all__ = ["FILES", "LONG", "file_of", "path_of", "segment_of"]

FILES: Final = "/files"
LONG: Final = "/long"

# Azure's limits are 1,024 characters and 254 segments; a move adds a few.
MAX_CHARACTERS: Final = 1000
MAX_SEGMENTS: Final = 250

_ESCAPED: Final = re.compile(r"_x([0-9A-F]{2})")
# An underscore of the name itself is escaped where it would read as an escape, and a dot at the
# end always: Azure advises against it, and so ``.`` and ``..`` cannot come out.
_TO_ESCAPE: Final = re.compile(rb"[^A-Za-z0-9._-]|_(?=x[0-9A-F]{2})|\.\Z")


def segment_of(name: bytes) -> str:
    """One segment of a path, for one file or directory name.

    >>> segment_of(b"__init__.py"), segment_of(b"a+b"), segment_of(b"_x2B")
    ('__init__.py', 'a_x2Bb', '_x5Fx2B')
    """
    return _TO_ESCAPE.sub(lambda match: b"_x%02X" % ord(match[0]), name).decode("ascii")


def name_of(segment: str) -> bytes:
    """The file or directory name that ``segment_of`` was given."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), segment).encode("latin-1")


def path_of(relative: PurePath) -> str:
    """Where a file is stored; one whose path would be too long goes by the hash of its name."""
    names = [os.fsencode(part) for part in relative.parts]
    path = "/".join((FILES, *(segment_of(name) for name in names)))
    if len(path) <= MAX_CHARACTERS and len(names) < MAX_SEGMENTS:
        return path
    return f"{LONG}/{hashlib.sha256(b'/'.join(names)).hexdigest()}"


def file_of(path: str) -> PurePath | None:
    """The file that is stored at ``path``; None where only its hash is known."""
    if not path.startswith(FILES + "/"):
        return None
    segments = path[len(FILES) + 1 :].split("/")
    return PurePath(*(os.fsdecode(name_of(segment)) for segment in segments))
