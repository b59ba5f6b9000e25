"""State of a task in one word, and why it waits, from the view of its run. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

from messages.bodies import Stage
from tasks.ledger.records import Accepted, Delivered, Reopened, Verdict, Waits, Withdrawn, parse_name
from tasks.view import View, still_records

__all__ = [
    "FINAL",
    "NEEDED",
    "STATES",
    "TaskState",
    "has_begun",
    "is_refunded",
    "is_withdrawn",
    "newest_at",
    "state_of",
    "why_of",
    "word_of",
]

TaskState = Literal["queued", "working", "success", "failed", "cancelled"]
"""queued: sold, and work has not begun; the last three are final."""

STATES: Final[tuple[TaskState, ...]] = ("queued", "working", "success", "failed", "cancelled")
"""Every state."""

FINAL: Final = frozenset({"success", "failed", "cancelled"})
"""States that do not change any more."""

NEEDED: Final = (Accepted, Waits, Verdict, Delivered, Withdrawn)
"""Records whose contents the state depends on; of the others their names suffice."""

_WITHIN: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""The places within a class name where a word begins."""

_BEFORE_WORK: Final = frozenset({Accepted, Reopened, Waits})
"""Records that a run may have before work begins."""


def state_of(view: View) -> TaskState:
    """Return the state. A success counts once its results are visible and the backend has it."""
    if view.verdict is None:
        return "working" if has_begun(view) else "queued"
    if view.verdict.status != "success":
        return view.verdict.status
    if view.delivered is None:
        return "working"
    return "failed" if is_withdrawn(view) else "success"


def has_begun(view: View) -> bool:
    """Return True if there is a record of work. Times have whole seconds, so a mark need not be the first of them."""
    names = [parse_name(entry.name) for entry in view.timeline]
    return any(name is not None and name.kind not in _BEFORE_WORK for name in names)


def is_withdrawn(view: View) -> bool:
    """Return True if the backend keeps the contrary verdict, or the results were withdrawn for it."""
    return view.verdict is not None and view.verdict.status == "success" and view.withdrawn


def is_refunded(view: View) -> bool:
    """Return True if the backend has acknowledged that the run did not succeed."""
    ended = view.verdict is not None and view.verdict.status != "success"
    return ended and view.delivered is not None and not view.delivered.conflict


def newest_at(view: View) -> float:
    """Return the time of a run's last step, in seconds since the epoch; of several slots, that of the quietest."""
    return max(still_records({entry.name: entry.at for entry in view.timeline}).values(), default=0.0)


def why_of(view: View) -> str:
    """Return the reason why a run waits; empty for one that is at work or over.

    `undelivered`: the backend has not acknowledged its verdict; `queued`: no worker has begun it; `vendor_working`: a
    job is known; `call_open`: the outcome of a paid call is not known; else the reason of its `waits` record.
    """
    if view.delivered is not None:
        return ""
    if view.waits is not None:
        return word_of(view.waits.why)
    if view.verdict is not None:
        return "undelivered"
    if not has_begun(view):
        return "queued"
    if view.stage is Stage.POLL:
        return "vendor_working"
    return "call_open" if any(call.open for call in view.calls) else ""


def word_of(why: str) -> str:
    """Return a recorded reason as a word for people: `vendor_down` where it is a class, such as `VendorDown`."""
    return _WITHIN.sub("_", why).lower()
