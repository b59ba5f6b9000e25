"""Faults of the stand-in backend, armed by tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = ["Call", "Fault", "Faults"]

Call = Literal["callback", "unfinished", "state", "reopen", "sell"]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault and how often it occurs."""

    on: Call = "callback"
    kind: Literal["answer", "hang", "cut"] = "answer"
    """`answer`: this status without any effect (200 loses the verdict). `hang`: no answer until the caller gives up,
    and no effect. `cut`: takes effect, then the connection breaks inside the answer; needs a real connection."""
    status: int = 500
    times: int = 1
    task_id: str = ""
    """Task of the affected calls (of `sell`: user); empty for any."""
    headers: Mapping[str, str] = {}
    """Headers of an `answer`, such as Retry-After."""


class Faults:
    """Armed faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Disarm all faults."""
        self._faults.clear()

    def take(self, call: Call, task: str = "") -> Fault | None:
        """Use up and return the fault for this call, if there is one."""
        for fault in self._faults:
            if fault.times > 0 and fault.on == call and fault.task_id in {"", task}:
                fault.times -= 1
                return fault
        return None
