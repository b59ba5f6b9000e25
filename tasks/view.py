"""The read model of a run: stage, progress, why it waits, timeline, calls, results. Every screen and the sweep use it.

`view_of` is pure: it computes the view from records. `read_view` lists and reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeVar

import msgspec

from messages.bodies import Stage
from messages.errors import Permanent
from messages.keys import RunId
from services.concurrency import Together
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import (
    RECORDS,
    Accepted,
    Begun,
    CallEnd,
    CallResult,
    Cleaned,
    Collected,
    Delivered,
    FetchedInputs,
    Intent,
    JobId,
    ManifestItem,
    Prompted,
    ReopenDenied,
    Reopened,
    Reopening,
    SlotEnd,
    Staged,
    Stopped,
    Verdict,
    VideoLabels,
    Waits,
    Withdrawn,
    parse_name,
)
from tasks.ledger.snapshot import PaidCall

__all__ = [
    "Entry",
    "Progress",
    "State",
    "View",
    "current_number",
    "current_trail",
    "has_several_slots",
    "read_records",
    "read_view",
    "stage_after",
    "still_records",
    "view_of",
]

State = Literal["absent", "working", "ended", "delivered"]
"""absent: neither accepted nor refused; ended: a verdict is stored; delivered: the backend acknowledged it."""

_R = TypeVar("_R", bound=RecordBase)

_UNREAD: Final = (Begun, CallResult)
"""Records whose contents are not read."""

_AT_ONCE: Final = 8
"""Records of one run that are read at the same time."""

_AFTER: Final[Mapping[type[RecordBase], Stage]] = MappingProxyType(
    {
        Accepted: Stage.CLEAN,
        Reopening: Stage.WAKE,
        FetchedInputs: Stage.CLEAN,
        Reopened: Stage.CLEAN,
        Cleaned: Stage.GENERATE,
        Prompted: Stage.GENERATE,
        Intent: Stage.GENERATE,
        CallEnd: Stage.GENERATE,
        JobId: Stage.POLL,
        CallResult: Stage.COLLECT,
        SlotEnd: Stage.COLLECT,
        Collected: Stage.COLLECT,
        Staged: Stage.AUDIT,
        VideoLabels: Stage.AUDIT,
        Verdict: Stage.NOTIFY,
        Delivered: Stage.NOTIFY,
        Withdrawn: Stage.NOTIFY,
    }
)
"""Record -> the stage whose message goes on from it; the names of marks, waits and stops say theirs."""

_ORDER: Final[Mapping[type[RecordBase], int]] = MappingProxyType({kind: n for n, kind in enumerate(RECORDS)})

_ACCEPTED: Final = Accepted.at().text
_DENIED: Final = ReopenDenied.at().text
_REOPENED: Final = Reopened.at().text


class Entry(msgspec.Struct, frozen=True):
    """A record of the timeline."""

    name: str
    at: float
    """When it was stored, seconds since the epoch by the store's clock."""
    record: RecordBase | None = None
    """Its contents. None for a mark, for a record that this build cannot read, and for a vendor's answer with the
    results: its URLs are shown to no client."""


class Progress(msgspec.Struct, frozen=True):
    """Number of a run's slots with results: of a success those whose results are shown."""

    done: int
    of: int


class View(msgspec.Struct, frozen=True):
    """View of a run, from its records."""

    run: RunId
    state: State
    stage: Stage | None
    """Stage of the run; None where no work is due: absent or delivered."""
    progress: Progress
    waits: Waits | None
    """Reason of its wait, if it has waited since its newest step."""
    timeline: tuple[Entry, ...]
    """Every record, the oldest first."""
    accepted: Accepted | None
    calls: tuple[PaidCall, ...]
    """Paid calls, sorted by slot and number."""
    stopped: tuple[Stopped, ...]
    """Messages that were given up, the oldest first."""
    verdict: Verdict | None
    delivered: Delivered | None
    results: tuple[ManifestItem, ...]
    """Results of a success, unless they were withdrawn."""
    withdrawn: bool = False
    """The backend keeps the contrary verdict, so nothing of a success is shown, also no text."""


def current_trail(runs: Mapping[int, Mapping[str, float]]) -> Mapping[str, float]:
    """Return the records of the run that counts: the highest that was accepted and not denied, else run 0.

    Args:
        runs: run's number -> record's name -> when it was stored.
    """
    return runs.get(current_number(runs), {})


def current_number(runs: Mapping[int, Mapping[str, float]]) -> int:
    """Return the number of the run that counts; see `current_trail`."""
    counting = [
        number for number, trail in runs.items() if _ACCEPTED in trail and (_DENIED not in trail or _REOPENED in trail)
    ]
    return max(counting, default=0)


