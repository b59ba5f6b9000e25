"""The seam where metrics go: counts, distributions and levels of the metrics in `telemetry.instruments`.

Until a sink is installed a call costs one comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from telemetry.instruments import Metric

__all__ = ["Sink", "count", "install", "is_on", "level", "observe"]


class Sink(Protocol):
    """Takes measurements. It must neither block nor raise."""

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Note one value of a distribution."""
        ...

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""
        ...


class _Seam:
    sink: Sink | None = None


_seam: Final = _Seam()


def install(sink: Sink | None) -> Sink | None:
    """Send measurements to `sink` from now on, or nowhere. Returns what was there before."""
    before, _seam.sink = _seam.sink, sink
    return before


def is_on() -> bool:
    """Whether anybody takes measurements: what must be asked for first need not be asked for otherwise."""
    return _seam.sink is not None


def count(metric: Metric, value: float = 1, **labels: str) -> None:
    """Add `value` to a counter."""
    if _seam.sink is not None:
        _seam.sink.count(metric, value, labels)


def observe(metric: Metric, value: float, **labels: str) -> None:
    """Note one `value` of a histogram."""
    if _seam.sink is not None:
        _seam.sink.observe(metric, value, labels)


def level(metric: Metric, value: float, **labels: str) -> None:
    """Set a gauge to `value`."""
    if _seam.sink is not None:
        _seam.sink.level(metric, value, labels)
