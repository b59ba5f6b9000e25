"""What a stage says, as data. The engine turns an outcome into effects; effects come before the ack, always."""

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
    "Finish",
    "For",
    "Leave",
    "Next",
    "Outcome",
    "Reject",
    "Retry",
    "Snooze",
    "dead_lettered",
]


class Done(msgspec.Struct, frozen=True):
    """The results are staged and audited: verdict `success`."""

    manifest: tuple[ManifestItem, ...]
    job: str = ""


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
    """Seconds the whole topic rests, or everything that needs `key`, because its next messages would fare no better."""
    body: Body | None = None
    """Of the copy, when it differs."""
    why: str = ""
    """What it waits for, as `tasks.ledger.records.Waits` says it; empty for a vendor at work."""
    key: VendorKey | None = None
    """The vendor's key that rests instead of the topic: it is full."""


class Reject(msgspec.Struct, frozen=True):
    """The task's own fault: verdict `failed` straight away."""

    code: Code
    n: int = 0
    """The paid call whose results are at fault; 0 for none."""
    before_job: bool = False
    """Any job that is known outdates it, as it does what clean and generate say."""


class Finish(msgspec.Struct, frozen=True):
    """A verdict is there: bring the run to its end."""


class Leave(msgspec.Struct, frozen=True):
    """Nothing to do: somebody else carries the run, or there is only waiting."""


class Again(msgspec.Struct, frozen=True):
    """Delivered early: the same message once more, when it is due."""

    delay: float


class Crashed(msgspec.Struct, frozen=True):
    """An earlier process died on this message, or still runs it: a copy once that is decided, isolated."""

    not_before: float
    """Seconds since the epoch."""


class Retry(msgspec.Struct, frozen=True):
    """The task's call failed and may work again: a copy with one attempt more."""

    delay: float


class DeadLettered(msgspec.Struct, frozen=True):
    """The message is given up as a dead letter; `failure` decides what becomes of the run."""

    reason: Reason
    fault: Fault
    n: int = 0
    """The paid call at fault; 0 for none."""


def dead_lettered(reason: Reason, error: Exception, n: int = 0) -> DeadLettered:
    """Give a message up for an error, raised or not."""
    return DeadLettered(reason, fault_of(error), n)


class For(msgspec.Struct, frozen=True):
    """An outcome for another header than the message's own: a wake that found its run."""

    header: Header
    outcome: Outcome


Outcome = For | Done | Next | Snooze | Reject | Finish | Leave | Again | Crashed | Retry | DeadLettered
