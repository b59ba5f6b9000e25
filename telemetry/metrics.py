"""The seam where metrics will go: counts and observations by name and labels.

Until a sink is installed a call costs one comparison. Labels are few and of few values (stage, kind, vendor, outcome):
never an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

__all__ = ["Sink", "count", "install", "observe"]


class Sink(Protocol):
    """Takes measurements. It must neither block nor raise."""

    def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Note one value of a distribution; durations are seconds, sizes bytes."""
        ...


class _Seam:
    sink: Sink | None = None


_seam: Final = _Seam()


def install(sink: Sink | None) -> Sink | None:
    """Send measurements to `sink` from now on, or nowhere. Returns what was there before."""
    before, _seam.sink = _seam.sink, sink
    return before


def count(name: str, value: float = 1, **labels: str) -> None:
    """Add `value` to the counter `name`."""
    if _seam.sink is not None:
        _seam.sink.count(name, value, labels)


def observe(name: str, value: float, **labels: str) -> None:
    """Note one `value` of the distribution `name`; durations in seconds, sizes in bytes."""
    if _seam.sink is not None:
        _seam.sink.observe(name, value, labels)
