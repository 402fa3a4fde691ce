"""Tags: small contents that hold a digest, and are replaced whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from azdriver import PathNotFoundError, StorageDriver
from oci_registry import layout
from oci_registry.errors import ErrorCode, RegistryError
from oci_registry.names import Digest, RepositoryName, Tag
from oci_registry.settings import RegistrySettings
from oci_registry.storage.concurrency import KeyedLocks, each
from oci_registry.storage.links import read_link, write_link

__all__ = ["TagStore"]


class TagStore:
    """The tags of all repositories."""

    def __init__(self, driver: StorageDriver, settings: RegistrySettings) -> None:
        self._driver = driver
        self._settings = settings
        # No request of the contract deletes a tag only if it still points to what was read. In
        # this process nobody moves it meanwhile; another instance may, in a moment between.
        self._changing = KeyedLocks()

    async def resolve(self, name: RepositoryName, tag: Tag) -> Digest | None:
        """What a tag points to; None if there is no such tag."""
        return await read_link(self._driver, layout.tag_current_link(name, tag))

    async def point(self, name: RepositoryName, tag: Tag, digest: Digest) -> None:
        """Let a tag point to a manifest that is stored; the last one wins."""
        async with self._changing.holding((name, tag)):
            await write_link(self._driver, layout.tag_index_link(name, tag, digest), digest)
            await write_link(self._driver, layout.tag_current_link(name, tag), digest)

    async def all(self, name: RepositoryName) -> list[str]:
        """All tags of a repository, in the order of their bytes."""
        directory = layout.tags(name)
        found: list[str] = []
        try:
            async with aclosing(self._driver.walk(directory)) as walk:
                async for info in walk:
                    tag, _, below = info.path[len(directory) + 1 :].partition("/")
                    # Not each directory: a push or a delete that was killed leaves an index.
                    if below == "current/link" and not info.is_dir:
                        found.append(tag)
                    elif below == "index" and info.is_dir:
                        walk.skip()
        except PathNotFoundError:
            return []
        return sorted(found)

    async def delete(self, name: RepositoryName, tag: Tag) -> None:
        """Delete a tag, and nothing else.

        Raises:
            RegistryError: ``MANIFEST_UNKNOWN``, there is no such tag.
        """
        async with self._changing.holding((name, tag)):
            try:
                await self._driver.delete(layout.tag_current_link(name, tag))
            except PathNotFoundError:
                raise RegistryError(
                    ErrorCode.MANIFEST_UNKNOWN, "no such tag in the repository", tag
                ) from None
            with suppress(PathNotFoundError):
                await self._driver.delete(layout.tag(name, tag))

    async def delete_all(
        self, name: RepositoryName, digest: Digest, *, unless: Callable[[], Awaitable[bool]]
    ) -> None:
        """Delete every tag that points to a manifest.

        Args:
            name: the repository.
            digest: of the manifest.
            unless: asked before each, while nobody moves it: whether it is to stay.
        """

        async def delete(tag: str) -> None:
            if await self.resolve(name, Tag(tag)) != digest:
                return
            async with self._changing.holding((name, tag)):
                if await self.resolve(name, Tag(tag)) == digest and not await unless():
                    with suppress(PathNotFoundError):
                        await self._driver.delete(layout.tag_current_link(name, Tag(tag)))
                        await self._driver.delete(layout.tag(name, Tag(tag)))

        await each(delete, await self.all(name), at_once=self._settings.max_requests_in_flight)
