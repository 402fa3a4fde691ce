"""OpenTelemetry: a span and two metrics for each operation of any driver.

Only the API is used, and only where the application has loaded it: whoever sets up an SDK has,
and nobody else pays for it. ``azdriver[telemetry]`` asks for the version that is needed.

Where the semantic conventions have a name, it is used: the shape is that of their database
clients, the nearest that there is to a blob store. What is azdriver's own begins with
``azdriver.``. https://opentelemetry.io/docs/specs/semconv/database/

- The span is named ``get_content azure``: operation and driver. Its kind is CLIENT where there is
  a server, else INTERNAL. A failure is told by its type (``error.type``) and by the service's id
  of the request; no message and no stack trace, which may hold more than is known here.
- ``azdriver.operation.duration``, a histogram of seconds.
- ``azdriver.operation.io``, a counter of the bytes of contents and streams.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from azdriver.errors import BackendError

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

__all__ = ["RunningSpan", "Telemetry", "loaded_telemetry"]

# Of the conventions for a database client's operations, in seconds.
DURATION_BOUNDARIES: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
SCOPE: Final = "azdriver"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"

_telemetry: Telemetry | None = None
_is_unusable = False


class RunningSpan(NamedTuple):
    """A span, and what its end takes."""

    span: Span
    attributes: dict[str, str | int]  # of the metrics: few values, so no path
    token: Token[Context] | None  # by which it ceases to be the current one


class Telemetry:
    """Spans and metrics of the application's providers."""

    def __init__(self) -> None:
        """
        Raises:
            ImportError: there is no OpenTelemetry API.
            TypeError: it is older than what ``azdriver[telemetry]`` asks for.
        """
        from opentelemetry import context, metrics, trace

        self._context = context
        self._trace = trace
        self._tracer = trace.get_tracer(SCOPE, schema_url=SCHEMA_URL)
        meter = metrics.get_meter(SCOPE, schema_url=SCHEMA_URL)
        self._duration = meter.create_histogram(
            "azdriver.operation.duration",
            unit="s",
            description="Duration of the operations of storage drivers.",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES,
        )
        self._io = meter.create_counter(
            "azdriver.operation.io",
            unit="By",
            description="Bytes of contents and streams that were read or written.",
        )

    def begin(
        self,
        driver: str,
        operation: str,
        path: str,
        service: Mapping[str, str | int],
        make_current: bool,
    ) -> RunningSpan:
        """Start the span of an operation.

        Args:
            driver: its name.
            operation: the method of the contract.
            path: what it works on.
            service: the attributes of the server.
            make_current: whether spans made meanwhile are its children.
        """
        attributes: dict[str, str | int] = {
            "azdriver.driver": driver,
            "azdriver.operation": operation,
            **service,
        }
        kind = self._trace.SpanKind
        span = self._tracer.start_span(
            f"{operation} {driver}",
            kind=kind.CLIENT if service else kind.INTERNAL,
            attributes={**attributes, "azdriver.path": path},
            record_exception=False,
            set_status_on_exception=False,
        )
        token = None
        if make_current:
            token = self._context.attach(self._trace.set_span_in_context(span))
        return RunningSpan(span, attributes, token)

    def end(
        self, running: RunningSpan, seconds: float, size_bytes: int, error: BaseException | None
    ) -> None:
        """End the span, and record the metrics.

        Args:
            running: what ``begin`` returned.
            seconds: how long it took.
            size_bytes: of the content that went either way.
            error: what it raised.
        """
        span, attributes, token = running
        if token is not None:
            self._context.detach(token)
        if size_bytes:
            self._io.add(size_bytes, attributes)
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        if span.is_recording():
            span.set_attribute("azdriver.bytes", size_bytes)
            if error is not None:
                span.set_attributes(_of_error(error))
                span.set_status(self._trace.StatusCode.ERROR)
        self._duration.record(seconds, attributes)
        span.end()


def _of_error(error: BaseException) -> dict[str, str | int]:
    attributes: dict[str, str | int | None] = {"error.type": type(error).__qualname__}
    if isinstance(error, BackendError):
        attributes["http.response.status_code"] = error.status
        attributes["azdriver.error_code"] = error.error_code
        attributes["azure.service.request.id"] = error.request_id
    return {name: value for name, value in attributes.items() if value is not None}


def loaded_telemetry() -> Telemetry | None:
    """None while the application has not loaded OpenTelemetry's API, which is not done here."""
    global _telemetry, _is_unusable
    if _telemetry is None and "opentelemetry.trace" in sys.modules and not _is_unusable:
        try:
            _telemetry = Telemetry()
        except (ImportError, TypeError):
            _is_unusable = True
    return _telemetry