def stage_after(name: str) -> Stage:
    """Return the stage whose message goes on from a record; clean for a name that this build does not know."""
    parsed = parse_name(name)
    if parsed is None:
        return Stage.CLEAN
    return Stage(parsed.stage) if parsed.stage in set(Stage) else _AFTER.get(parsed.kind, Stage.CLEAN)


def still_records(trail: Mapping[str, float]) -> Mapping[str, float]:
    """Return the records of a run that say how long it has been still.

    Of several slots those of the stillest one that has not ended: another slot that works hides none that has stopped.
    """
    names = {text: parsed for text in trail if (parsed := parse_name(text))}
    if any(parsed.kind in _OF_RUN for parsed in names.values()):
        return trail
    over = {parsed.slot for parsed in names.values() if parsed.kind is SlotEnd}
    slots: dict[int, dict[str, float]] = {}
    for text, parsed in names.items():
        # Marks of wakes are named by their messages.
        if parsed.slot and parsed.stage != Stage.WAKE and parsed.slot not in over:
            slots.setdefault(parsed.slot, {})[text] = trail[text]
    return min(slots.values(), key=lambda found: max(found.values())) if len(slots) + len(over) > 1 and slots else trail


def has_several_slots(trail: Mapping[str, float]) -> bool:
    """Return True if a run at work on several slots, by their records, may still need one of them."""
    names = [parsed for text in trail if (parsed := parse_name(text))]
    return any(parsed.slot > 1 and parsed.stage != Stage.WAKE for parsed in names) and not any(
        parsed.kind in _OF_RUN for parsed in names
    )


def view_of(run: RunId, trail: Mapping[str, float], records: Mapping[str, RecordBase]) -> View:
    """Return the view of a run.

    Args:
        run: the run.
        trail: record's name -> when it was stored, of every record.
        records: record's name -> the record, of those that were read. State, stage and timeline need none.
    """
    found = _Found(trail, records)
    verdict, delivered = found.one(Verdict.at()), found.one(Delivered.at())
    return View(
        run=run,
        state=_state(found),
        stage=_stage(found),
        progress=_progress(found),
        waits=_waits(found),
        timeline=_timeline(found),
        accepted=found.one(Accepted.at()),
        calls=_calls(found),
        stopped=tuple(record for _, record in sorted(found.all(Stopped), key=lambda pair: (trail[pair[0]], pair[0]))),
        verdict=verdict,
        delivered=delivered,
        results=verdict.manifest if verdict and not found.is_withdrawn() else (),
        withdrawn=found.is_withdrawn(),
    )


async def read_view(run: RunId, ledger: Ledger) -> View:
    """List and read the records of a run.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    trail = (await ledger.trail(run)).get(run.run, {})
    return view_of(run, trail, await read_records(run, trail, ledger))


async def read_records(
    run: RunId, trail: Mapping[str, float], ledger: Ledger, *, only: Collection[type[RecordBase]] = ()
) -> Mapping[str, RecordBase]:
    """Read the records of a run that its view needs, by name; one that this build cannot read is left out.

    Args:
        run: the run.
        trail: record's name -> when it was stored.
        ledger: where they are.
        only: classes to read; empty for all that a view shows.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    wanted = set(only) or set(RECORDS) - set(_UNREAD)
    names = {text: parsed for text in trail if (parsed := parse_name(text)) and parsed.kind in wanted}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(name: RecordName[RecordBase]) -> RecordBase | None:
        async with gate:
            try:
                stored = await ledger.read(run, name)
            except Permanent:
                # It stays in the timeline, without its contents.
                return None
            return stored.record if stored else None

    async with Together() as group:
        jobs = {text: group.create_task(read(RecordName(text, parsed.kind))) for text, parsed in names.items()}
    return {text: record for text, job in jobs.items() if (record := job.result())}


class _Found:
    """Records by name and by class."""

    def __init__(self, trail: Mapping[str, float], records: Mapping[str, RecordBase]) -> None:
        self.trail = trail
        self.records = {text: record for text, record in records.items() if text in trail}
        self.names = {text: parsed for text in trail if (parsed := parse_name(text))}

    def has(self, kind: type[RecordBase]) -> bool:
        """Return whether there is a record of a class, read or not."""
        return any(parsed.kind is kind for parsed in self.names.values())

    def one(self, name: RecordName[_R]) -> _R | None:
        """Return a record that was read."""
        record = self.records.get(name.text)
        return record if isinstance(record, name.kind) else None

    def all(self, kind: type[_R]) -> list[tuple[str, _R]]:
        """Return every record of a class that was read, with its name."""
        return [(text, record) for text, record in self.records.items() if isinstance(record, kind)]

    def is_withdrawn(self) -> bool:
        """Return whether the backend keeps the contrary verdict, so that nothing is shown."""
        delivered = self.one(Delivered.at())
        return self.has(Withdrawn) or (delivered is not None and delivered.contrary)


