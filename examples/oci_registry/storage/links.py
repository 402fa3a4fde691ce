"""Links: small contents that hold a digest."""

from __future__ import annotations

from azdriver import PathNotFoundError, StorageDriver
from oci_registry.errors import RegistryError
from oci_registry.names import Digest, parse_digest

__all__ = ["read_link", "write_link"]


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
