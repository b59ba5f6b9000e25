"""What a message says beyond its header, one struct a stage.

Encoded as JSON arrays, so fields are only ever appended, with defaults: an old reader skips what it does not know, a
new reader fills in what is not there. URLs, secrets and contents never travel; object keys come from the ledger.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

__all__ = [
    "BODIES",
    "Body",
    "Clean",
    "Collect",
    "Dead",
    "Generate",
    "Job",
    "Notify",
    "Poll",
    "Reason",
    "Stage",
    "Wake",
    "slot_of",
]


class Stage(StrEnum):
    """Where a run is, or what a message asks for."""

    CLEAN = "clean"
    GENERATE = "generate"
    POLL = "poll"
    COLLECT = "collect"
    WAKE = "wake"
    NOTIFY = "notify"
    DEAD = "dead"


class Reason(StrEnum):
    """Why a message became a dead letter."""

    ATTEMPTS = "attempts"
    """Its attempts are spent, or it killed its process too often."""
    PERMANENT = "permanent"
    """An error that no repeat would mend."""
    VENDOR = "vendor"
    """The vendor ended the job as failed."""
    UNKNOWN = "unknown"
    """The outcome of a paid call stayed unknown."""
    UNREADABLE = "unreadable"
    """No message this build can read; the task gets no verdict from it."""


class Clean(msgspec.Struct, frozen=True, array_like=True):
    """Make the inputs fit for the vendor, or (kinds without a vendor) the result itself."""


class Generate(msgspec.Struct, frozen=True, array_like=True):
    """Start the paid job of a slot."""

    slot: int = 1
    """Which of the paid calls that the run needs at once, from 1."""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """A vendor's job of this run."""

    n: int
    """Number of the paid call in its slot, from 1."""
    id: str
    """The vendor's id."""
    slot: int = 1
    """From 1."""
    label: str = ""
    """Of the vendor's key that looks at it; empty for any."""


class Poll(msgspec.Struct, frozen=True, array_like=True):
    """Look at the jobs of a slot."""

    jobs: tuple[Job, ...]
    since: int
    """When the first of them was created, milliseconds since the epoch."""
    unsaved: bool = False
    """The ledger could not take the ids yet: each look tries to store them first."""
    slot: int = 1
    """From 1."""


class Collect(msgspec.Struct, frozen=True, array_like=True):
    """Bring the results of one job home."""

    job: Job
    short_since: int = 0
    """Since when the vendor has shown fewer results than were sold, milliseconds since the epoch; 0 if it has not."""


class Wake(msgspec.Struct, frozen=True, array_like=True):
    """Look at the run once, now."""

    why: str
    """sweep, redeliver, webhook, cancel or index; replay is reserved."""
    job: Job | None = None
    """A webhook's hint."""
    since: int = 0
    """When the backend created the task, milliseconds since the epoch; 0 when the waker does not know."""


class Notify(msgspec.Struct, frozen=True, array_like=True):
    """Bring an existing verdict to its end: promotion or clean-up, callback, `delivered`."""

    since: int
    """When the first try failed, or a wake found the verdict, milliseconds since the epoch."""
    again: bool = False
    """Also when `delivered` exists: the backend lists the task all the same."""


class Dead(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter: what was given up, and why."""

    reason: Reason
    topic: str
    message_id: str
    stage: str
    """Stage of the original; empty when unreadable."""
    code: str
    """Code of the catalogue."""
    error: str
    """Class of the error."""
    fingerprint: str
    """Groups dead letters with one cause."""
    original: str
    """The original bytes: text, or base64 when `encoding` says so."""
    encoding: str = "text"
    """text, base64, or cut (the head of an oversized foreign message, base64)."""
    n: int = 0
    """The paid call at fault; 0 for none."""
    detail: str = ""
    """The error's text: one line, redacted, at most 200 characters."""
    place: str = ""
    """Module and function that raised it."""


Body = Clean | Generate | Poll | Collect | Wake | Notify | Dead

BODIES: Final[dict[str, type[Body]]] = {
    Stage.CLEAN: Clean,
    Stage.GENERATE: Generate,
    Stage.POLL: Poll,
    Stage.COLLECT: Collect,
    Stage.WAKE: Wake,
    Stage.NOTIFY: Notify,
    Stage.DEAD: Dead,
}
"""The body of each stage."""


def slot_of(body: Body) -> int | None:
    """The slot whose chain of messages a body belongs to; None where messages belong to the run."""
    return body.slot if isinstance(body, Generate | Poll) else None