def _state(found: _Found) -> State:
    if found.has(Delivered):
        return "delivered"
    if found.has(Verdict):
        return "ended"
    return "working" if found.has(Accepted) else "absent"


def _stage(found: _Found) -> Stage | None:
    """Return the state of the run, from names alone."""
    match _state(found):
        case "delivered" | "absent":
            return None
        case "ended":
            return Stage.NOTIFY
        case "working":
            pass
    if found.has(Staged):
        return Stage.AUDIT
    names = found.names.values()
    if found.has(Collected) or any(parsed.kind is Begun and parsed.stage == Stage.COLLECT for parsed in names):
        return Stage.COLLECT
    return _stage_of_slots(found)


def _stage_of_slots(found: _Found) -> Stage:
    """Return the stage of the slots that still work: the latest of them, since the others wait for room."""
    names = found.names.values()
    over = {parsed.slot for parsed in names if parsed.kind is SlotEnd}
    ended = {(parsed.slot, parsed.n) for parsed in names if parsed.kind is CallEnd}
    live = [parsed for parsed in names if parsed.kind in _LIVE and (parsed.slot, parsed.n) not in ended]
    if any(parsed.slot not in over for parsed in live):
        return Stage.POLL
    slots = {parsed.slot for parsed in names if parsed.kind is Intent}
    if over and slots <= over:
        return Stage.COLLECT
    if found.has(Intent) or found.has(Prompted):
        return Stage.GENERATE
    if any(parsed.kind is Begun and parsed.stage == Stage.PROMPT for parsed in names):
        return Stage.PROMPT
    return Stage.GENERATE if found.has(Cleaned) else Stage.CLEAN


def _calls(found: _Found) -> tuple[PaidCall, ...]:
    calls: list[PaidCall] = []
    for text, intent in found.all(Intent):
        slot, n = found.names[text].slot, found.names[text].n
        job, end = found.one(JobId.at(slot, n)), found.one(CallEnd.at(slot, n))
        answered = CallResult.at(slot, n).text in found.trail
        job_id = job.job if job else ""
        calls.append(
            PaidCall(
                n,
                found.trail[text],
                intent.open_s,
                job_id,
                end,
                slot,
                answered,
                label=intent.label,
                vendor=intent.vendor,
            )
        )
    return tuple(sorted(calls, key=lambda call: (call.slot, call.n)))


def _progress(found: _Found) -> Progress:
    accepted = found.one(Accepted.at())
    slots = accepted.slots if accepted else 1
    verdict = found.one(Verdict.at())
    if verdict is not None and verdict.status == "success":
        staged, shown = found.one(Staged.at()), {item.source for item in verdict.manifest}
        if staged is None or not shown:
            return Progress(slots, slots)
        return Progress(min(slots, len({file.slot for file in staged.files if file.key in shown})), slots)
    return Progress(sum(1 for _, end in found.all(SlotEnd) if end.good), slots)


def _waits(found: _Found) -> Waits | None:
    """Return the newest wait, unless the run is delivered or took a step after it."""
    waits = [(found.trail[text], text, record) for text, record in found.all(Waits)]
    if not waits or _state(found) == "delivered":
        return None
    at, _, newest = max(waits, key=lambda wait: wait[:2])
    steps = [when for text, when in found.trail.items() if (name := found.names.get(text)) and name.kind not in _IDLE]
    return newest if at >= max(steps, default=0.0) else None


_LIVE: Final = (JobId, CallResult)
"""Records of a call that the vendor accepted."""

_OF_RUN: Final = (Staged, Verdict)
"""Records after which no slot counts any more."""

_IDLE: Final = (Begun, Waits, Stopped)
"""Records that are no step of a run."""


def _timeline(found: _Found) -> tuple[Entry, ...]:
    def order(text: str) -> tuple[float, int, int, str]:
        parsed = found.names.get(text)
        if parsed is None:
            return (found.trail[text], len(_ORDER), 0, text)
        return (found.trail[text], _ORDER[parsed.kind], parsed.seq, text)

    return tuple(Entry(text, found.trail[text], found.records.get(text)) for text in sorted(found.trail, key=order))
