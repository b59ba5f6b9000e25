"""The rules of the ledger, each as a switch, so that a search can show what breaks without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["EARLIER", "FAULTS", "GUARDED", "TODAY", "Fault", "Rules"]

Fault = Literal[
    "crash",
    "redelivery",
    "ack_lost",
    "publish_failed",
    "create_cut",
    "vendor_full",
    "job_failed",
    "task_error",
    "callback_failed",
    "sweep",
    "webhook",
    "cancel",
    "duplicate_event",
    "message_lost",
    "tick",
    "slow_job",
    "intent_unread",
    "backend_cancels",
    "list_lags",
    "throttled",
]
FAULTS: Final[tuple[Fault, ...]] = (
    "crash",  # a worker dies between two effects
    "redelivery",  # the broker gives a message to a second worker while the first still runs it
    "ack_lost",
    "publish_failed",  # reported as failed; stored or not
    "create_cut",  # the answer of a paid create is lost; accepted or not
    "vendor_full",
    "job_failed",
    "task_error",  # a `Transient` error of a stage
    "callback_failed",
    "sweep",
    "webhook",
    "cancel",
    "duplicate_event",  # the COS event comes again
    "message_lost",  # the broker forgets a message
    "tick",  # an epoch passes, longer than every limit
    "slow_job",  # a look finds the job still running
    "intent_unread",  # an intent is stored, but its answer and the read after it are lost
    "backend_cancels",  # the backend cancels and refunds by itself
    "list_lags",  # the vendor's list does not show a job that it has
    "throttled",  # a message that has not begun is published again with the same attempt, and acked
)


@dataclass(frozen=True)
class Rules:
    """The rules as the product keeps them; each field set the other way drops one rule."""

    attempts: int = 2
    """Attempts after the first."""
    verdict_first: bool = True
    """The engine reads the verdict before it makes a mark."""
    next_call: Literal["not_accepted", "any_end"] = "not_accepted"
    """The end that each lower call needs before the next one is made."""
    unknown: Literal["fail", "resend"] = "fail"
    """Policy for a call whose outcome stays unknown."""
    unsent_end: bool = True
    """A create that comes too late for its intent ends the call as not accepted, rather than leaving it open."""
    ledger_decides: bool = True
    """A dead letter of clean or generate fails nothing once the job of a call is known."""
    clean_recorded: bool = True
    """The products of clean are a record; a later clean or wake goes on from it."""
    numbers_by_stage: bool = True
    """Marks bear the name of their stage, and each stage counts its messages from 0."""
    look_at_run: bool = True
    """A look asks for every live call of the run, not for one."""
    leaves_for: Literal["later", "any", "none"] = "later"
    """Marks that let a copy after an error or a crash leave: of later messages of its stage; also of an earlier one
    with its attempt; none."""
    letter_after_mark: bool = True
    """Spent attempts make a dead letter only after the delayed copy has created its own mark."""
    publish_again: bool = True
    """A failed publish is tried again by the living process; a begun message is never released."""
    last_call_fails: bool = True
    """A failed job fails the run only if no other call is alive."""
    wake_numbers: Literal["after_begun", "zero"] = "after_begun"
    """Sequence number of a message that a wake publishes."""
    wake_finishes: bool = False
    """A wake finishes the run itself instead of publishing `notify`."""
    left_to_writer: Literal["checked", "unchecked", "never"] = "checked"
    """A message that finds a new verdict leaves its end to the writer: a `notify` checks it, or nothing does."""
    staging: Literal["writer", "number"] = "writer"
    """Staged results lie in a folder for each writer, or for each sequence number."""
    marked_looks: int = 8
    """Every n-th look creates a mark; 0: none does."""
    marks: bool = True
    """Begun work is marked."""
    mark_collect: bool = True
    fresh_intent: bool = True
    """A create is sent only within seconds of its intent."""
    verdict_after_id: bool = True
    """The verdict is read again after a job id was stored."""
    wait_for_holder: bool = True
    """The copy of a begun message is not due before the limit of its holder."""
    withdraw_again: bool = True
    """A message that finds a contrary answer in `delivered` makes sure that nothing is visible."""
    look_again: bool = True
    """A contrary answer publishes a `notify` that withdraws once more after every limit has passed."""
    create_only: bool = True
    """The verdict is created, never overwritten."""
    verdict_before_output: bool = True
    one_create: bool = True
    """An open call is never sent a second time."""
    ack_last: bool = True
    """Every effect comes before the ack."""
    guarded: bool = False
    """The vendor guards its creates by the call's identity, and lists its jobs with it: of another sort."""
    find_before_unknown: bool = True
    """The vendor is asked for an open call once more before that counts as unknown."""
    not_found_proves_nothing: bool = True
    """A call that the list does not show stays open, or unknown; else it counts as not accepted."""
    same_identity: bool = True
    """A create that is sent once more has the identity of its call."""
    duplicate_is_accepted: bool = True
    """A create refused as a duplicate was accepted before; else it counts as not accepted."""


TODAY: Final = Rules()
GUARDED: Final = Rules(guarded=True)
"""The same rules at a vendor that guards its creates by identity."""
EARLIER: Final = Rules(
    verdict_first=False,
    next_call="any_end",
    unsent_end=False,
    ledger_decides=False,
    clean_recorded=False,
    numbers_by_stage=False,
    look_at_run=False,
    letter_after_mark=False,
    publish_again=False,
    last_call_fails=False,
    wake_finishes=True,
    left_to_writer="never",
    staging="number",
    marked_looks=0,
    withdraw_again=False,
    look_again=False,
)
"""An earlier form of the design, in which the model found nine holes."""
