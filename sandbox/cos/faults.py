"""Faults that a test arms: each strikes a number of matching requests, then is spent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "FaultKind", "Faults"]


class FaultKind(StrEnum):
    """What goes wrong."""

    UNAVAILABLE = "unavailable"
    """503 ServiceUnavailable; nothing is done."""
    CUT_BEFORE = "cut_before"
    """The connection drops; nothing is done."""
    CUT_AFTER = "cut_after"
    """The work is done and stored, then the connection drops: the answer is lost."""
    SLOW_BODY = "slow_body"
    """The answer's body pauses `seconds` before each piece of 64 KiB."""
    DUPLICATE_EVENT = "duplicate_event"
    """The object's event is delivered twice."""
    LOST_EVENT = "lost_event"
    """The object's event is never delivered."""


@dataclass(slots=True)
class Fault:
    """One armed fault."""

    kind: FaultKind
    method: str = ""
    """Such as PUT; empty for any."""
    key: str = ""
    """A regular expression, searched for in the key; empty for any."""
    times: int = 1
    """Requests it still strikes."""
    seconds: float = 0.0


class Faults:
    """The armed faults, in the order they were armed."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Add a fault.

        Raises:
            re.error: its key is no regular expression.
        """
        re.compile(fault.key)
        self._armed.append(fault)

    def armed(self) -> list[Fault]:
        """Faults that are not spent."""
        return [fault for fault in self._armed if fault.times > 0]

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def take(self, kind: FaultKind, method: str, key: str) -> Fault | None:
        """The first fault of the kind that strikes this request, one strike of it spent; None if there is none."""
        for fault in self.armed():
            if fault.kind is kind and fault.method in {"", method} and re.search(fault.key, key):
                fault.times -= 1
                return fault
        return None
