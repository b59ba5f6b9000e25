"""Cases of the model: rules, faults, where the search starts, and the broken promise that it must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.model.rules import EARLIER, GUARDED, TODAY, Fault, Rules
from tests.model.search import Found, search

__all__ = ["CASES", "MANY_FAULTS", "Case"]


@dataclass(frozen=True)
class Case:
    """A search of its own. `expected` is part of the problem that it must find; empty: it must find none."""

    name: str
    rules: Rules
    faults: Mapping[Fault, int]
    expected: str = ""
    until: str = ""
    sweep: bool = True
    """False: every run must end without the help of the sweep."""
    least: int = 0
    """States that it searches at least."""

    def search(self, most: int) -> Found:
        """Search at most so many states, or `least`; a case that expects a problem ends there."""
        return search(
            self.rules,
            self.faults,
            until=self.until,
            most=max(most, self.least),
            sweep=self.sweep,
            wanted=self.expected,
        )

    def is_right(self, found: Found) -> bool:
        """True if the search found what the case expects, or nothing where it expects nothing."""
        if not self.expected:
            return not found.problems
        return any(self.expected in problem for problem in found.problems)


_BITES: Final = (
    Case("a failed job is paid for again", EARLIER, {"job_failed": 1, "sweep": 1}, "paid 2", "will create"),
    Case(
        "an unknown call is paid for again",
        EARLIER,
        {"create_cut": 1, "redelivery": 1, "tick": 1},
        "paid 2",
        "call 1 created",
    ),
    Case(
        "a redelivery fails the last attempt that still runs",
        replace(EARLIER, attempts=0),
        {"redelivery": 1},
        "failed though nothing failed",
        "mark (3, '') created",
    ),
    Case(
        "a swept clean fails a run whose job is alive",
        replace(EARLIER, attempts=0),
        {"task_error": 1, "sweep": 1},
        "failed by a stale message",
        "mark (1, '') created",
    ),
    Case(
        "a webhook comes between giving up and failing",
        EARLIER,
        {"create_cut": 1, "tick": 1, "webhook": 1},
        "given up though the id is known",
        "mark (1, '') created",
    ),
    Case(
        "a wake's message meets an old mark",
        replace(EARLIER, wake_numbers="zero"),
        {"message_lost": 1},
        "hangs until the deadline",
        "as m2",
    ),
    Case(
        "two collects write to one staging key",
        replace(EARLIER, mark_collect=False),
        {"redelivery": 1},
        "cannot be promoted",
        "is done, to collect",
    ),
    Case(
        "a dead job fails the run of a live one",
        replace(EARLIER, unknown="resend"),
        {"redelivery": 1, "tick": 2, "job_failed": 1},
        "dead job",
        "call 1: job",
    ),
    Case(
        "lost receipts spend the attempts",
        replace(EARLIER, attempts=1),
        {"publish_failed": 2, "tick": 1},
        "failed though nothing failed",
        "mark (0, '') created",
    ),
    Case(
        "a withdrawal is not repeated",
        replace(TODAY, withdraw_again=False, look_again=False),
        {"backend_cancels": 1, "redelivery": 1, "crash": 1},
        "stay visible",
        "staged as",
    ),
    Case(
        "a wake that was acked dies while it finishes",
        replace(TODAY, wake_finishes=True, look_again=False, left_to_writer="never"),
        {"backend_cancels": 1, "sweep": 1, "crash": 1},
        "stay visible",
        "staged as",
    ),
    Case(
        "a contrary answer is looked at once only",
        replace(TODAY, look_again=False),
        {"backend_cancels": 1, "redelivery": 1, "crash": 1},
        "stay visible",
        "staged as",
    ),
)
_HOLDS: Final = (
    Case(
        "a failed job, a sweep, a redelivery",
        TODAY,
        {"job_failed": 1, "sweep": 1, "redelivery": 1, "tick": 1},
        until="will create",
    ),
    Case("an unknown call", TODAY, {"create_cut": 1, "redelivery": 1, "tick": 1}, until="call 1 created"),
    Case(
        "the last attempt of collect is redelivered", replace(TODAY, attempts=0), {"redelivery": 1}, until="to collect"
    ),
    Case("a swept clean fails", replace(TODAY, attempts=0), {"task_error": 1, "sweep": 1}, until="will create"),
    Case("a webhook and an unknown call", TODAY, {"create_cut": 1, "tick": 1, "webhook": 1}, until="will create"),
    Case("the broker loses a message", TODAY, {"message_lost": 1, "sweep": 1}, until="as m2"),
    Case(
        "no marks: money is bounded all the same",
        replace(TODAY, marks=False),
        {"redelivery": 1, "crash": 1},
        until="to collect",
    ),
    Case(
        "policy resend, a job dies",
        replace(TODAY, unknown="resend"),
        {"redelivery": 1, "tick": 2, "job_failed": 1},
        until="call 1: job",
    ),
    Case(
        "a crash and a lost ack after the create",
        TODAY,
        {"crash": 1, "ack_lost": 1, "tick": 1, "slow_job": 1},
        until="id of call 1",
    ),
    Case(
        "stale intents: the bound on money holds",
        replace(TODAY, unknown="resend", fresh_intent=False),
        {"redelivery": 1, "tick": 2},
        until="call 1 created",
    ),
    Case(
        "the backend cancels by itself, a worker dies",
        TODAY,
        {"backend_cancels": 1, "redelivery": 1, "crash": 1},
        until="staged as",
    ),
    Case(
        "the backend cancels by itself, wakes and failures",
        TODAY,
        {"backend_cancels": 1, "sweep": 1, "callback_failed": 1, "crash": 1},
        until="staged as",
    ),
    Case("crashes and lost acks need no sweep", TODAY, {"crash": 2, "ack_lost": 1, "publish_failed": 1}, sweep=False),
    Case(
        "a lost answer is found in a list that lags",
        GUARDED,
        {"create_cut": 2, "list_lags": 2, "tick": 1},
        until="call 1 created",
    ),
    Case(
        "a lost answer, a second create, a crash",
        GUARDED,
        {"create_cut": 1, "list_lags": 2, "crash": 1, "tick": 1},
        until="call 1 created",
    ),
    Case(
        "a lost answer, a second holder, a sweep",
        GUARDED,
        {"create_cut": 1, "list_lags": 1, "redelivery": 1, "sweep": 1},
        until="call 1 created",
    ),
    Case(
        "a lost answer, a full vendor, a cancel",
        GUARDED,
        {"create_cut": 1, "list_lags": 1, "vendor_full": 1, "cancel": 1, "tick": 1},
        until="call 1 created",
    ),
    Case(
        "throttled crash copies whose acks are lost need no sweep",
        TODAY,
        {"throttled": 2, "crash": 2, "ack_lost": 2, "tick": 1},
        sweep=False,
    ),
    Case(
        "throttled copies, a redelivery, a lost message",
        TODAY,
        {"throttled": 2, "crash": 1, "ack_lost": 1, "redelivery": 1, "message_lost": 1, "tick": 1},
    ),
    Case(
        "two messages find one end, their workers die",
        TODAY,
        {"redelivery": 1, "webhook": 1, "cancel": 1, "crash": 2, "ack_lost": 1},
        until="is done, to collect",
        sweep=False,
    ),
    Case(
        "a finder of every verdict calls back itself",
        replace(TODAY, left_to_writer="never"),
        {"redelivery": 1, "cancel": 1, "crash": 1},
        until="is done, to collect",
        sweep=False,
    ),
    Case("lost receipts", replace(TODAY, attempts=1), {"publish_failed": 2, "tick": 1}, until="created"),
)
_PLANTED: Final = (
    Case("planted: the verdict is overwritten", replace(TODAY, create_only=False), {"cancel": 1}, "verdict changed"),
    Case(
        "planted: output before the verdict",
        replace(TODAY, verdict_before_output=False),
        {"cancel": 1},
        "output is not",
    ),
    Case(
        "planted: an open call is sent again", replace(TODAY, one_create=False), {"create_cut": 1, "tick": 1}, "paid 2"
    ),
    Case(
        "planted: not found in a list permits another call",
        replace(GUARDED, not_found_proves_nothing=False),
        {"create_cut": 1, "list_lags": 3, "tick": 2},
        "paid 2",
        "call 1 created",
    ),
    Case(
        "planted: the second create has an identity of its own",
        replace(GUARDED, same_identity=False),
        {"create_cut": 1, "list_lags": 1},
        "paid 2",
        "call 1 created",
    ),
    Case(
        "planted: refused as a duplicate counts as not accepted",
        replace(GUARDED, duplicate_is_accepted=False),
        {"create_cut": 1, "list_lags": 1, "tick": 1},
        "paid 2",
        "call 1 created",
    ),
    Case(
        "planted: unknown without another look into the list",
        replace(GUARDED, find_before_unknown=False),
        {"create_cut": 1, "list_lags": 2, "tick": 1},
        "given up though the vendor lists the job",
        "call 1 created",
    ),
    Case(
        "planted: the original of a throttled copy makes its attempt again",
        replace(TODAY, leaves_for="none"),
        {"task_error": 1, "tick": 1, "throttled": 1, "ack_lost": 1, "crash": 1},
        "an attempt is made again",
        "mark (0, 'clean') created",
        least=8_000,
    ),
    Case(
        "planted: a copy leaves for an earlier message with its attempt",
        replace(TODAY, leaves_for="any"),
        {"crash": 1, "tick": 2},
        "waits for the sweep",
        "call 1 created",
        sweep=False,
    ),
    Case(
        "planted: a new verdict is left to its writer without a check",
        replace(TODAY, left_to_writer="unchecked"),
        {"crash": 1},
        "waits for the sweep",
        sweep=False,
    ),
    Case(
        "planted: ack before the effects",
        replace(TODAY, ack_last=False),
        {"crash": 1},
        "waits for the sweep",
        sweep=False,
    ),
)
CASES: Final = _BITES + _HOLDS + _PLANTED
MANY_FAULTS: Final[Mapping[Fault, int]] = {
    "crash": 2,
    "redelivery": 2,
    "ack_lost": 2,
    "publish_failed": 2,
    "create_cut": 1,
    "vendor_full": 1,
    "job_failed": 1,
    "callback_failed": 1,
    "sweep": 2,
    "webhook": 1,
    "cancel": 1,
    "duplicate_event": 1,
    "tick": 4,
    "slow_job": 2,
    "intent_unread": 1,
    "list_lags": 3,
    "throttled": 2,
}
"""Faults of a random walk. Not among them: `backend_cancels` beside `tick`, see docs/reliability.md."""
