"""Outcomes of a stage, as data. The engine turns an outcome into effects; effects come before the ack, always."""

from __future__ import annotations

import msgspec

from consumers.engine.faults import Fault, fault_of
from messages.bodies import Body, Reason, Stage
from messages.codec import Header
from messages.codes import Code
from services.vendors.port import VendorKey
from tasks.ledger.records import ManifestItem

__all__ = [
    "Again",
    "Crashed",
    "DeadLettered",
    "Done",
    "Fail",
    "Finish",
    "For",
    "Leave",
    "Many",
    "Next",
    "Outcome",
    "Reject",
    "Retry",
    "Snooze",
    "dead_lettered",
]


class Done(msgspec.Struct, frozen=True):
    """The results are staged and audited, or the text is: verdict `success`."""

    manifest: tuple[ManifestItem, ...]
    job: str = ""
    degraded: tuple[str, ...] = ()
    """Replacements, see `tasks.ledger.records.Verdict.degraded`."""
    text: str = ""
    """The result of a kind that sells a text."""


class Next(msgspec.Struct, frozen=True):
    """Go on with another message."""

    stage: Stage
    body: Body
    delay: float = 0.0
    seq: int = 0


class Snooze(msgspec.Struct, frozen=True):
    """Come again later; no attempt is spent."""

    delay: float
    pause: float = 0.0
    """Seconds for which the topic, or all calls with `keys`, pause because the next message would fare no better."""
    body: Body | None = None
    """Body of the copy, if it differs."""
    why: str = ""
    """Reason of the wait, see `tasks.ledger.records.Waits`; empty for a vendor at work."""
    keys: tuple[VendorKey, ...] = ()
    """The full vendor's keys, which pause instead of the topic."""


class Reject(msgspec.Struct, frozen=True):
    """The task itself is wrong, or no slot can save it: verdict `failed`.

    Of clean and prompt it counts only while the run has no paid call; of generate it ends the message's slot.
    """

    code: Code


class Fail(msgspec.Struct, frozen=True):
    """Nothing can save the run: verdict `failed`."""

    code: Code


class Finish(msgspec.Struct, frozen=True):
    """A verdict is stored: finish the run."""


class Leave(msgspec.Struct, frozen=True):
    """Nothing to do: another message carries the run, or it only waits."""


class Again(msgspec.Struct, frozen=True):
    """Delivered early: a copy with the next seq, when it is due."""

    delay: float


class Crashed(msgspec.Struct, frozen=True):
    """An earlier process died on this message or still runs it: an isolated copy, due when either is certain."""

    not_before: float
    """Seconds since the epoch."""


class Retry(msgspec.Struct, frozen=True):
    """The task's call failed and may succeed later: a copy with one more attempt."""

    delay: float


class DeadLettered(msgspec.Struct, frozen=True):
    """The message is given up as a dead letter; `failure` decides what becomes of the run."""

    reason: Reason
    fault: Fault
    n: int = 0
    """The failed paid call; 0 for none."""
    slot: int = 0
    """The slot at fault, from 1; 0 for the message's own, if it has one."""


def dead_lettered(reason: Reason, error: Exception, n: int = 0, slot: int = 0) -> DeadLettered:
    """Give up a message because of an error, raised or not."""
    return DeadLettered(reason, fault_of(error), n, slot)


class For(msgspec.Struct, frozen=True):
    """An outcome with another header than the message's own: a wake that found its run."""

    header: Header
    outcome: Outcome


class Many(msgspec.Struct, frozen=True):
    """Several outcomes, carried out in order."""

    outcomes: tuple[Outcome, ...]


Outcome = For | Many | Done | Next | Snooze | Reject | Fail | Finish | Leave | Again | Crashed | Retry | DeadLettered
