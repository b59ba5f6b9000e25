"""The rules of a run with paid calls, checked on the ledger's records at each write: an oracle of the histories.

It shares no decision with the product: it reads records, and applies the rules of `docs/architecture.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import msgspec

from consumers.stages.audit import FEWER_RESULTS
from messages.codes import Code
from messages.keys import RunId, record_key
from services.objects.port import Content
from tasks.ledger.names import RecordBase, RecordName
from tasks.ledger.records import (
    Accepted,
    CallEnd,
    CallResult,
    Intent,
    JobId,
    SlotEnd,
    Staged,
    Stopped,
    Verdict,
    parse_name,
)

R = TypeVar("R", bound=RecordBase)

_CLOCKS_S: Final = 45.0
"""Seconds by which a machine may misjudge the store's time."""

_OF_A_SLOT: Final = frozenset(
    {
        Code.INTERNAL,
        Code.BUSY,
        Code.VENDOR_FAILED,
        Code.VENDOR_UNKNOWN,
        Code.VENDOR_REFUSED,
        Code.INCOMPLETE_RESULTS,
    }
)
"""Codes with which a slot may end."""


class Broken(NamedTuple):
    """A rule that a record breaks."""

    rule: str
    text: str


@dataclass
class Call:
    """A paid call by its records; times in seconds since the epoch."""

    n: int
    at: float
    open_s: float
    alive_at: float
    """When it was stored that the vendor accepted it; infinite if it was not."""
    end: CallEnd | None


class RunRecords:
    """The records of a run as they are stored now.

    Args:
        stored: the ledger's bucket.
        run: the run.
    """

    def __init__(self, stored: Mapping[str, Content], run: RunId) -> None:
        self._stored = stored
        self._run = run

    def read(self, name: RecordName[R]) -> tuple[R, float] | None:
        """A record, and when it was stored."""
        found = self._stored.get(record_key(self._run, name.text))
        if found is None:
            return None
        return msgspec.convert(msgspec.json.decode(found.body)["record"], name.kind), found.info.modified

    def names(self) -> list[str]:
        """The names of all records."""
        folder = record_key(self._run, "")
        return [key.removeprefix(folder) for key in self._stored if key.startswith(folder)]

    @property
    def accepted(self) -> Accepted | None:
        """The run as it was accepted."""
        found = self.read(Accepted.at())
        return found[0] if found else None

    def ends(self) -> dict[int, SlotEnd]:
        """Slot -> its end."""
        slots = self.accepted.slots if self.accepted else 1
        found = {slot: self.read(SlotEnd.at(slot)) for slot in range(1, slots + 1)}
        return {slot: end[0] for slot, end in found.items() if end}

    def calls(self, slot: int) -> Iterator[Call]:
        """The paid calls of a slot."""
        n = 1
        while intent := self.read(Intent.at(slot, n)):
            alive = [found[1] for name in (JobId, CallResult) if (found := self.read(name.at(slot, n)))]
            end = self.read(CallEnd.at(slot, n))
            yield Call(n, intent[1], intent[0].open_s, min(alive, default=math.inf), end[0] if end else None)
            n += 1

    def alive(self, slot: int, before: float) -> Call | None:
        """A call of a slot that the vendor had accepted by then, and whose bad end is not recorded."""
        return next((call for call in self.calls(slot) if call.alive_at < before and call.end is None), None)


def broken_by(name: str, records: RunRecords, began: float) -> Iterator[Broken]:
    """Broken rules of a record that was stored just now.

    Args:
        name: its name.
        records: of its run.
        began: when the work that wrote it began, seconds since the epoch: it has read the ledger since.
    """
    parsed = parse_name(name)
    if parsed is None:
        return
    # The store keeps whole seconds.
    began -= 1
    if parsed.kind is Intent:
        yield from _by_intent(parsed.slot, parsed.n, records, began)
    elif parsed.kind is SlotEnd:
        yield from _by_slot_end(parsed.slot, records, began)
    elif parsed.kind is Staged:
        yield from _by_staged(records)
    elif parsed.kind is Verdict:
        yield from _by_verdict(records, began)


