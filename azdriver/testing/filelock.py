"""A file that one process at a time holds."""

import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

__all__ = ["locked"]

POLL_SECONDS = 0.2


@asynccontextmanager
async def locked(
    path: Path,
    *,
    patience_seconds: float | None = None,
    on_wait: Callable[[], None] = lambda: None,
) -> AsyncGenerator[int]:
    """Hold the lock of a file, which is made if it is missing, and yield its descriptor.

    The system lets go of it when this process dies, and, on POSIX, every process that has
    inherited the descriptor.

    Args:
        path: the file; it stays.
        patience_seconds: how long to wait for another holder; None for as long as it takes.
        on_wait: called when there is another holder.

    Raises:
        TimeoutError: the other holder took longer.
        OSError: the file cannot be made.
    """
    await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _try_lock(descriptor):
            on_wait()
            with anyio.fail_after(patience_seconds):
                while not _try_lock(descriptor):  # noqa: ASYNC110 -- the holder is another process
                    await anyio.sleep(POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX and Windows, in this order
        return False
    return True
