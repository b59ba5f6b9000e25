"""Cases of a run with slots: rules, faults, where the search starts, and the broken promise that it must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.model.case import Case
from tests.model.model import Model
from tests.model.rules import Fault
from tests.model.slots.moves import SlotModel
from tests.model.slots.rules import SLOTS, SYNCHRONOUS, SlotRules

__all__ = ["SLOT_CASES", "SLOT_FAULTS", "WALKED"]


@dataclass(frozen=True)
class SlotCase(Case):
    """A case whose rules are of slots."""

    def model(self) -> Model[Any]:
        """The model that the rules are of."""
        assert isinstance(self.rules, SlotRules)
        return SlotModel(self.rules)


_PARTIAL: Final = replace(SLOTS, enough=1, last_call=1)
_PARTIAL_AT_ONCE: Final = replace(SYNCHRONOUS, enough=1, last_call=1)
_THREE: Final = replace(SYNCHRONOUS, slots=3, enough=2, last_call=1)
_FANNED_OUT: Final = "ack of m1"
"""The messages of both slots wait."""
_BOTH_RUN: Final = "ack of m3"
"""Both jobs run at the vendor (or, with a synchronous one, both slots have ended)."""

_BITES: Final = (
    SlotCase(
        "slots: marks of polls for the run strand slot 2",
        replace(SLOTS, marks_by_slot=False),
        {},
        "waits for the sweep",
        sweep=False,
    ),
    SlotCase(
        "slots: a count before the write never collects",
        replace(SLOTS, write_first=False, wake_fans_in=False),
        {},
        "hangs until the deadline",
    ),
    SlotCase(
        "slots: a count before the write never collects, synchronous vendor",
        replace(SYNCHRONOUS, write_first=False, wake_fans_in=False),
        {},
        "hangs until the deadline",
    ),
    SlotCase(
        "slots: two unknown slots defer to each other",
        replace(_PARTIAL, failure_reads="run"),
        {"create_cut": 2, "tick": 1},
        "never ends",
    ),
    SlotCase(
        "slots: a letter from before the result kills it",
        replace(SYNCHRONOUS, failure_reads="nothing"),
        {"redelivery": 1, "tick": 1},
        "a letter kills a paid result",
        "call 1-1: sent",
    ),
    SlotCase(
        "slots: a letter from before the id kills the job",
        replace(SLOTS, failure_reads="nothing"),
        {"redelivery": 1, "tick": 1},
        "a letter kills a paid result",
        "call 1-1: sent",
    ),
    SlotCase(
        "slots: a letter about a call that was not accepted",
        replace(SYNCHRONOUS, unknown_checked=False),
        {"sweep": 1, "tick": 1},
        "no call is open and old",
        _FANNED_OUT,
    ),
    SlotCase(
        "slots: a straggler holds the others until the deadline",
        replace(_PARTIAL, last_call_collects=False),
        {"job_stuck": 1, "tick": 1},
        "hangs until the deadline",
    ),
    SlotCase(
        "slots: a blocked picture waits for a slot that works",
        replace(_PARTIAL, audit_final=False),
        {"job_stuck": 1, "blocked": 1, "tick": 1},
        "hangs until the deadline",
        _BOTH_RUN,
    ),
    SlotCase(
        "slots: the worker dies between a bad end and the count",
        replace(SLOTS, ended_fans_in=False),
        {"job_failed": 1, "crash": 1},
        "waits for the sweep",
        _BOTH_RUN,
        sweep=False,
    ),
    SlotCase(
        "slots: the worker dies between a result and the count",
        replace(SYNCHRONOUS, ended_fans_in=False),
        {"crash": 1},
        "waits for the sweep",
        _FANNED_OUT,
        sweep=False,
    ),
    SlotCase(
        "slots: a wake that does not count strands a run",
        replace(SYNCHRONOUS, wake_fans_in=False),
        {"message_lost": 1, "sweep": 1},
        "hangs until the deadline",
        _FANNED_OUT,
    ),
    SlotCase(
        "slots: the worker dies between `staged` and the verdict",
        replace(SYNCHRONOUS, staged_audited=False),
        {"crash": 1},
        "waits for the sweep",
        _BOTH_RUN,
        sweep=False,
    ),
    SlotCase(
        "slots: a collect that begins too early uses up the mark",
        replace(_PARTIAL_AT_ONCE, early_collect="leave"),
        {"early": 1},
        "waits for the sweep",
        sweep=False,
    ),
)
_HOLDS: Final = (
    SlotCase("slots: workers die", SLOTS, {"crash": 1}, until=_BOTH_RUN, sweep=False),
    SlotCase("slots: workers die, synchronous vendor", SYNCHRONOUS, {"crash": 2}, until=_FANNED_OUT, sweep=False),
    SlotCase("slots: workers die, partial results", _PARTIAL, {"crash": 1, "tick": 1}, until=_BOTH_RUN, sweep=False),
    SlotCase(
        "slots: lost acks and receipts",
        SYNCHRONOUS,
        {"ack_lost": 1, "publish_failed": 1},
        until=_FANNED_OUT,
        sweep=False,
    ),
    SlotCase(
        "slots: a frozen create and its letters",
        SYNCHRONOUS,
        {"redelivery": 1, "tick": 2},
        until="will create call 1-1",
        sweep=False,
    ),
    SlotCase(
        "slots: a frozen create of a job and its letters",
        SLOTS,
        {"redelivery": 1, "tick": 1},
        until="will create call 2-1",
        sweep=False,
    ),
    SlotCase("slots: two unknown outcomes", _PARTIAL, {"create_cut": 2, "tick": 1}, until=_FANNED_OUT, sweep=False),
    SlotCase(
        "slots: unknown and failed, three slots",
        _THREE,
        {"create_cut": 1, "job_failed": 1, "tick": 1},
        until=_FANNED_OUT,
        sweep=False,
    ),
    SlotCase(
        "slots: a straggler and a job that fails",
        _PARTIAL,
        {"job_stuck": 1, "job_failed": 1, "tick": 1},
        until=_BOTH_RUN,
        sweep=False,
    ),
    SlotCase(
        "slots: a blocked picture, an audit that is down, a straggler",
        _PARTIAL,
        {"job_stuck": 1, "blocked": 1, "audit_down": 1, "tick": 1},
        until=_BOTH_RUN,
        sweep=False,
    ),
    SlotCase("slots: the broker loses a message", _PARTIAL_AT_ONCE, {"message_lost": 1, "sweep": 1}, until=_FANNED_OUT),
    SlotCase("slots: attempts are spent", replace(SLOTS, attempts=0), {"task_error": 1, "sweep": 1}, until=_FANNED_OUT),
    SlotCase(
        "slots: a full vendor and a refused content",
        _PARTIAL_AT_ONCE,
        {"vendor_full": 1, "rejected": 1, "crash": 1},
        until=_FANNED_OUT,
        sweep=False,
    ),
    SlotCase("slots: a cancel", SLOTS, {"cancel": 1, "crash": 1}, until="will create call 2-1", sweep=False),
    SlotCase("slots: the event comes again", _PARTIAL_AT_ONCE, {"duplicate_event": 1, "crash": 1}, sweep=False),
    SlotCase(
        "slots: a clock that is ahead", _PARTIAL_AT_ONCE, {"early": 1, "crash": 1}, until=_FANNED_OUT, sweep=False
    ),
    SlotCase("slots: only one", replace(SLOTS, slots=1, enough=1), {"redelivery": 1, "tick": 1}, sweep=False),
    SlotCase("slots: only one, two deaths", replace(SLOTS, slots=1, enough=1), {"crash": 2, "tick": 1}, sweep=False),
    SlotCase(
        "slots: the end is not read again after an id",
        replace(SLOTS, end_after_id=False),
        {"redelivery": 1, "tick": 1},
        until="will create call 2-1",
        sweep=False,
    ),
)
_PLANTED: Final = (
    SlotCase(
        "planted: collect before the run is decided",
        replace(SLOTS, collect_decided=False),
        {},
        "before the run was decided",
    ),
    SlotCase(
        "planted: a call beside an open one of its slot",
        replace(SLOTS, one_create=False),
        {"create_cut": 1},
        "beside an open or live one",
    ),
    SlotCase(
        "planted: a slot's fault fails the run",
        replace(_PARTIAL, fault_ends="run"),
        {"job_failed": 1},
        "a slot's fault fails the run",
    ),
)
SLOT_CASES: Final = _BITES + _HOLDS + _PLANTED
WALKED: Final = tuple(
    SlotModel(replace(rules, slots=slots, enough=enough, last_call=last_call))
    for rules in (SLOTS, SYNCHRONOUS)
    for slots, enough, last_call in ((2, 2, 0), (2, 1, 2), (3, 2, 2))
)
"""Models that are walked at random."""
SLOT_FAULTS: Final[Mapping[Fault, int]] = {
    "crash": 2,
    "redelivery": 2,
    "ack_lost": 2,
    "publish_failed": 2,
    "create_cut": 1,
    "vendor_full": 1,
    "rejected": 1,
    "job_failed": 1,
    "job_stuck": 1,
    "blocked": 1,
    "audit_down": 1,
    "task_error": 1,
    "sweep": 2,
    "duplicate_event": 1,
    "early": 1,
    "tick": 4,
    "slow_job": 3,
}
"""Faults of a random walk. Not among them: `cancel`, which ends most walks at once."""
