"""Vendors and backend as one machine of a deployment sees them; what they hold is shared by all machines."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from sandbox.backend.quota_account import QuotaAccount
from services.backend import Answer, Callback
from services.errors import BackendDown, VendorFull, VendorRefused
from services.vendors.port import JobStatus
from tasks.calls.webhook_paths import parse_path
from tests.engine.fault_injector import FaultInjector
from tests.engine.standins import Plan, ScriptedBackend, ScriptedJob, ScriptedVendor
from tests.engine.virtual import wall
from tests.simulation.machines import Machine

EVER: Final = 1 << 30
_BACKEND_LIMIT_S: Final = 10.0
"""Seconds after which the product's client gives a call of the backend up."""


class Slot(NamedTuple):
    """One of the paid calls that a task needs at once."""

    task: str
    number: int
    """From 1."""

    def __str__(self) -> str:
        return self.task if self.number == 1 else f"{self.task} slot {self.number}"


@dataclass
class Vendor:
    """State of a vendor: its jobs, and the plans of later ones.

    Args:
        name: of the vendor.
        count: results of a job.
        room: jobs at work at once.
        instant: whether the answer to the create is the result.
    """

    name: str
    count: int
    room: int
    instant: bool = False
    jobs: dict[str, ScriptedJob] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Task -> results of its jobs, where they are not `count`."""
    posts: Counter[Slot] = field(default_factory=Counter)
    """Slot -> creates that arrived."""
    plans: dict[Slot, Plan] = field(default_factory=dict)
    """Slot -> how its jobs go."""
    answers: dict[Slot, list[str]] = field(default_factory=dict)
    """Slot -> what its next creates answer: `full`, `refused`, `lost` (accepted) or `unheard` (not accepted)."""
    forgets_until: float = 0.0
    """Until then it knows no job, by the loop's clock."""
    on_accept: Callable[[ScriptedJob], None] = lambda _: None

    @property
    def busy(self) -> int:
        """Jobs at work."""
        return sum(job.working for job in self.jobs.values())

    def paid(self, slot: Slot) -> list[ScriptedJob]:
        """Jobs accepted for a slot."""
        return [job for job in self.jobs.values() if slot_of(job.webhook) == slot]


def slot_of(webhook: str) -> Slot:
    """The slot that a webhook URL belongs to."""
    claim = parse_path(urlsplit(webhook).path)
    return Slot(claim.run.task, claim.slot) if claim else Slot("", 0)


class VendorClient(ScriptedVendor):
    """A vendor, asked by one machine."""

    def __init__(self, machine: Machine, vendor: Vendor) -> None:
        super().__init__(cast("FaultInjector", machine), vendor.count)
        self.name = vendor.name
        self.jobs = vendor.jobs
        self._vendor = vendor

    async def check_room(self) -> None:
        await self._injector.pass_by("vendor.room", done=False)
        if self._vendor.busy >= self._vendor.room:
            raise VendorFull("no room")

    async def _create(self, webhook: str) -> str:
        slot = slot_of(webhook)
        place = f"vendor.create {slot}"
        await self._injector.pass_by(place, done=False)
        self._vendor.posts[slot] += 1
        answers = self._vendor.answers.get(slot)
        answer = answers.pop(0) if answers else ""
        if answer == "full" or self._vendor.busy >= self._vendor.room:
            raise VendorFull("queue limit")
        if answer == "refused":
            raise VendorRefused("not with this workflow")
        job = "" if answer == "unheard" else self._accept(webhook)
        if self._vendor.instant and job:
            # It works while the caller waits.
            await asyncio.sleep(min(self.jobs[job].plan.within, 3600.0))
        await self._injector.pass_by(place, done=True)
        if answer in {"lost", "unheard"}:
            await asyncio.sleep(3600.0)
        return job

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        self.forgets = self._vendor.forgets_until > asyncio.get_running_loop().time()
        return await super().query(job_id, kind=kind)

    async def made_for(self, job_id: str) -> str:
        await self._injector.pass_by(f"vendor.made_for {job_id}", done=False)
        job = self.jobs.get(job_id)
        return job.webhook if job else ""

    def _status(self, job: ScriptedJob) -> JobStatus:
        self._count = self._vendor.counts.get(slot_of(job.webhook).task, self._vendor.count)
        return super()._status(job)

    def _accept(self, webhook: str) -> str:
        slot = slot_of(webhook)
        number = len(self._vendor.paid(slot)) + 1
        plan = self._vendor.plans.get(slot) or Plan(looks=EVER, within=60.0)
        job = ScriptedJob(f"job-{slot.task}-{slot.number}-{number}", plan, wall(), webhook)
        self.jobs[job.id] = job
        self._vendor.on_accept(job)
        return job.id


@dataclass
class BackendState:
    """State of the backend, and its faults."""

    book: QuotaAccount = field(default_factory=lambda: QuotaAccount(":memory:"))
    heard: list[Callback] = field(default_factory=list)
    slow_until: float = 0.0
    """Until then it answers after its caller has given up, by the loop's clock."""
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def forget(self, task: str) -> bool:
        """Lose the callbacks about a task, as after a restore from a backup. False if there was nothing."""
        done = self.book._db.execute(
            "UPDATE steps SET status = 'pending' WHERE task_id = ? AND status IN ('success', 'failed')", (task,)
        )
        self.book._db.execute("UPDATE tasks SET refunds = 0 WHERE task_id = ? AND ? > 0", (task, done.rowcount))
        return done.rowcount > 0

    def status(self, task: str) -> str:
        """Its state of a task."""
        found = self.book.state(task, 0)
        return found[0] if found else ""


class BackendClient(ScriptedBackend):
    """The backend, asked by one machine."""

    def __init__(self, machine: Machine, state: BackendState) -> None:
        super().__init__(cast("FaultInjector", machine), state.book, state.heard)
        self._state = state

    async def deliver(self, callback: Callback) -> Answer:
        if self._state.slow_until > asyncio.get_running_loop().time():
            # Every second call arrives all the same, but its answer is lost.
            if next(self._state.numbers) % 2:
                await super().deliver(callback)
            await asyncio.sleep(_BACKEND_LIMIT_S)
            raise BackendDown("no answer in time")
        return await super().deliver(callback)
