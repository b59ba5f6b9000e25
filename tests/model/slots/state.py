"""One state of a run with several slots, as the ledger and the vendor have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from tests.model.harness import FREE, GENERATE, POLL, Call, Harness, Mark, Message, Work
from tests.model.rules import Fault, Rules
from tests.model.slots.rules import SlotRules

__all__ = ["RUNNING", "Decision", "End", "SlotState", "decide", "first_state", "next_seq"]

RUNNING: Final = frozenset({"running", "stuck"})
Decision = Literal["nothing", "failed", "now", "later"]


class End(NamedTuple):
    """A slot's end: good, or bad by a cause."""

    good: bool
    cause: str = ""


class SlotState(Harness):
    """The records of one run; calls are numbered within their slot."""

    __slots__ = ("blocked", "calls", "ends", "staged")

    calls: dict[tuple[int, int], Call]
    ends: dict[int, End]
    staged: frozenset[int] | None
    """Slots of the run's set of results."""
    blocked: frozenset[int]
    """Slots whose result the audit blocks."""

    def copy(self) -> SlotState:
        """A copy that shares nothing mutable."""
        new = super().copy()
        new.calls, new.ends, new.staged, new.blocked = self.calls.copy(), self.ends.copy(), self.staged, self.blocked
        return new

    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for states that differ only in numbers of workers, messages and jobs."""
        works, messages, marks = _renumbered(self.workers, self.messages, self.marks)
        return (
            (self.now, self.cleaned, self.verdict, self.delivered, self.flags, self.staged, self.blocked),
            works,
            messages,
            marks,
            tuple(self.faults.values()),
            frozenset(self.jobs),
            frozenset(self.calls.items()),
            frozenset(self.ends.items()),
        )

    def mark_name(self, rules: Rules, work: Work) -> tuple[Any, ...]:
        """Name of the mark of a message: marks of generate and poll are of a slot."""
        assert isinstance(rules, SlotRules)
        by_slot = work.stage == GENERATE or (work.stage == POLL and rules.marks_by_slot)
        return (work.seq, work.stage, work.slot if by_slot else 0)

    def aim(self, worker: int, slot: int, rest: tuple[int, ...] = ()) -> SlotState:
        """Set the slot that a worker handles, and those that follow, in place."""
        self.workers[worker] = self.work(worker)._replace(slot=slot, rest=rest)
        return self

    def good(self) -> frozenset[int]:
        """Slots that ended well."""
        return frozenset(slot for slot, end in self.ends.items() if end.good)

    def bad(self) -> int:
        """Number of slots that ended badly."""
        return len(self.ends) - len(self.good())

    def calls_of(self, slot: int) -> dict[int, Call]:
        """Calls of a slot by number."""
        return {number: call for (of, number), call in sorted(self.calls.items()) if of == slot}

    def live(self, slot: int) -> list[int]:
        """Calls of a slot whose job is known and has not ended badly."""
        return [number for number, call in self.calls_of(slot).items() if call.job and not call.ends]

    def open(self, slot: int) -> list[int]:
        """Calls of a slot without a job, a result or an end."""
        return [n for n, call in self.calls_of(slot).items() if not (call.job or call.result or call.ends)]

    def failed(self, slot: int) -> bool:
        """True if a job of the slot has failed."""
        return any("F" in call.ends for call in self.calls_of(slot).values())

    def job(self, slot: int, number: int) -> int | None:
        """Index of the job of a call at the vendor, known or not."""
        places = (at for at, job in enumerate(self.jobs) if (job.slot, job.call) == (slot, number))
        return next(places, None)

    def job_state(self, slot: int, number: int) -> str:
        """State of the job of a call; empty if there is none."""
        at = self.job(slot, number)
        return "" if at is None else self.jobs[at].state

    def cancel_job(self, slot: int, number: int) -> None:
        """Cancel the job of a call if it runs, in place."""
        at = self.job(slot, number)
        if at is not None and self.jobs[at].state in RUNNING:
            self.jobs[at] = self.jobs[at]._replace(state="cancelled")

    def result(self, slot: int) -> bool:
        """True if a synchronous answer of the slot is stored."""
        return any(call.result for call in self.calls_of(slot).values())


def _renumbered(
    workers: list[Work | None], messages: dict[int, Message], marks: dict[tuple[Any, ...], Mark]
) -> tuple[Any, ...]:
    """Number workers and messages by what they hold; a mark of a message that is gone is just another's."""
    order = sorted(range(len(workers)), key=lambda worker: hash(workers[worker] and workers[worker][2:]))
    place = {worker: position for position, worker in enumerate(order)}
    works = [workers[worker] for worker in order]
    held = {number: (*message[:-1], place.get(message[-1], FREE)) for number, message in messages.items()}
    owned: dict[int, list[Any]] = {number: [] for number in held}
    for position, work in enumerate(works):
        if work:
            owned.setdefault(work.message, []).append(position)
    for name, mark in marks.items():
        if mark.message in owned:
            owned[mark.message].append(name)
    ranks = sorted(owned, key=lambda number: hash((held.get(number), frozenset(owned[number]))))
    rank = {number: position for position, number in enumerate(ranks)}
    return (
        tuple(work and (work.step, rank[work.message], *work[2:]) for work in works),
        tuple(held.get(number) for number in ranks),
        frozenset((name, rank.get(mark.message, FREE), *mark[1:]) for name, mark in marks.items()),
    )


def decide(rules: SlotRules, state: SlotState) -> Decision:
    """The rule of fan-in: the run failed, collect now, collect at the last call, or nothing."""
    good, ended = len(state.good()), len(state.ends)
    if state.bad() > rules.slots - rules.enough:
        return "failed"
    if ended == rules.slots or (good and not rules.collect_decided):
        return "now"
    if good < rules.enough or not rules.last_call_collects:
        return "nothing"
    return "now" if state.now >= rules.last_call else "later"


def next_seq(state: SlotState, stage: str, slot: int = 0) -> int:
    """Sequence number of what a wake publishes: after the highest that has begun."""
    begun = (seq for seq, name, of in state.marks if name == stage and of == slot)
    return max(begun, default=-1) + 1


def first_state(faults: Mapping[Fault, int], workers: int = 2) -> SlotState:
    """A run that was just accepted."""
    state = SlotState()
    state.calls, state.ends, state.staged, state.blocked = {}, {}, None, frozenset()
    state.begin_run(dict(faults), workers)
    return state