def _by_intent(slot: int, n: int, records: RunRecords, began: float) -> Iterator[Broken]:
    for call in records.calls(slot):
        if call.n < n and (call.end is None or call.end.how != "not_accepted"):
            state = "open" if math.isinf(call.alive_at) and call.end is None else "accepted"
            yield Broken("paid", f"call {n} of slot {slot} is begun beside call {call.n}, which is {state}")
    for over in (SlotEnd.at(slot), Staged.at(), Verdict.at()):
        if (found := records.read(over)) and found[1] < began:
            yield Broken("paid", f"call {n} of slot {slot} is begun after {over.text}")


def _by_slot_end(slot: int, records: RunRecords, began: float) -> Iterator[Broken]:
    found = records.read(SlotEnd.at(slot))
    if found is None or found[0].good:
        return
    end, at = found
    if call := records.alive(slot, began):
        yield Broken("outdated", f"slot {slot} ends with {end.code}, though call {call.n} is alive")
    for call in records.calls(slot):
        waits = math.isinf(call.alive_at) and call.end is None and call.at < began
        if waits and at < call.at + call.open_s - _CLOCKS_S:
            yield Broken("outdated", f"slot {slot} ends with {end.code}, though the answer of call {call.n} may come")


def _by_staged(records: RunRecords) -> Iterator[Broken]:
    found, accepted, ends = records.read(Staged.at()), records.accepted, records.ends()
    if found is None or accepted is None or not accepted.vendor:
        return
    staged, at = found
    good = {slot for slot, end in ends.items() if end.good}
    late = accepted.last_call and at >= accepted.last_call - _CLOCKS_S
    if len(ends) < accepted.slots and not (late and len(good) >= accepted.enough):
        yield Broken("undecided", f"results are staged when {len(ends)} of {accepted.slots} slots have ended")
    if others := {file.slot for file in staged.files} - good:
        yield Broken("undecided", f"results of slots {sorted(others)} are staged, which did not end well")


def _by_verdict(records: RunRecords, began: float) -> Iterator[Broken]:
    found, accepted = records.read(Verdict.at()), records.accepted
    if found is None or accepted is None:
        return
    verdict = found[0]
    if verdict.status == "success":
        yield from _by_success(verdict, accepted, records)
    elif verdict.status == "failed" and verdict.code in _OF_A_SLOT and accepted.vendor:
        yield from _by_failure(verdict, accepted, records, began)


def _by_success(verdict: Verdict, accepted: Accepted, records: RunRecords) -> Iterator[Broken]:
    staged = records.read(Staged.at())
    slots = {file.key: file.slot for file in staged[0].files} if staged else {}
    if unknown := [item.source for item in verdict.manifest if item.source not in slots]:
        yield Broken("undecided", f"{unknown} is shown, and was not staged")
    shown = {slots.get(item.source) for item in verdict.manifest}
    if len(shown) < accepted.enough:
        yield Broken("degraded", f"a success with {len(shown)} slots of {accepted.slots}: {accepted.enough} are needed")
    if (len(shown) < accepted.slots) is not (FEWER_RESULTS in verdict.degraded):
        yield Broken("degraded", f"{len(shown)} slots of {accepted.slots} are shown as {verdict.degraded}")


def _by_failure(verdict: Verdict, accepted: Accepted, records: RunRecords, began: float) -> Iterator[Broken]:
    stages = {(name.kind, name.stage) for text in records.names() if (name := parse_name(text))}
    if any(stage in {"collect", "audit"} for _, stage in stages):
        # From then on the results themselves decide.
        return
    slots = range(1, accepted.slots + 1)
    if sum(records.alive(slot, began) is not None for slot in slots) >= accepted.enough:
        yield Broken("outdated", f"the run fails with {verdict.code}, though enough paid calls are alive")
    bad = [end for end in records.ends().values() if not end.good]
    early = {(Stopped, "clean"), (Stopped, "prompt")} & stages
    if len(bad) <= accepted.slots - accepted.enough and not early:
        yield Broken("hopeless", f"the run fails with {verdict.code} when {len(bad)} of {accepted.slots} slots are bad")
