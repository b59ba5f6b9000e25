"""Armed faults of a vendor's stand-in: each affects a number of calls, or all of a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["ArmedFaults", "LimitedFault"]


class LimitedFault(Protocol):
    """A fault, and how often or how long it occurs."""

    @property
    def on(self) -> str:
        """The affected call."""
        ...

    @property
    def times(self) -> int:
        """Number of calls that it affects."""
        ...

    @property
    def seconds(self) -> float:
        """If not 0: seconds from the first affected call during which every call is affected."""
        ...


F = TypeVar("F", bound=LimitedFault)


@dataclass
class _Armed(Generic[F]):
    fault: F
    left: int
    until: float | None = None
    """End of a fault with a duration, set when it first occurs."""

    def strikes(self, now: float) -> bool:
        """Return True if the fault affects a call now, and use it up once."""
        if self.fault.seconds:
            self.until = now + self.fault.seconds if self.until is None else self.until
            return now < self.until
        self.left -= 1
        return self.left >= 0


class ArmedFaults(Generic[F]):
    """Armed faults, the oldest first. Arming is safe from any thread.

    Args:
        clock: seconds, for faults with a duration.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._armed: list[_Armed[F]] = []

    def arm(self, fault: F) -> None:
        """Arm a fault."""
        self._armed.append(_Armed(fault, fault.times))

    def clear(self) -> None:
        """Disarm all faults."""
        self._armed.clear()

    def take(self, on: str) -> F | None:
        """Use up and return the oldest fault for this call, if there is one."""
        now = self._clock()
        return next((armed.fault for armed in self._armed if armed.fault.on == on and armed.strikes(now)), None)
