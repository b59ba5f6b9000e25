"""Events of a history in their order, and the piece of work that is going on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(eq=False)
class Doing:
    """One piece of work of a machine: a message, or a call of a function."""

    label: str
    task: str = ""
    message_id: str = ""
    sweep: bool = False
    """A sweep's wake: it is acked before its effects."""
    acked: bool = False
    began: float = 0.0
    """Virtual seconds since the beginning."""


CURRENT: ContextVar[Doing] = ContextVar("doing", default=Doing(""))  # noqa: B039 - never changed


class Event(NamedTuple):
    """One line of a history."""

    at: float
    """Virtual seconds since its beginning."""
    machine: str
    label: str
    task: str
    """Empty for what concerns all tasks."""
    text: str

    def __str__(self) -> str:
        return f"{self.at:9.1f}  {self.machine:10} {self.task:7} {self.label:13} {self.text}"


@dataclass
class Timeline:
    """All events, and the count of each fault."""

    events: list[Event] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, machine: str, text: str, *, task: str = "", label: str = "") -> None:
        """Note what happened now."""
        self.events.append(Event(asyncio.get_running_loop().time(), machine, label, task, text))

    def did(self, machine: str, text: str) -> None:
        """Note what the current piece of work of a machine did."""
        doing = CURRENT.get()
        self.events.append(Event(asyncio.get_running_loop().time(), machine, doing.label, doing.task, text))

    def fault(self, kind: str, machine: str, text: str = "") -> None:
        """Note and count a fault."""
        self.faults[kind] += 1
        doing = CURRENT.get()
        note = f"FAULT {kind}{': ' if text else ''}{text}"
        self.events.append(Event(asyncio.get_running_loop().time(), machine, doing.label, doing.task, note))

    def about(self, tasks: frozenset[str]) -> Iterator[Event]:
        """Events of some tasks, with the events of all tasks and every fault."""
        for event in self.events:
            if event.task in tasks or not event.task or event.text.startswith("FAULT"):
                yield event
