"""Listing directories, and deleting files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from azdriver import PathNotFoundError, StorageDriver
from web_common.answers import RequestRefused
from web_common.conditions import has_conditions

__all__ = ["FILES", "delete_file", "list_directory"]

FILES: Final = "/files"
"""What is served: an URL's path is the file's path in the storage, which the driver checks."""


async def list_directory(driver: StorageDriver, path: str) -> Sequence[str]:
    """The paths in a directory, whose own path ends with a slash; the topmost is always there."""
    directory = path.removesuffix("/")
    try:
        return await driver.list(directory)
    except PathNotFoundError:
        if directory == FILES:
            return []
        raise


async def delete_file(driver: StorageDriver, path: str, headers: Mapping[str, str]) -> None:
    """Delete a file.

    Raises:
        RequestRefused: 409 for a directory, all of which the driver would delete; 501 if it is to
            happen on a condition, which the contract has not for a deletion.
    """
    if has_conditions(headers):
        raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "no deletion on a condition")
    if (await driver.stat(path)).is_dir:
        raise RequestRefused(HTTPStatus.CONFLICT, "a directory")
    await driver.delete(path)
