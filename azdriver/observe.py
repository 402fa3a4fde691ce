"""What is seen of each operation, whatever the driver: a count, a debug line, a span, metrics.

Nothing is logged above DEBUG in normal work, and never an URL or a header: those hold secrets.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from azdriver.telemetry import Telemetry, loaded_telemetry

__all__ = ["Observation", "Observer"]

_log: Final = logging.getLogger("azdriver")


class Observer:
    """The observations of one driver.

    Attributes:
        driver: its name.
        operations: how many were begun, by name.
        failures: how many of them raised.
    """

    def __init__(self, driver: str, attributes: Mapping[str, str | int] | None = None) -> None:
        """
        Args:
            driver: its name.
            attributes: what telemetry says of the service, such as ``server.address``; none for
                a driver that works in this process.
        """
        self.driver = driver
        self.attributes = attributes or {}
        self.operations: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def operation(self, name: str, path: str) -> Observation:
        """Observe the operation in a ``with`` block of one coroutine."""
        return Observation(self, name, path, is_stream=False)

    def stream(self, name: str, path: str) -> Observation:
        """As :meth:`operation`, for a block that yields to its caller.

        What the caller does meanwhile is not within the span, nor does the span become its
        current one: the block may be left in another task than it was entered in (PEP 789).
        """
        return Observation(self, name, path, is_stream=True)


class Observation:
    """One operation while it runs.

    Attributes:
        bytes: of the content that went either way; the operation sets it.
    """

    __slots__ = (
        "_began",
        "_is_stream",
        "_name",
        "_observer",
        "_path",
        "_span",
        "_telemetry",
        "bytes",
    )

    def __init__(self, observer: Observer, name: str, path: str, *, is_stream: bool) -> None:
        self._observer = observer
        self._name = name
        self._path = path
        self._began = 0.0
        self._telemetry: Telemetry | None = None
        self.bytes = 0
        self._is_stream = is_stream

    def __enter__(self) -> Self:
        observer = self._observer
        observer.operations[self._name] += 1
        self._telemetry = telemetry = loaded_telemetry()
        if telemetry is not None:
            self._span = telemetry.begin(
                observer.driver, self._name, self._path, observer.attributes, not self._is_stream
            )
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # A consumer that has seen enough of a walk is no failure.
        is_failure = exc is not None and not isinstance(exc, GeneratorExit)
        if is_failure:
            self._observer.failures[self._name] += 1
        seconds = time.perf_counter() - self._began
        if self._telemetry is not None:
            self._telemetry.end(self._span, seconds, self.bytes, exc if is_failure else None)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s: %s %s: %s, %d bytes, %.1f ms",
                self._observer.driver,
                self._name,
                self._path,
                "ok" if exc is None else type(exc).__name__,
                self.bytes,
                seconds * 1000,
            )
