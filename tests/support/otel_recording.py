"""OpenTelemetry's SDK with exporters in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["RecordedTelemetry", "recorded_telemetry"]


class RecordedTelemetry:
    """What the SDK was given since the recording began."""

    def __init__(self, exporter: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self._exporter = exporter
        self._reader = reader

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def points(self) -> dict[str, list[Any]]:
        """The data points of each metric, those since the last call."""
        data = self._reader.get_metrics_data()
        points: dict[str, list[Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points.setdefault(metric.name, []).extend(metric.data.data_points)
        return points

    def text(self) -> str:
        """All of it, as an exporter would write it."""
        return "\n".join([*(span.to_json() for span in self.spans), repr(self.points())])


@cache  # a process has one provider of each, for good
def _providers() -> tuple[TracerProvider, InMemoryMetricReader]:
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(tracer_provider)
    delta = AggregationTemporality.DELTA
    reader = InMemoryMetricReader(preferred_temporality={Counter: delta, Histogram: delta})
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader], shutdown_on_exit=False))
    return tracer_provider, reader


@contextmanager
def recorded_telemetry() -> Iterator[RecordedTelemetry]:
    """Record what goes to the SDK in the ``with`` block."""
    tracer_provider, reader = _providers()
    exporter = InMemorySpanExporter()
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorded = RecordedTelemetry(exporter, reader)
    recorded.points()  # those from before
    try:
        yield recorded
    finally:
        exporter.shutdown()
