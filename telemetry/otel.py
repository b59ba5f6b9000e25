"""Spans and metrics over OTLP, with the exporters of the OpenTelemetry SDK. Imported only if an endpoint is set.

Recording puts a span into a bounded queue and a measurement into the SDK's aggregation; only the thread of
`telemetry.sending` uses the network.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import Metric
from telemetry.tracing import Finished, span_id, trace_id

if TYPE_CHECKING:
    import requests

__all__ = ["EXPORT_LIMIT_S", "METRICS_EVERY_S", "Otlp", "Protocol", "open_otlp"]

Protocol = Literal["grpc", "http/protobuf"]
"""Values of OTEL_EXPORTER_OTLP_PROTOCOL."""

EXPORT_LIMIT_S: Final = 2.0
"""Time limit of one request to the collector in seconds, retries included."""

METRICS_EVERY_S: Final = 60.0
"""Seconds between two exports of metrics that are not awaited (the SDK's default)."""

_QUEUE: Final = 4096
_BATCH: Final = 512
_SCOPE: Final = "scf-workers"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Bounds of histograms in seconds: from a ledger write to a video that takes an hour."""

_KINDS: Final[Mapping[str, SpanKind]] = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}

_NO_PROXY: Final[Any] = (("grpc.enable_http_proxy", 0),)
"""Without it, gRPC would use `https_proxy` and similar variables of the environment."""

log = logs.get(__name__)


def open_otlp(protocol: Protocol, endpoint: str, headers: Mapping[str, str]) -> tuple[SpanExporter, MetricExporter]:
    """Open the SDK's exporters to one collector.

    Args:
        protocol: protocol of the collector.
        endpoint: its URL, without the path that HTTP adds for each signal (OpenTelemetry specification, Protocol
            Exporter, "Endpoint URLs for OTLP/HTTP").
        headers: headers of each request.

    Raises:
        ImportError: the exporter is not installed.
    """
    # Header names are sent in lower case; gRPC rejects others.
    named = {name.lower(): value for name, value in headers.items()}
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces

        return (
            grpc_traces.OTLPSpanExporter(
                endpoint=endpoint, headers=named, timeout=EXPORT_LIMIT_S, channel_options=_NO_PROXY
            ),
            grpc_metrics.OTLPMetricExporter(
                endpoint=endpoint, headers=named, timeout=EXPORT_LIMIT_S, channel_options=_NO_PROXY
            ),
        )
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    base = endpoint.rstrip("/")
    return (
        http_traces.OTLPSpanExporter(
            endpoint=f"{base}/v1/traces", headers=named, timeout=EXPORT_LIMIT_S, session=_session()
        ),
        http_metrics.OTLPMetricExporter(
            endpoint=f"{base}/v1/metrics", headers=named, timeout=EXPORT_LIMIT_S, session=_session()
        ),
    )


def _session() -> requests.Session:
    """Create a session without a proxy or .netrc, which would give the headers to other hosts."""
    import requests

    session = requests.Session()
    session.trust_env = False
    return session


@final
class Otlp:
    """Queues spans and aggregates measurements until they are sent. A sink of `tracing` and of `metrics`.

    Args:
        spans: exporter of spans.
        metrics: exporter of metrics; None drops them.
        resource: attributes of everything sent, such as `service.name`.
    """

    def __init__(self, spans: SpanExporter, metrics: MetricExporter | None, resource: Mapping[str, str]) -> None:
        self._exporter = spans
        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope(_SCOPE)
        self._queue: deque[Finished] = deque(maxlen=_QUEUE)
        # Each counter is written by one thread only: the first by working threads, the others by the sending thread.
        self._overflowed, self._dropped, self._reported = 0, 0, 0
        self._meters = _Meters(metrics, self._resource) if metrics is not None else None

    @property
    def has_metrics(self) -> bool:
        """Return True if it records measurements."""
        return self._meters is not None

    def ended(self, span: Finished) -> None:
        """Keep a span until it is sent; if the queue is full, the oldest one is lost."""
        if len(self._queue) == _QUEUE:
            self._overflowed += 1
        self._queue.append(span)

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        if self._meters is not None:
            self._meters.record[metric](value, labels)

    observe = count
    level = count

    def send(self, *, awaited: bool) -> bool:
        """Send the spans, and the metrics if they are due or awaited. Returns True if all arrived."""
        try:
            return self._send_spans() and self._send_metrics(awaited=awaited)
        except Exception as error:  # noqa: BLE001 - telemetry never fails the process that uses it
            log.warning(Event.TELEMETRY_LOST, error=error)
            return False

    def close(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()
        if self._meters is not None:
            self._meters.close()

    def _send_spans(self) -> bool:
        arrived = True
        while arrived and (batch := list(itertools.islice(_taken(self._queue), _BATCH))):
            done = self._exporter.export([self._readable(span) for span in batch])
            arrived = done is SpanExportResult.SUCCESS
            self._dropped += 0 if arrived else len(batch)
        lost = self._overflowed + self._dropped - self._reported
        if lost:
            self._reported += lost
            log.warning(Event.TELEMETRY_LOST, spans=lost)
        return arrived

    def _send_metrics(self, *, awaited: bool) -> bool:
        return self._meters is None or not (awaited or self._meters.is_due()) or self._meters.send()

    def _readable(self, span: Finished) -> ReadableSpan:
        # The SDK's own tracer would create its own ids, so the exporters' input is built directly.
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id, is_remote=False),
            parent=_context(span.trace_id, span.parent_id, is_remote=True) if span.parent_id else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            links=[Link(_context(trace_id(span.link), span_id(span.link), is_remote=True))] if span.link else [],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, str(span.attributes.get("error", ""))) if span.failed else Status(),
            start_time=span.start_ns,
            end_time=span.start_ns + span.duration_ns,
            instrumentation_scope=self._scope,
        )


@final
class _Meters:
    """Instruments of the catalogue's metrics, and the reader that sends them."""

    def __init__(self, exporter: MetricExporter, resource: Resource) -> None:
        # An endless interval prevents a thread of its own.
        self._reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        self._provider = MeterProvider(metric_readers=[self._reader], resource=resource, shutdown_on_exit=False)
        self.record: Mapping[Metric, Callable[[float, Mapping[str, str]], None]] = {
            metric: self._recorder(metric) for metric in Metric
        }
        self._sent = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() >= self._sent + METRICS_EVERY_S

    def send(self) -> bool:
        self._sent = time.monotonic()
        return self._reader.force_flush(EXPORT_LIMIT_S * 1000)

    def close(self) -> None:
        self._provider.shutdown()

    def _recorder(self, metric: Metric) -> Callable[[float, Mapping[str, str]], None]:
        meter = self._provider.get_meter(_SCOPE)
        match metric.kind:
            case "counter":
                return meter.create_counter(metric.value, metric.unit, metric.meaning).add
            case "histogram":
                return meter.create_histogram(
                    metric.value, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=_SECONDS
                ).record
            case "gauge":
                return meter.create_gauge(metric.value, metric.unit, metric.meaning).set


def _taken(queue: deque[Finished]) -> Iterator[Finished]:
    """Take spans out of the queue one by one; other threads may append meanwhile."""
    while True:
        try:
            yield queue.popleft()
        except IndexError:
            return


def _context(trace: str, span: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=is_remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
