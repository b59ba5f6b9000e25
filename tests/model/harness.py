"""The broker, the workers and the faults of a modelled run: everything that no rule of the ledger decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple, Self, TypeVar

from tests.model.rules import FAULTS, Fault, Rules

__all__ = [
    "ALWAYS",
    "AUDIT",
    "CLEAN",
    "COLLECT",
    "FREE",
    "GENERATE",
    "LETTER",
    "NOTIFY",
    "POLL",
    "WAKE",
    "AnyState",
    "Call",
    "Harness",
    "Job",
    "Mark",
    "Message",
    "Verdict",
    "Work",
]

CLEAN: Final = "clean"
GENERATE: Final = "generate"
POLL: Final = "poll"
COLLECT: Final = "collect"
AUDIT: Final = "audit"
WAKE: Final = "wake"
NOTIFY: Final = "notify"
LETTER: Final = "dead letter"
ALWAYS: Final = 10**6
"""A deadline that never comes."""
FREE: Final = -1
"""Holder of a message that no worker has taken."""


class Message(NamedTuple):
    """A message in the broker. `call` is a paid call and `slot` its slot (0: none), `due` an epoch."""

    stage: str
    seq: int = 0
    attempt: int = 0
    call: int = 0
    due: int = 0
    cause: str = ""
    slot: int = 0
    holder: int = FREE


class Mark(NamedTuple):
    """The record that a message has begun."""

    message: int
    attempt: int
    at: int


class Call(NamedTuple):
    """A paid call. `job` 0: no id is stored; `ends`: subset of R (not accepted), F (failed), G (given up)."""

    at: int
    job: int = 0
    ends: str = ""
    hinted: int = 0
    sent: bool = False
    result: bool = False
    """The answer of a synchronous vendor is stored."""


class Job(NamedTuple):
    """A job at the vendor: running, stuck, done, failed or cancelled."""

    call: int
    state: str
    slot: int = 0


class Verdict(NamedTuple):
    """The terminal record of the run, with the staged object that it lists."""

    status: str
    staged: Any = 0
    etag: int = 0
    cause: str = ""


class Work(NamedTuple):
    """A worker's message and the step that it takes next; `rest`: slots that it still has to handle."""

    step: str
    message: int
    stage: str
    seq: int
    attempt: int
    call: int
    cause: str
    slot: int = 0
    rest: tuple[int, ...] = ()
    extra: tuple[Any, ...] = ()


class Harness(ABC):
    """A mutable copy of the harness while a step is made; compared by `key`."""

    __slots__ = (
        "cleaned",
        "delivered",
        "faults",
        "flags",
        "jobs",
        "marks",
        "messages",
        "now",
        "verdict",
        "workers",
    )

    now: int
    cleaned: bool
    marks: dict[tuple[Any, ...], Mark]
    verdict: Verdict | None
    delivered: str
    """Empty, `yes`, or `contrary`."""
    messages: dict[int, Message]
    workers: list[Work | None]
    jobs: list[Job]
    faults: dict[Fault, int]
    """Faults that may still happen."""
    flags: frozenset[str]

    def begin_run(self, faults: dict[Fault, int], workers: int) -> None:
        """Set everything to a run that was just accepted: its first clean is published."""
        self.now, self.cleaned, self.verdict, self.delivered, self.flags = 0, False, None, "", frozenset()
        self.marks, self.messages, self.jobs = {}, {}, []
        self.workers = [None] * workers
        self.faults = {fault: faults.get(fault, 0) for fault in FAULTS}
        self.publish(Message(CLEAN))

    def copy(self) -> Self:
        """A copy that shares nothing mutable."""
        new = type(self)()
        new.now, new.cleaned, new.verdict, new.delivered = self.now, self.cleaned, self.verdict, self.delivered
        new.flags, new.marks, new.messages = self.flags, self.marks.copy(), self.messages.copy()
        new.faults, new.workers, new.jobs = self.faults.copy(), self.workers[:], self.jobs[:]
        return new

    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for equal states."""
        return (
            self.now,
            self.cleaned,
            self.verdict,
            self.delivered,
            self.flags,
            tuple(self.workers),
            tuple(self.jobs),
            tuple(self.faults.values()),
            frozenset(self.marks.items()),
            frozenset(self.messages.items()),
        )

    @abstractmethod
    def mark_name(self, rules: Rules, work: Work) -> tuple[Any, ...]:
        """Name of the mark of a message."""

    def work(self, worker: int) -> Work:
        """The work of a worker that is busy."""
        work = self.workers[worker]
        if work is None:
            msg = f"worker {worker} is idle"
            raise LookupError(msg)
        return work

    def to(self, worker: int, step: str, *extra: Any, call: int | None = None) -> Self:
        """Move a worker to a step, in place."""
        work = self.work(worker)
        self.workers[worker] = work._replace(step=step, extra=extra, call=work.call if call is None else call)
        return self

    def moved(self, worker: int, step: str, *extra: Any, call: int | None = None) -> Self:
        """A copy in which a worker stands at another step."""
        return self.copy().to(worker, step, *extra, call=call)

    def spend(self, fault: Fault, *flags: str) -> Self:
        """A copy in which a fault has happened once more."""
        new = self.copy()
        new.faults[fault] -= 1
        new.flags |= set(flags)
        return new

    def publish(self, message: Message) -> int:
        """Store a message under an id that nothing uses any more, in place."""
        used = set(self.messages) | {mark.message for mark in self.marks.values()}
        used |= {work.message for work in self.workers if work}
        new = next(number for number in range(1, ALWAYS) if number not in used)
        self.messages[new] = message
        return new

    def let_go(self, worker: int) -> Self:
        """Let a worker drop its message, in place: the broker may give it out again."""
        number = self.work(worker).message
        if number in self.messages and self.messages[number].holder == worker:
            self.messages[number] = self.messages[number]._replace(holder=FREE)
        self.workers[worker] = None
        return self

    def quiet(self) -> bool:
        """True when nothing is under way."""
        return not self.messages and not any(self.workers)

    def resting(self) -> bool:
        """True when nothing is under way before the next epoch."""
        due = any(message.holder == FREE and message.due <= self.now for message in self.messages.values())
        return not due and not any(self.workers)


AnyState = TypeVar("AnyState", bound=Harness)
