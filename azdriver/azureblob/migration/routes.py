"""From a blob's name to what is to be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from azdriver.azureblob.legacy import is_legacy_content, is_upload
from azdriver.azureblob.migration.backups import BACKUPS
from azdriver.azureblob.migration.settings import MigrationSettings
from azdriver.azureblob.naming import BlobName, BlobNames
from azdriver.azureblob.options import DRIVER_NAME, AzureBlobOptions
from azdriver.errors import InvalidPathError
from azdriver.paths import ROOT, StoragePath

__all__ = ["NoRoute", "Route", "Routes"]


class Route(NamedTuple):
    """Where a blob goes.

    Attributes:
        path: what drivers of today find it under.
        source: its name now.
        dest: its name then; the same where it is in place.
    """

    path: StoragePath
    source: BlobName
    dest: BlobName

    @property
    def is_move(self) -> bool:
        return self.source != self.dest


class NoRoute(NamedTuple):
    """Why a blob stays where it is.

    Attributes:
        name: of the blob.
        reason: for the report.
        is_path: whether a driver of the old layout finds it, so that it should have been migrated.
    """

    name: str
    reason: str
    is_path: bool = True


class Routes:
    """The way from one layout to another.

    One may lie within the other: ``a/b`` becomes ``registry/a/b``. What is in the inner one
    already is never taken for a blob of the outer one, or it would be moved again by each run.
    """

    def __init__(self, options: AzureBlobOptions, settings: MigrationSettings) -> None:
        self._source = BlobNames(
            DRIVER_NAME,
            settings.from_root_directory,
            legacy_root=settings.from_legacy_root_prefix,
        )
        self._dest = BlobNames(
            DRIVER_NAME, options.root_directory, legacy_root=options.legacy_root_prefix
        )
        self._settings = settings
        self.source_prefix = self._source.prefix(ROOT)
        self.dest_prefix = self._dest.prefix(ROOT)

    def prefixes(self) -> list[str]:
        """What is to be listed, so that each blob of either layout comes once."""
        source, dest = self.source_prefix, self.dest_prefix
        if self._settings.convert == "none" or source.startswith(dest) or dest.startswith(source):
            # With nothing to be converted, what is in place needs no look.
            return [source] if self._settings.convert == "none" else [min(source, dest, key=len)]
        return [source, dest]

    def of(self, name: str) -> Route | NoRoute | None:
        """What becomes of a blob; None if it is of neither layout."""
        if name.startswith(BACKUPS):
            return None
        layouts = [(self.source_prefix, self._source), (self.dest_prefix, self._dest)]
        layouts.sort(key=lambda layout: len(layout[0]), reverse=True)
        for prefix, names in layouts:
            if name.startswith(prefix):
                return self._route(name, names)
        return None

    def _route(self, name: str, names: BlobNames) -> Route | NoRoute | None:
        path = names.path_of(name)
        if path is None:
            reason = "its name is that of no path"
            return NoRoute(name, reason, is_path=False) if names is self._source else None
        if self.source_prefix == self.dest_prefix or names is self._dest:
            return Route(path, BlobName(name), BlobName(name))
        try:
            dest = self._dest.of(self._dest.parse(path))
        except InvalidPathError as error:
            return NoRoute(name, error.reason)
        inner = len(self.source_prefix) > len(self.dest_prefix)
        if inner and dest.startswith(self.source_prefix):
            return NoRoute(name, "its new name would be one to be migrated again")
        return Route(path, BlobName(name), dest)

    def is_converted(
        self, path: str, blob_type: str, size: int, metadata: Mapping[str, str] | None
    ) -> bool:
        """Whether a blob is to become a block blob."""
        if self._settings.convert == "all":
            return blob_type == "AppendBlob" and not is_upload(path)
        return self._settings.convert == "contents" and is_legacy_content(
            path, blob_type, size, metadata, max_bytes=self._settings.max_convert_bytes
        )
