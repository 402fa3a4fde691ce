"""Links: small contents that hold a digest."""

from __future__ import annotations

from contextlib import suppress

from azdriver import FileInfo, PathNotFoundError, PreconditionFailedError, StorageDriver
from oci_registry.errors import RegistryError
from oci_registry.names import Digest, parse_digest

__all__ = ["read_link", "refresh_link", "write_link"]


async def read_link(driver: StorageDriver, path: str) -> Digest | None:
    """The digest that a link holds; None if there is no link, or none that can be read."""
    try:
        content = await driver.get_content(path)
        return parse_digest(content.decode("ascii", "replace").strip())
    except (PathNotFoundError, RegistryError):
        return None


async def write_link(driver: StorageDriver, path: str, digest: Digest) -> None:
    """Point a link to a digest; readers see the old one or the new one."""
    await driver.put_content(path, str(digest).encode())


async def refresh_link(driver: StorageDriver, path: str, found: FileInfo) -> None:
    """Write an old link again, so that garbage collection leaves alone what it points to.

    A link that was deleted meanwhile does not come back.
    """
    with suppress(PathNotFoundError, PreconditionFailedError):
        content = await driver.get_content(path)
        await driver.put_content(path, content, if_match=found.etag)
