"""One state of the modelled harness: messages, records, workers, the vendor's jobs, the backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.model.rules import FAULTS, Fault

__all__ = [
    "ALWAYS",
    "CLEAN",
    "COLLECT",
    "FREE",
    "GENERATE",
    "LETTER",
    "NOTIFY",
    "POLL",
    "WAKE",
    "Call",
    "Job",
    "Mark",
    "Message",
    "State",
    "Verdict",
    "Work",
    "first_state",
]

CLEAN: Final = "clean"
GENERATE: Final = "generate"
POLL: Final = "poll"
COLLECT: Final = "collect"
WAKE: Final = "wake"
NOTIFY: Final = "notify"
LETTER: Final = "dead letter"
ALWAYS: Final = 10**6
"""A deadline that never comes."""
FREE: Final = -1
"""Holder of a message that no worker has taken."""


class Message(NamedTuple):
    """A message in the broker. `call` is the number of a paid call (0: none), `due` an epoch."""

    stage: str
    seq: int = 0
    attempt: int = 0
    call: int = 0
    due: int = 0
    cause: str = ""
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


class Job(NamedTuple):
    """A job at the vendor: running, done, failed or cancelled."""

    call: int
    state: str


class Verdict(NamedTuple):
    """The terminal record of the run, with the staged object that it lists."""

    status: str
    staged: Any = 0
    etag: int = 0
    cause: str = ""


class Work(NamedTuple):
    """A worker's message and the step that it takes next."""

    step: str
    message: int
    stage: str
    seq: int
    attempt: int
    call: int
    cause: str
    extra: tuple[Any, ...] = ()


class State:
    """A mutable copy of the harness while a step is made; compared by `key`."""

    __slots__ = (
        "backend",
        "callbacks",
        "calls",
        "cleaned",
        "delivered",
        "faults",
        "flags",
        "jobs",
        "marks",
        "messages",
        "now",
        "output",
        "staged",
        "verdict",
        "workers",
        "written_at",
    )

    now: int
    cleaned: bool
    marks: dict[tuple[int, str], Mark]
    calls: dict[int, Call]
    verdict: Verdict | None
    written_at: int
    """Epoch of the verdict."""
    delivered: str
    """Empty, `yes`, or `contrary`."""
    messages: dict[int, Message]
    workers: list[Work | None]
    jobs: list[Job]
    staged: dict[Any, int]
    """ETag by staging key."""
    output: tuple[Any, int] | None
    backend: str
    """Empty, or `cancelled` where the backend has cancelled by itself."""
    callbacks: frozenset[str]
    faults: dict[Fault, int]
    """Faults that may still happen."""
    flags: frozenset[str]

    def copy(self) -> State:
        """A copy that shares nothing mutable."""
        new = State()
        new.now, new.cleaned, new.verdict, new.delivered = self.now, self.cleaned, self.verdict, self.delivered
        new.written_at = self.written_at
        new.output, new.backend, new.callbacks, new.flags = self.output, self.backend, self.callbacks, self.flags
        new.marks, new.calls, new.messages = self.marks.copy(), self.calls.copy(), self.messages.copy()
        new.staged, new.faults = self.staged.copy(), self.faults.copy()
        new.workers, new.jobs = self.workers[:], self.jobs[:]
        return new

    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for equal states."""
        return (
            self.now,
            self.cleaned,
            self.verdict,
            self.written_at,
            self.delivered,
            self.output,
            self.backend,
            self.callbacks,
            self.flags,
            tuple(self.workers),
            tuple(self.jobs),
            tuple(self.faults.values()),
            frozenset(self.marks.items()),
            frozenset(self.calls.items()),
            frozenset(self.messages.items()),
            frozenset(self.staged.items()),
        )

    def work(self, worker: int) -> Work:
        """The work of a worker that is busy."""
        work = self.workers[worker]
        if work is None:
            msg = f"worker {worker} is idle"
            raise LookupError(msg)
        return work

    def to(self, worker: int, step: str, *extra: Any, call: int | None = None) -> State:
        """Move a worker to a step, in place."""
        work = self.work(worker)
        self.workers[worker] = work._replace(step=step, extra=extra, call=work.call if call is None else call)
        return self

    def moved(self, worker: int, step: str, *extra: Any, call: int | None = None) -> State:
        """A copy in which a worker stands at another step."""
        return self.copy().to(worker, step, *extra, call=call)

    def spend(self, fault: Fault, *flags: str) -> State:
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

    def let_go(self, worker: int) -> State:
        """Let a worker drop its message, in place: the broker may give it out again."""
        number = self.work(worker).message
        if number in self.messages and self.messages[number].holder == worker:
            self.messages[number] = self.messages[number]._replace(holder=FREE)
        self.workers[worker] = None
        return self

    def known(self) -> list[int]:
        """Calls whose job is known."""
        return [number for number, call in sorted(self.calls.items()) if call.job or call.hinted]

    def live(self) -> list[int]:
        """Calls whose job is known and has not ended badly."""
        return [number for number in self.known() if not set(self.calls[number].ends) & {"F", "R"}]

    def open(self) -> list[int]:
        """Calls without a job and without an end."""
        return [n for n, call in sorted(self.calls.items()) if not (call.job or call.ends or call.hinted)]

    def job_of(self, number: int) -> int:
        """Index of a call's job."""
        return (self.calls[number].job or self.calls[number].hinted) - 1

    def quiet(self) -> bool:
        """True when nothing is under way."""
        return not self.messages and not any(self.workers)


def first_state(faults: Mapping[Fault, int], workers: int = 2) -> State:
    """A run that was just accepted: its first clean is published."""
    state = State()
    state.now, state.cleaned, state.verdict, state.written_at, state.delivered = 0, False, None, 0, ""
    state.output, state.backend, state.callbacks, state.flags = None, "", frozenset(), frozenset()
    state.marks, state.calls, state.messages, state.staged, state.jobs = {}, {}, {}, {}, []
    state.workers = [None] * workers
    state.faults = {fault: faults.get(fault, 0) for fault in FAULTS}
    state.publish(Message(CLEAN))
    return state
