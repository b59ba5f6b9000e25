"""Message bodies, one struct for each stage.

They are encoded as JSON arrays, so fields are only appended, with defaults: an old reader ignores fields that it does
not
know, and a new reader uses the defaults of those that are missing. URLs, secrets and contents never travel in messages;
object keys are read from the ledger.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

__all__ = [
    "BODIES",
    "NO_RECORD",
    "Audit",
    "Body",
    "Clean",
    "Collect",
    "Dead",
    "Generate",
    "Job",
    "Notify",
    "Poll",
    "Prompt",
    "Reason",
    "Stage",
    "Wake",
    "slot_of",
]


NO_RECORD: Final = -1
"""Number in a dead letter for which the engine wrote no record."""


class Stage(StrEnum):
    """Stage of a run, or the action that a message requests."""

    CLEAN = "clean"
    PROMPT = "prompt"
    GENERATE = "generate"
    POLL = "poll"
    COLLECT = "collect"
    AUDIT = "audit"
    WAKE = "wake"
    NOTIFY = "notify"
    DEAD = "dead"


class Reason(StrEnum):
    """Reason why a message became a dead letter."""

    ATTEMPTS = "attempts"
    """Its attempts are spent, or it crashed its process too often."""
    PERMANENT = "permanent"
    """An error that a retry cannot fix."""
    VENDOR = "vendor"
    """The vendor ended the job as failed."""
    UNKNOWN = "unknown"
    """The outcome of a paid call stayed unknown."""
    UNREADABLE = "unreadable"
    """Bytes that this build cannot decode; they give the task no verdict."""


class Clean(msgspec.Struct, frozen=True, array_like=True):
    """Prepare the inputs for the vendor, or (for kinds without a vendor) make the result itself."""


class Prompt(msgspec.Struct, frozen=True, array_like=True):
    """Write the text that the paid calls send, or that is the result."""


class Generate(msgspec.Struct, frozen=True, array_like=True):
    """Start the paid job of a slot."""

    slot: int = 1
    """Number of the slot (one of the paid calls that the run needs at once), from 1."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """A vendor's job of this run."""

    n: int
    """Number of the paid call in its slot, from 1."""
    id: str
    """The vendor's id."""
    slot: int = 1
    """From 1."""
    label: str = ""
    """Label of the vendor's key that created the job, and that must poll it; empty for any."""
    vendor: str = ""
    """Vendor of the paid call; empty for the kind's."""


class Poll(msgspec.Struct, frozen=True, array_like=True):
    """Ask the vendor for the state of a slot's jobs."""

    jobs: tuple[Job, ...]
    since: int
    """Creation of the first job, in milliseconds since the epoch."""
    unsaved: bool = False
    """The ids are not in the ledger yet: each poll tries to store them first."""
    slot: int = 1
    """From 1."""
    short_since: int = 0
    """First time the vendor returned fewer results than were sold, in milliseconds since the epoch; 0 for never."""


class Collect(msgspec.Struct, frozen=True, array_like=True):
    """Download the results of the run's good slots."""

    job: Job | None = None
    """Of older builds: the job to collect. The ends of the slots decide."""
    short_since: int = 0
    """Of older builds, which counted here what `Poll.short_since` counts."""


class Audit(msgspec.Struct, frozen=True, array_like=True):
    """Audit the results in staging, or look at audits that take long."""


class Wake(msgspec.Struct, frozen=True, array_like=True):
    """Check the run once, now."""

    why: str
    """sweep, redeliver, webhook, cancel, index, letter or api; replay is reserved."""
    job: Job | None = None
    """The job that a webhook named; unverified."""
    since: int = 0
    """Creation of the task at the backend, in milliseconds since the epoch; 0 if unknown."""


class Notify(msgspec.Struct, frozen=True, array_like=True):
    """Finish an existing verdict: promotion or cleanup, callback, `delivered`."""

    since: int
    """First failure of the callback, or the time when a wake found the verdict, in milliseconds since the epoch."""
    again: bool = False
    """Deliver again although `delivered` exists, because the backend still lists the task."""


class Dead(msgspec.Struct, frozen=True, array_like=True):
    """Dead letter: the original message and the reason."""

    reason: Reason
    topic: str
    message_id: str
    stage: str
    """Stage of the original message; empty if it was unreadable."""
    code: str
    """Code of the catalogue."""
    error: str
    """Class of the error."""
    fingerprint: str
    """Equal for dead letters with the same cause."""
    original: str
    """Original bytes: text, or base64 if `encoding` is not `text`."""
    encoding: str = "text"
    """text, base64, or cut (the first bytes of an oversized foreign message, in base64)."""
    n: int = 0
    """Number of the failed paid call; 0 for none."""
    detail: str = ""
    """The error's text: one line, redacted, at most 200 characters."""
    place: str = ""
    """Module and function that raised it."""
    seq: int = NO_RECORD
    """Number of its `stopped-…` record, which alone is trusted; `NO_RECORD` from older builds."""
    slot: int = 0
    """Slot of that record, from 1; 0 for a message of the whole run."""


Body = Clean | Prompt | Generate | Poll | Collect | Audit | Wake | Notify | Dead

BODIES: Final[dict[str, type[Body]]] = {
    Stage.CLEAN: Clean,
    Stage.PROMPT: Prompt,
    Stage.GENERATE: Generate,
    Stage.POLL: Poll,
    Stage.COLLECT: Collect,
    Stage.AUDIT: Audit,
    Stage.WAKE: Wake,
    Stage.NOTIFY: Notify,
    Stage.DEAD: Dead,
}
"""Stage -> type of its body."""


def slot_of(body: Body) -> int | None:
    """Return the slot that a body belongs to; None for messages of the whole run."""
    return body.slot if isinstance(body, Generate | Poll) else None
