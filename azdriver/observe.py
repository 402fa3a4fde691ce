"""What is seen of each operation: one debug line, whatever the driver.

Nothing is logged above DEBUG in normal work, and never an URL or a header: those hold secrets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Observation", "observed"]

_log = logging.getLogger("azdriver")


class Observation:
    """What an operation tells about itself while it runs."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def observed(driver: str, operation: str, path: str) -> Iterator[Observation]:
    """Log the operation in the ``with`` block: name, path, bytes, duration and outcome."""
    observation = Observation()
    if not _log.isEnabledFor(logging.DEBUG):
        yield observation
        return
    outcome = "ok"
    began = time.perf_counter()
    try:
        yield observation
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        _log.debug(
            "%s: %s %s: %s, %d bytes, %.1f ms",
            driver,
            operation,
            path,
            outcome,
            observation.bytes,
            (time.perf_counter() - began) * 1000,
        )
