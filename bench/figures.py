"""Figure: repeated measurements of one quantity."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

__all__ = ["Figure", "ratio"]


class Figure(msgspec.Struct, frozen=True):
    """Median and spread."""

    name: str
    median: float
    min: float
    max: float
    unit: str

    @classmethod
    def of(cls, name: str, values: Sequence[float], unit: str) -> Figure:
        """Return the figure of measurements."""
        return cls(name, statistics.median(values), min(values), max(values), unit)

    def line(self) -> str:
        """Return the line that is printed."""
        return f"{self.name:42} {self.median:10.2f}  ({self.min:.2f} to {self.max:.2f}) {self.unit}"


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Return the ratio of two rates, pair by pair: both values of a pair were measured one after the other."""
    return Figure.of(name, [one / other for one, other in zip(ours, theirs, strict=True)], "x")
