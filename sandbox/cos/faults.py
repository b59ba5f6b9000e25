"""Faults armed by tests: each affects a number of matching requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "FaultKind", "Faults"]


class FaultKind(StrEnum):
    """Kind of a fault."""

    UNAVAILABLE = "unavailable"
    """503 ServiceUnavailable, without any effect."""
    FORBIDDEN = "forbidden"
    """403 AccessDenied, without any effect: the key lacks the right."""
    CUT_BEFORE = "cut_before"
    """The connection is cut, without any effect."""
    CUT_AFTER = "cut_after"
    """The request takes effect, then the connection is cut: the answer is lost."""
    SLOW_BODY = "slow_body"
    """The answer's body pauses `seconds` before each piece of 64 KiB."""
    DUPLICATE_EVENT = "duplicate_event"
    """The object's event is delivered twice."""
    LOST_EVENT = "lost_event"
    """The object's event is never delivered."""


@dataclass(slots=True)
class Fault:
    """Armed fault."""

    kind: FaultKind
    method: str = ""
    """HTTP method, such as PUT; empty for any."""
    key: str = ""
    """Regular expression that is searched in the key; empty for any."""
    times: int = 1
    """Requests it still affects."""
    seconds: float = 0.0


class Faults:
    """Armed faults in the order of arming."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Arm a fault.

        Raises:
            re.error: its key is no regular expression.
        """
        re.compile(fault.key)
        self._armed.append(fault)

    def armed(self) -> list[Fault]:
        """Return the faults that are not used up."""
        return [fault for fault in self._armed if fault.times > 0]

    def clear(self) -> None:
        """Disarm all faults."""
        self._armed.clear()

    def take(self, kind: FaultKind, method: str, key: str) -> Fault | None:
        """Use up and return the first fault of the kind for this request; None without one."""
        for fault in self.armed():
            if fault.kind is kind and fault.method in {"", method} and re.search(fault.key, key):
                fault.times -= 1
                return fault
        return None
