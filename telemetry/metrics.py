"""Entry point of all measurements: counters, histograms and gauges of `telemetry.instruments`.

A call costs one comparison until a sink is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from telemetry.instruments import Metric

__all__ = ["Sink", "count", "install", "is_on", "level", "observe"]


class Sink(Protocol):
    """Receiver of measurements. It must neither block nor raise."""

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Record one value of a histogram."""
        ...

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""
        ...


class _Installed:
    sink: Sink | None = None


_installed: Final = _Installed()


def install(sink: Sink | None) -> Sink | None:
    """Send measurements to `sink` from now on; None stops. Returns the previous sink."""
    before, _installed.sink = _installed.sink, sink
    return before


def is_on() -> bool:
    """Return True if measurements are recorded; otherwise values that are costly to get need not be asked for."""
    return _installed.sink is not None


def count(metric: Metric, value: float = 1, **labels: str) -> None:
    """Add `value` to a counter."""
    if _installed.sink is not None:
        _installed.sink.count(metric, value, labels)


def observe(metric: Metric, value: float, **labels: str) -> None:
    """Record one `value` of a histogram."""
    if _installed.sink is not None:
        _installed.sink.observe(metric, value, labels)


def level(metric: Metric, value: float, **labels: str) -> None:
    """Set a gauge to `value`."""
    if _installed.sink is not None:
        _installed.sink.level(metric, value, labels)
