"""Contents that are read whole, if they are not too large for that."""

from __future__ import annotations

from azdriver import ConcurrentWriteError, PathNotFoundError, StorageDriver

__all__ = ["read_content"]


async def read_content(
    driver: StorageDriver, path: str, *, limit_bytes: int | None = None
) -> bytes | None:
    """The content at a path; None if there is none, or one of more than ``limit_bytes``.

    With a limit it is one request, too, and what is larger never comes into memory: clients may
    ask for any layer as if it were a manifest.
    """
    try:
        if limit_bytes is not None:
            try:
                async with driver.reader(path, length=limit_bytes) as reader:
                    # Of the whole, and known before the bytes are.
                    return await reader.read() if reader.size <= limit_bytes else None
            except ConcurrentWriteError:
                pass  # written anew, by a push of the same bytes
        return await driver.get_content(path)
    except PathNotFoundError:
        return None
