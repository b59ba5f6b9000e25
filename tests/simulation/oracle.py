"""The promise, as rules that a history is judged by: some at every effect, the others at its end."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from consumers.engine.retry import MAX_ATTEMPTS
from messages.codes import Code
from messages.keys import RunId, record_key, staging_prefix
from services.objects.port import Content
from tasks.ledger.names import RecordBase
from tasks.ledger.records import Accepted, JobId, ManifestItem, SlotEnd, Verdict, parse_name
from tests.engine.slot_rules import RunRecords, broken_by
from tests.engine.virtual import EPOCH
from tests.simulation.events import CURRENT, Timeline
from tests.simulation.guarded import GuardedVendor
from tests.simulation.machines import Machine
from tests.simulation.queue import Entry
from tests.simulation.script import RECIPES, UPLOAD_LIMIT_S, Sold
from tests.simulation.standins import BackendState, Slot, Vendor

R = TypeVar("R", bound=RecordBase)

GRACE_S: Final = 300.0
"""Seconds after its deadline by which a run has its verdict at the latest: a sweep's period, a wake, and the slack of
whole seconds and clocks."""

MOST_KILLED: Final = 2 * MAX_ATTEMPTS
"""Most machines that one message may kill: one for each attempt, and one more if a message was lost or doubled."""

_CLOCKS_S: Final = 45.0
"""Seconds by which a machine may misjudge the store's time."""

_RECORD: Final = "ledger.put_new ledger/"
"""Effect that creates a run's record."""

_OWN_EFFECTS: Final = ("broker.publish", "ledger.put_new", "objects.", "vendor.create", "backend.deliver")
"""Effects that come before the ack of their message."""

_SWEEP_EFFECTS: Final = ("objects.copy", "objects.delete", "vendor.create", "vendor.cancel", "backend.deliver")
"""Effects that never happen under a wake that was acked: it works on no run and ends none."""


class Violation(NamedTuple):
    """A promise that was broken."""

    rule: str
    task: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.task or 'the deployment'}: {self.text}"


