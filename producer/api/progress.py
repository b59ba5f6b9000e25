"""State of a task as its user sees it, from the records of its run. Pure.

The records of a run are create-only, so their order is the run's history: the events of a stream are the public states
after each record, and an event's id is the number of records that it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from messages.bodies import Stage
from messages.codes import Code, code_of, text_of
from messages.keys import RunId
from producer.api.wire import ErrorText, ProgressEvent, SlotProgress, Waiting
from services.errors import BackendDown, CreateUnknown, VendorDown, VendorFull, VendorMissing
from tasks.control.pauses import PAUSED
from tasks.ledger.names import RecordBase
from tasks.ledger.records import (
    RECORDS,
    Accepted,
    Cleaned,
    JobId,
    Prompted,
    SlotEnd,
    Staged,
    Verdict,
    parse_name,
)
from tasks.lists.states import FINAL, has_begun, is_withdrawn, state_of
from tasks.view import View, view_of

__all__ = [
    "Numbered",
    "error_of",
    "events_of",
    "is_over",
    "is_same",
    "moment",
    "waiting_of",
]

_FOLLOWS: Final[Mapping[str, type[RecordBase]]] = {
    Stage.CLEAN: Accepted,
    Stage.PROMPT: Cleaned,
    Stage.GENERATE: Prompted,
    Stage.POLL: JobId,
    Stage.COLLECT: SlotEnd,
    Stage.AUDIT: Staged,
    Stage.NOTIFY: Verdict,
}
"""Stage -> the record that marks, waits and stops of the stage follow."""

_Why = Literal[
    "queued", "upload", "user_cap", "vendor_full", "vendor_working", "vendor_away", "backend_away", "paused", "retry"
]

_WHYS: Final[Mapping[str, _Why]] = {
    "vendor_full": "vendor_full",
    "spend_cap": "vendor_full",
    "results_late": "vendor_working",
    "call_open": "vendor_working",
    "user_cap": "user_cap",
    PAUSED: "paused",
    VendorFull.__name__: "vendor_full",
    VendorDown.__name__: "vendor_away",
    VendorMissing.__name__: "vendor_away",
    CreateUnknown.__name__: "vendor_working",
    BackendDown.__name__: "backend_away",
}
"""Reason in a record -> public reason; every other one is `retry`."""


class Numbered(msgspec.Struct, frozen=True):
    """An event with the number of records that it rests on."""

    number: int
    event: ProgressEvent


def moment(when: float) -> str:
    """Return a time as RFC 3339, in UTC."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_of(view: View) -> ErrorText | None:
    """Return why a run failed; None for one that did not."""
    if view.verdict is None:
        return None
    if view.verdict.status != "success":
        return _error(code_of(view.verdict.code))
    return _error(Code.CANCELLED) if view.delivered is not None and is_withdrawn(view) else None


def waiting_of(view: View) -> Waiting | None:
    """Return why a run waits now; None for one that is at work or ended."""
    if state_of(view) in FINAL:
        return None
    if view.waits is not None:
        return Waiting(why=_WHYS.get(view.waits.why, "retry"), until=moment(view.waits.until))
    if view.verdict is not None:
        return None
    if not has_begun(view):
        return Waiting(why="queued")
    return Waiting(why="vendor_working") if view.stage is Stage.POLL else None


def events_of(run: RunId, trail: Mapping[str, float], records: Mapping[str, RecordBase]) -> tuple[Numbered, ...]:
    """Return an event for each record that changed the public state, oldest first.

    Args:
        run: the run.
        trail: record's name -> when it was stored.
        records: record's name -> record, of the classes that state and progress depend on.
    """
    found: list[Numbered] = []
    names = sorted(trail, key=lambda name: (trail[name], *_place(name), name))
    for number in range(1, len(names) + 1):
        begun = names[:number]
        part = {name: trail[name] for name in begun}
        view = view_of(run, part, {name: records[name] for name in begun if name in records})
        event = _event(view, trail[names[number - 1]])
        if not found or not is_same(found[-1].event, event):
            found.append(Numbered(number, event))
    return tuple(found) or (Numbered(0, _event(view_of(run, {}, {}), None)),)


def _place(name: str) -> tuple[float, int]:
    """Return the place of a record among those of the same second, in the order of a run's life."""
    parsed = parse_name(name)
    if parsed is None:
        return float(len(RECORDS)), 0
    kind = _FOLLOWS.get(parsed.stage)
    return (RECORDS.index(parsed.kind) if kind is None else RECORDS.index(kind) + 0.5), parsed.seq


def is_same(one: ProgressEvent, other: ProgressEvent) -> bool:
    """Return True if two events differ in their time alone."""
    return msgspec.structs.replace(one, at=other.at) == other


def is_over(view: View) -> bool:
    """Return True once nothing more will happen."""
    return view.verdict is not None and view.delivered is not None


def _event(view: View, at: float | None) -> ProgressEvent:
    state = state_of(view)
    return ProgressEvent(
        task_id=view.run.task,
        state=state,
        stage=None if state in FINAL or view.stage is None else view.stage.value,
        progress=SlotProgress(done=view.progress.done, of=view.progress.of),
        waiting=waiting_of(view),
        error=error_of(view),
        at=None if at is None else moment(at),
    )


def _error(code: Code) -> ErrorText:
    return ErrorText(code=code, message=text_of(code))
