"""Collectors that listen on a free port of this machine and keep the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)


@dataclass
class Received:
    """Requests that it received."""

    url: str = ""
    raw: list[bytes] = field(default_factory=list)
    """Every request's body."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """The newest of each name."""
    resource: dict[str, str] = field(default_factory=dict)

    def take(self, body: bytes, headers: Mapping[str, str], *, traces: bool) -> None:
        self.raw.append(body)
        self.headers.append(headers)
        if traces:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                self._resource(group.resource)
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
        else:
            for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self._resource(each.resource)
                self.metrics |= {metric.name: metric for scope in each.scope_metrics for metric in scope.metrics}

    def _resource(self, resource: Any) -> None:
        self.resource |= {each.key: each.value.string_value for each in resource.attributes}


@contextmanager
def http_collector() -> Iterator[Received]:
    """OTLP over HTTP."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.take(body, dict(self.headers.items()), traces=self.path == "/v1/traces")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Not a word."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc_collector() -> Iterator[Received]:
    """OTLP over gRPC."""
    received = Received()

    def take(request: Any, context: Any, *, traces: bool) -> None:
        received.take(request.SerializeToString(), dict(context.invocation_metadata()), traces=traces)

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the generated class's name
            take(request, context, traces=True)
            return ExportTraceServiceResponse()

    class Metrics(MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the generated class's name
            take(request, context, traces=False)
            return ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Traces(), server)
    add_MetricsServiceServicer_to_server(Metrics(), server)
    received.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()


@contextmanager
def dead_collector() -> Iterator[str]:
    """A server that accepts connections and never answers. Yields its URL."""
    with create_server(("127.0.0.1", 0), backlog=16) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