class Oracle:
    """Watches a history and judges it.

    Args:
        records: the ledger's bucket.
        objects: the data bucket.
        vendors: all of them.
        backend: the backend.
        timeline: of the history.
    """

    def __init__(
        self,
        records: Mapping[str, Content],
        objects: Mapping[str, Content],
        vendors: Mapping[str, Vendor],
        backend: BackendState,
        timeline: Timeline,
    ) -> None:
        self.violations: list[Violation] = []
        self.hits: Counter[str] = Counter()
        """Task -> faults that may have cost it an attempt."""
        self.excuses: defaultdict[str, set[str]] = defaultdict(set)
        """Task -> its other events."""
        self.kills: Counter[str] = Counter()
        self._records = records
        self._objects = objects
        self._vendors = vendors
        self._backend = backend
        self._timeline = timeline

    def report(self, rule: str, task: str, text: str) -> None:
        """Record a broken promise, each once for each task."""
        if any(found.rule == rule and found.task == task for found in self.violations):
            return
        self.violations.append(Violation(rule, task, text))
        self._timeline.add("ORACLE", f"BROKEN {rule}: {text}", task=task)

    # ---- what a run has ------------------------------------------------------------------------------------------

    def verdict(self, run: RunId) -> tuple[Verdict, float] | None:
        """The verdict that is stored, and when, in virtual seconds."""
        return self._record(run, Verdict, "verdict")

    def accepted(self, run: RunId) -> tuple[Accepted, float] | None:
        """The record `accepted`, and when it was stored."""
        return self._record(run, Accepted, "accepted")

    def is_delivered(self, run: RunId) -> bool:
        """True if the backend has acknowledged its verdict."""
        return record_key(run, "delivered") in self._records

    def _record(self, run: RunId, kind: type[R], name: str) -> tuple[R, float] | None:
        stored = self._records.get(record_key(run, name))
        if stored is None:
            return None
        record = msgspec.convert(msgspec.json.decode(stored.body)["record"], kind)
        return record, stored.info.modified - EPOCH

    # ---- at every effect -----------------------------------------------------------------------------------------

    def see(self, machine: Machine, place: str, *, done: bool) -> None:
        """Look at an effect."""
        doing = CURRENT.get()
        if done:
            if place.startswith(_RECORD):
                self._see_record(*place.removeprefix(_RECORD).split("/"), began=doing.began + EPOCH)
            return
        if doing.acked and place.startswith(_SWEEP_EFFECTS if doing.sweep else _OWN_EFFECTS):
            self.report("acked", doing.task, f"{machine.name} does {place} after the ack of {doing.label}")
        if place.startswith("objects.copy output/"):
            self._see_promotion(place.partition(" ")[2])
        elif place.startswith("ledger.put_new dead/"):
            self.excuses[doing.task].add("left")
        elif place.startswith("ledger.put ") and place.partition(" ")[2] in self._records:
            self.report("final", doing.task, f"the record {place.partition(' ')[2]} is overwritten")

    def _see_record(self, user: str, task: str, _: str, name: str, *, began: float) -> None:
        records = RunRecords(self._records, RunId(user, task))
        for rule, text in broken_by(name, records, began):
            self.report(rule, task, text)
        parsed = parse_name(name)
        if parsed is not None and parsed.kind is SlotEnd:
            self._see_slot_end(task, parsed.slot, records)

    def _see_slot_end(self, task: str, slot: int, records: RunRecords) -> None:
        """No call counts as unknown that its vendor's list shows, and did well before it was given up."""
        end = records.ends().get(slot)
        if end is None or end.code != Code.VENDOR_UNKNOWN:
            return
        for vendor in self._vendors.values():
            for job in vendor.paid(Slot(task, slot)) if isinstance(vendor, GuardedVendor) else ():
                if any(vendor.listed_at(job) < call.at + call.open_s - _CLOCKS_S for call in records.calls(slot)):
                    self.report("unfound", task, f"slot {slot} ends unknown, though {job.id} is listed")

    def _see_promotion(self, target: str) -> None:
        _, user, task, *_ = target.split("/")
        found = self.verdict(RunId(user, task))
        if found is None:
            self.report("promotion", task, f"{target} is shown before any verdict")
        elif found[0].status != "success" or target not in {item.target for item in found[0].manifest}:
            self.report("promotion", task, f"{target} is shown, and is not of the verdict")

    def see_ack(self, user: str, entry: Entry, left: Sequence[Entry]) -> None:
        """Look at a message that is gone: another one must carry a run that is not over, or a slot of it.

        Args:
            user: of its task.
            entry: the message.
            left: messages of its task that are stored still.
        """
        if not user or entry.stage in {"", "wake"} or self.excuses[entry.task] & {"lost", "left"}:
            return
        run = RunId(user, entry.task)
        if not left and self.accepted(run) and not self.is_delivered(run):
            self.report("carried", entry.task, f"{entry.words} is acked, and no message carries the run on")
        if entry.slot and left and self._works(run, entry.slot) and not any(_carries(one, entry.slot) for one in left):
            self.report("carried", entry.task, f"{entry.words} is acked, and no message carries slot {entry.slot} on")

    def _works(self, run: RunId, slot: int) -> bool:
        """True if a slot has not ended, and its end counts."""
        return not any(record_key(run, name) in self._records for name in ("verdict", "staged", f"slot-{slot}"))

    # ---- at the end ----------------------------------------------------------------------------------------------

    def judge(self, sold: Sold, calm_at: float, end: float) -> None:
        """Judge one task at the end of its history."""
        run = RunId(sold.user, sold.id)
        found = self.verdict(run)
        if found is None:
            lost = not self.accepted(run) or self.excuses[sold.id] & {"lost", "left"}
            if not lost or self._backend.status(sold.id) != "cancelled":
                self.report("late", sold.id, f"it has no verdict at {end:.0f} s")
            return
        verdict, at = found
        self._judge_time(sold, run, at, calm_at)
        # The backend no longer lists a task whose callback it has received or that it has ended itself: then no sweep
        # finds a message that the broker lost, or one that became a dead letter because its answer was cut off again
        # and again.
        unlisted = self._backend.status(sold.id) != "pending" and self.excuses[sold.id] & {"lost", "left"}
        if not self.is_delivered(run) and not unlisted:
            self.report("delivered", sold.id, f"its verdict of {at:.0f} s is not delivered at {end:.0f} s")
        self._judge_reason(sold, run, verdict)
        self._judge_backend(sold, verdict)
        self._judge_objects(sold, run, verdict, at)
        self._judge_money(sold, run)
        self._judge_jobs(sold, run, verdict)

    def _judge_time(self, sold: Sold, run: RunId, at: float, calm_at: float) -> None:
        accepted = self.accepted(run)
        deadline = accepted[0].deadline - EPOCH if accepted else sold.at + 2 * UPLOAD_LIMIT_S
        if at > max(deadline, calm_at) + GRACE_S:
            self.report("late", sold.id, f"its verdict came at {at:.0f} s; its deadline was {deadline:.0f} s")

    def _judge_reason(self, sold: Sold, run: RunId, verdict: Verdict) -> None:
        """Check that a failure has a reason in the run's own script or in a fault of its own work."""
        hits = self.hits[sold.id]
        if verdict.status != "success" and not self._is_explained(sold, Code(verdict.code)):
            self.report("reason", sold.id, f"it failed with {verdict.code} after {hits} faults of its own")
        ends = RunRecords(self._records, run).ends()
        for slot, end in ends.items():
            if not end.good and not self._is_explained(sold, Code(end.code)):
                self.report("reason", sold.id, f"slot {slot} failed with {end.code} after {hits} faults of its own")
        good = sum(end.good for end in ends.values())
        shown = len(verdict.manifest) // RECIPES[sold.kind].count
        if verdict.status == "success" and good - shown > bool(sold.blocked) and not self._timeline.faults:
            self.report("reason", sold.id, f"{shown} of {good} good slots are shown")

    def _is_explained(self, sold: Sold, code: Code) -> bool:
        hits = self.hits[sold.id]
        if code in sold.may_fail_with:
            return True
        if code in {Code.INTERNAL, Code.BUSY}:
            return hits >= MAX_ATTEMPTS
        if code == Code.VENDOR_UNKNOWN:
            return hits > 0 or "unheard" in self.excuses[sold.id]
        return code == Code.TIMEOUT and bool(self._timeline.faults)

    def _judge_backend(self, sold: Sold, verdict: Verdict) -> None:
        (row,) = self._backend.book.steps(sold.id)
        reported = "success" if verdict.status == "success" else "failed"
        heard = {call.status for call in self._backend.heard if call.task == sold.id}
        if heard - {reported}:
            self.report("callbacks", sold.id, f"the backend heard {sorted(heard)}, the verdict is {verdict.status}")
        if row["status"] not in {reported, "cancelled"}:
            self.report("backend", sold.id, f"the backend's state is {row['status']}, the verdict is {verdict.status}")
        wanted = 0 if row["status"] == "success" else 1
        if (row["charges"], row["refunds"]) != (1, wanted):
            self.report("refund", sold.id, f"{row['status']}: charged {row['charges']}, refunded {row['refunds']}")

    def _judge_objects(self, sold: Sold, run: RunId, verdict: Verdict, at: float) -> None:
        prefix = f"output/{run.user}/{run.task}/"
        shown = {key: content for key, content in self._objects.items() if key.startswith(prefix)}
        state = self._backend.status(sold.id)
        if state == "cancelled" and "forgot" in self.excuses[sold.id]:
            # It had acknowledged the success before, and has not answered since that it is no success any more.
            return
        wanted = verdict.manifest if state == "success" else ()
        if sorted(shown) != sorted(item.target for item in wanted):
            self.report("output", sold.id, f"{sorted(shown)} is shown of a task that is {state}")
        for item in wanted:
            self._judge_result(sold, item, shown.get(item.target))
        if verdict.status == "success" or "lost" in self.excuses[sold.id]:
            # Of a success it ages out; so does what a lost message would have deleted.
            return
        for key, content in self._objects.items():
            if key.startswith(staging_prefix(run)) and content.info.modified - EPOCH < at - 1:
                self.report("staging", sold.id, f"{key} is older than the verdict and is there still")

    def _judge_result(self, sold: Sold, item: ManifestItem, content: Content | None) -> None:
        if content is None:
            return
        if content.info.etag != item.etag:
            self.report("output", sold.id, f"{item.target} is not what was audited")
        if sold.id.encode() not in content.body:
            self.report("output", sold.id, f"{item.target} is another task's")

    def _judge_money(self, sold: Sold, run: RunId) -> None:
        records = RunRecords(self._records, run)
        for number in range(1, len(sold.plans) + 1):
            slot = Slot(sold.id, number)
            refused = sum(call.end is not None and call.end.how == "not_accepted" for call in records.calls(number))
            posts = sum(vendor.posts[slot] for vendor in self._vendors.values())
            paid = [job.id for vendor in self._vendors.values() for job in vendor.paid(slot)]
            if len(paid) > 1:
                self.report("paid", sold.id, f"paid for {', '.join(paid)}")
            elif posts > 1 + refused:
                self.report("paid", sold.id, f"{posts} paid calls went out, {refused} of them not accepted")

    def _judge_jobs(self, sold: Sold, run: RunId, verdict: Verdict) -> None:
        """Check that no job with a known id still runs at the vendor."""
        records = RunRecords(self._records, run)
        good = {slot for slot, end in records.ends().items() if end.good} if verdict.status == "success" else set()
        known = {
            found[0].job
            for slot in range(1, len(sold.plans) + 1)
            for call in records.calls(slot)
            if slot not in good and (found := records.read(JobId.at(slot, call.n)))
        }
        for vendor in self._vendors.values():
            for job in sorted(known & vendor.jobs.keys()):
                if vendor.jobs[job].working and not vendor.instant:
                    self.report("job", sold.id, f"{job} goes on at the vendor's")

    def judge_kills(self, sold: Sold) -> None:
        """Check that a message that kills its machine is given up after its attempts."""
        if self.kills[sold.id] > MOST_KILLED:
            self.report("killer", sold.id, f"its work killed {self.kills[sold.id]} machines")

    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return asyncio.get_running_loop().time()


def _carries(entry: Entry, slot: int) -> bool:
    return entry.slot == slot or (entry.slot == 0 and entry.stage not in {"collect", "audit", "notify"})
