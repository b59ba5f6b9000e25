"""Everything that a process emits."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

from telemetry.instruments import Metric
from telemetry.tracing import Finished

__all__ = ["Emitted"]


class Emitted:
    """Catches logs, spans and measurements.

    Args:
        stream: where the logs go.
    """

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream
        self.spans: list[Finished] = []
        self.metrics: list[tuple[Metric, Mapping[str, str]]] = []

    @property
    def logged(self) -> str:
        return self._stream.getvalue()

    def ended(self, span: Finished) -> None:
        self.spans.append(span)

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.metrics.append((metric, dict(labels)))

    observe = count
    level = count

    def outputs(self) -> Iterator[tuple[str, str]]:
        """Everything, each with a name."""
        yield from ((f"log line {n}", line) for n, line in enumerate(self.logged.splitlines(), 1))
        yield from ((f"span {span.name}", repr(span)) for span in self.spans)
        yield from ((f"metric {metric}", repr(labels)) for metric, labels in self.metrics)
