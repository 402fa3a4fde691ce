"""The repositories: each directory that has blobs or manifests of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from azdriver import PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import RegistryError
from oci_registry.names import RepositoryName, parse_repository

__all__ = ["Catalog"]


class Catalog:
    """The names of all repositories. Nothing keeps a list of them: they are walked."""

    def __init__(self, driver: StorageDriver) -> None:
        self._driver = driver

    async def repositories(self) -> AsyncGenerator[RepositoryName, None]:
        """Each once, in the order of the walk."""
        last = None
        try:
            async with aclosing(self._driver.walk(layout.REPOSITORIES)) as walk:
                async for info in walk:
                    directory, _, segment = info.path.rpartition("/")
                    if not info.is_dir or not segment.startswith("_"):
                        continue
                    walk.skip()
                    if segment in (layout.LAYERS, layout.MANIFESTS) and directory != last:
                        last = directory
                        try:
                            yield parse_repository(directory[len(layout.REPOSITORIES) + 1 :])
                        except RegistryError:
                            continue  # what someone else put there
        except PathNotFoundError:
            return

    async def sorted(self) -> list[RepositoryName]:
        """All of them, in the order of their bytes."""
        return sorted([name async for name in self.repositories()])

    async def knows(self, name: RepositoryName) -> bool:
        """Whether a repository has anything."""
        try:
            children = await self._driver.list(layout.repository(name))
        except PathNotFoundError:
            return False
        own = {f"{layout.repository(name)}/{part}" for part in (layout.LAYERS, layout.MANIFESTS)}
        return not own.isdisjoint(children)
