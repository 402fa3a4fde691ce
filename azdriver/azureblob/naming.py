"""How a path becomes the name of a blob, and back."""

from __future__ import annotations

from typing import Final, NewType

from azdriver.errors import InvalidPathError
from azdriver.paths import ROOT, StoragePath, is_path, parse_path

__all__ = ["MAX_NAME_CHARACTERS", "BlobName", "BlobNames"]

BlobName = NewType("BlobName", str)
"""The name of a blob in the container, as Azure stores it."""

# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
MAX_NAME_CHARACTERS: Final = 1024
MAX_NAME_SEGMENTS: Final = 254


class BlobNames:
    """The names of one layout.

    ===========  ======================================  ==============================
    layout       ``/a/b`` becomes                        who writes it
    ===========  ======================================  ==============================
    default      ``a/b``, or ``root/a/b``                the container registry 3.x
    legacy root  ``/a/b``, or ``/root/a/b``              the registry 2.0 to 2.8
    ===========  ======================================  ==============================
    """

    def __init__(self, driver: str, root_directory: str = "", *, legacy_root: bool = False) -> None:
        """
        Args:
            driver: the driver's name, for errors.
            root_directory: what all names start with; checked by the options.
            legacy_root: keep the leading slash in the names.
        """
        root = root_directory.strip("/")
        self._driver = driver
        self._base = ("/" if legacy_root else "") + (root + "/" if root else "")
        self._base_length = len(self._base)

    def parse(self, path: str, *, root: bool = False) -> StoragePath:
        """Check a caller's path, the service's limits on its blob's name included.

        Raises:
            InvalidPathError: before any request.
        """
        parsed = parse_path(path, driver=self._driver, root=root)
        name = self._base + parsed[1:]
        if len(name) > MAX_NAME_CHARACTERS:
            reason = f"{len(name)} characters as a blob name, the limit is {MAX_NAME_CHARACTERS}"
            raise InvalidPathError(self._driver, path, reason)
        if name.count("/") >= MAX_NAME_SEGMENTS:
            reason = f"more than {MAX_NAME_SEGMENTS} segments as a blob name"
            raise InvalidPathError(self._driver, path, reason)
        return parsed

    def of(self, path: StoragePath) -> BlobName:
        """The name of the blob at ``path``."""
        return BlobName(self._base + path[1:])

    def prefix(self, directory: StoragePath) -> str:
        """What the names of all blobs below ``directory`` start with; ``""`` is all of them."""
        return self._base if directory == ROOT else self._base + directory[1:] + "/"

    def path_of(self, name: str) -> StoragePath | None:
        """The path of a name found in a listing.

        None where there is none (an empty segment, other characters): such a name was not
        written by a driver, and returning it as something that it is not would send a later
        operation to another blob.
        """
        if not name.startswith(self._base):
            return None
        path = "/" + name[self._base_length :]
        return path if is_path(path) else None
