"""Exporters of spans and measurements of a process: a local file, an OTLP collector, or none. Opened from settings.

The OpenTelemetry libraries are imported here, and only if an endpoint is set, so other processes start faster.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote

from telemetry import logs, metrics, tracing
from telemetry.events import Event
from telemetry.secrets import Secret
from telemetry.sending import Sender
from telemetry.trace_file import TraceFile

if TYPE_CHECKING:
    from telemetry.otel import Otlp, Protocol

__all__ = ["CLOSE_LIMIT_S", "FLUSH_LIMIT_S", "Exporters", "Options", "open_exporters", "pairs", "service_name"]

FLUSH_LIMIT_S: Final = 2.5
"""Longest time in seconds that a function waits for its collector before it returns."""

CLOSE_LIMIT_S: Final = 5.0
"""Longest time in seconds that a worker waits for its collector before it exits."""

_NAME_MAX: Final = 63

log = logs.get(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the exporters."""

    service: str
    """Name of the function or process, as in its logs."""
    trace_file: str = ""
    """File for spans; empty for none."""
    endpoint: str = ""
    """URL of an OTLP collector; empty for none."""
    protocol: Protocol = "grpc"
    headers: Secret = field(default_factory=lambda: Secret(""))
    """Comma-separated `name=value` pairs, sent with each request."""
    resource: Secret = field(default_factory=lambda: Secret(""))
    """Comma-separated `name=value` pairs, attributes of everything sent."""
    service_name: str = ""
    """`service.name`; empty derives it from `service`."""
    metrics: bool = True
    """Send metrics to the collector too."""


@final
class Exporters:
    """Open exporters of a process.

    Args:
        sender: sends to the collector; None without a collector.
        stack: closes the other resources.
    """

    def __init__(self, sender: Sender | None, stack: ExitStack) -> None:
        self._sender = sender
        self._stack = stack

    def flush(self, limit_s: float = FLUSH_LIMIT_S) -> bool:
        """Wait until everything recorded has arrived, at most for the limit. Returns True if it has."""
        return self._sender is None or self._sender.flush(limit_s)

    def close(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Flush, and stop recording. Closing twice is harmless."""
        if self._sender is not None:
            self._sender.close(limit_s)
        self._stack.close()


def open_exporters(options: Options) -> Exporters:
    """Open the exporters of the options; spans and measurements go there from now on.

    If the libraries for the collector are not installed, an error is logged and the work goes on.

    Raises:
        OSError: the trace file cannot be opened.
    """
    stack = ExitStack()
    sinks: list[tracing.Sink] = []
    if options.trace_file:
        trace_file = TraceFile(Path(options.trace_file), options.service)
        stack.callback(trace_file.close)
        sinks.append(trace_file)
    otlp = _open_otlp(options) if options.endpoint else None
    if otlp is not None:
        stack.callback(otlp.close)
        sinks.append(otlp)
    if sinks:
        stack.callback(tracing.install, tracing.install(tracing.Tracer(*sinks)))
    if otlp is not None and otlp.has_metrics:
        stack.callback(metrics.install, metrics.install(otlp))
    return Exporters(Sender(otlp.send) if otlp is not None else None, stack)


def pairs(text: str) -> dict[str, str]:
    """Parse `name=value` pairs in the form of OTEL_RESOURCE_ATTRIBUTES and OTEL_EXPORTER_OTLP_HEADERS.

    Values may be percent-encoded (OpenTelemetry specification, Resource SDK, and Protocol Exporter, "Specifying
    headers"). Invalid parts are skipped.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[unquote(name.strip())] = unquote(value.strip())
    return found


def service_name(service: str) -> str:
    """Return the `service.name` of a function or process: lower-case letters, digits, `-`; at most 63 (Tencent APM)."""
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in service.lower())
    return f"scf-workers-{plain}"[:_NAME_MAX].strip("-")


def _open_otlp(options: Options) -> Otlp | None:
    try:
        from telemetry.otel import Otlp, open_otlp

        spans, measurements = open_otlp(options.protocol, options.endpoint, pairs(options.headers.reveal()))
    except ImportError as error:
        log.error(Event.TELEMETRY_OFF, error=error, remedy="install scf-workers[telemetry], or unset the endpoint")
        return None
    import uuid

    resource = {
        "telemetry.sdk.language": "python",
        "service.name": service_name(options.service),
        "service.instance.id": str(uuid.uuid4()),
        **pairs(options.resource.reveal()),
        **({"service.name": options.service_name} if options.service_name else {}),
    }
    return Otlp(spans, measurements if options.metrics else None, resource)
