"""A short history of one task, made from a seed: several workers at once, and every kind of fault."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from messages.bodies import Job
from messages.codes import Code
from messages.errors import Transient
from messages.keys import record_key
from recipes.basic_clean import BASIC_CLEAN
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Recipe
from services.errors import AuditDown, BackendDown, FetchFailed, ObjectsDown, UploadFailed, VendorDown
from services.objects.port import Result
from services.vendors.port import JobState
from tasks.calls.webhook_paths import parse_path
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Verdict, parse_name
from tasks.topics import WORK_TOPICS
from tasks.wakes import LATEST, REDELIVER, SWEEP, publish_wake
from tests.engine.fault_injector import Died
from tests.engine.harness import KEYS, Harness, sketched
from tests.engine.slot_rules import RunRecords, broken_by
from tests.engine.standins import Create, InstantVendor, Plan, WireConsumer
from tests.engine.virtual import wall
from transport.errors import BrokerDown
from transport.port import Delivery

_TOPICS: Final = tuple(topic for topic in WORK_TOPICS if not topic.endswith(("-high", "-low")))
_COUNT: Final = 3
_WORKERS: Final = 3
_SWEEP_EVERY: Final = 600.0
_SWEEPS: Final = 14
"""Number of sweeps that reach beyond every deadline."""
_MOST: Final = 400
"""Deliveries after which a history is taken for endless."""

_READ_SHARE: Final = 0.1
"""Most effects are reads of the ledger: faults should be distributed more evenly."""
_PLENTY: Final = 4
"""Faults that may use up a run's time."""
_BEGAN: ContextVar[float] = ContextVar("began", default=0.0)
"""Wall time at which the current work began: it has read the ledger since."""

_ERRORS: Final[Mapping[str, tuple[Callable[[], Exception], ...]]] = {
    "objects": (lambda: ObjectsDown("injector"), lambda: ObjectsDown("injector"), lambda: Transient("injector")),
    "objects.audit": (lambda: AuditDown("injector"), lambda: ObjectsDown("injector"), lambda: Transient("injector")),
    "ledger": (lambda: ObjectsDown("injector"),),
    "vendor": (lambda: VendorDown("injector"),),
    "vendor.upload": (lambda: VendorDown("injector"), lambda: UploadFailed("injector")),
    "files": (lambda: FetchFailed("injector"),),
    "backend": (lambda: BackendDown("injector"),),
    "broker.publish": (lambda: BrokerDown("injector"),),
}


class Sale(NamedTuple):
    """Sizes and rules of the kind that a history sells."""

    count: int = _COUNT
    """Results of a paid call."""
    slots: int = 1
    enough: int = 1
    last_call_s: float = 0.0
    synchronous: bool = False

    def recipes(self) -> Mapping[str, Recipe]:
        """Kinds on sale."""
        sold = msgspec.structs.replace(MODEL_POSE12, count=self.count, synchronous=self.synchronous)
        if self.slots > 1 or self.synchronous:
            sold = msgspec.structs.replace(
                sold,
                slots=lambda _: self.slots,
                enough=lambda _, slots: min(self.enough, slots),
                last_call_s=self.last_call_s,
            )
        return MappingProxyType({"model_pose12": sold, "basic_clean": BASIC_CLEAN})


def _sale_of(seed: int) -> Sale:
    """Every other history sells several slots, of both sorts of vendor."""
    if seed % 2 == 0:
        return Sale()
    rng = random.Random(f"sale {seed}")
    slots = rng.randint(1, 4)
    return Sale(1, slots, rng.randint(1, slots), rng.choice((0.0, 120.0, 400.0, 900.0)), rng.random() < 0.5)


class History:
    """One seed's history.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sale = _sale_of(seed)
        self.harness = Harness(recipes=self.sale.recipes(), paint=sketched, seed=seed, topics=_TOPICS)
        if self.sale.synchronous:
            self.harness.vendors[self.harness.vendor.name] = InstantVendor(self.harness.vendor, self.sale.count)
        self.excuses: set[str] = set()
        """Reasons in the history for a failed verdict."""
        self.wrong: list[str] = []
        """Promises broken on the way."""
        self.deliveries = 0
        self._chance = self.rng.choice((0.0, 0.02, 0.06, 0.15))
        self._budget = self.rng.choice((0, 1, 2, 4, 8, 16))
        self.troubles = 0
        self._running: set[asyncio.Task[None]] = set()

    async def play(self) -> None:
        """Run it with faults, then without faults to its end, and judge."""
        async with self.harness:
            self._write_script()
            self.kind = "basic_clean" if self.rng.random() < 0.15 else "model_pose12"
            self.run = await self.harness.upload(self.kind)
            self.harness.injector.hook = self._meddle
            self._later(0.0, self._ingest)
            self._disturb()
            await self._work()
            self._budget = 0
            await self._judge_liveness()
            await self._fair_end()
            await self._judge()

    # ---- the script ------------------------------------------------------------------------------------------------

    def _write_script(self) -> None:
        rng, vendor = self.rng, self.harness.vendor
        vendor.full = rng.choice((0, 0, 0, 2))
        for _ in range(rng.choice((0, 0, 1, 2))):
            answer = rng.choice(("full", "full", "lost", "refused" if rng.random() < 0.2 else "full"))
            accepted = answer == "lost" and rng.random() < 0.6
            vendor.creates.append(Create(accepted=accepted, answer=answer))
            if answer != "full":
                self.excuses.add(answer)
        if not self.sale.synchronous:
            vendor.plans.extend(self._plan() for _ in range(self.sale.slots + 2))
        if rng.random() < 0.06:
            self.harness.findings["02.jpg" if rng.random() < 0.5 else ".jpg"] = Result(
                violation=True, suspect=False, label="Porn", score=95
            )
            self.excuses.add("a violation")

    def _plan(self) -> Plan:
        rng, count = self.rng, self.sale.count
        plan = Plan(looks=rng.choice((0, 0, 1, 2, 9)), within=200.0)
        if rng.random() < 0.12:
            plan.end = JobState.FAILED
            self.excuses.add("the vendor fails")
        if rng.random() < 0.06:
            plan.files = rng.choice((0, count - 1, count + 1))
            self.excuses.add("results are missing")
        if self.sale.slots > 1 and rng.random() < 0.1:
            plan.looks, plan.within = _MOST, rng.choice((500.0, 900.0, math.inf))
            self.excuses.add("a straggler")
        return plan

    def _disturb(self) -> None:
        rng = self.rng
        for _ in range(rng.choice((0, 0, 1, 3))):
            self._later(rng.uniform(0, 200), self._ingest)
        for _ in range(rng.choice((0, 0, 1, 4))):
            self._later(rng.uniform(0, 400), self._sweep)
        for _ in range(rng.choice((0, 0, 1, 3))):
            self._later(rng.uniform(0, 300), self._hint)
        for _ in range(rng.choice((0, 0, 0, 2))):
            self._later(rng.uniform(0, 400), self._redeliver)
        if rng.random() < 0.12:
            self.excuses.add("a cancel")
            self._later(rng.choice((0.0, rng.uniform(0, 2), rng.uniform(0, 200))), self._cancel)

    def _later(self, delay: float, act: Callable[[], Awaitable[object]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay)
            while not await self._alive(act):  # noqa: ASYNC110 - it tries again after a while
                # The platform, the timer and the person try again.
                await asyncio.sleep(1)

        self._start(wait())

    async def _alive(self, act: Callable[[], Awaitable[object]]) -> bool:
        try:
            await act()
        except (Died, ObjectsDown, BrokerDown, Transient):
            return False
        return True

    async def _ingest(self) -> None:
        await self.harness.take_in(self.run)

    async def _sweep(self) -> None:
        await publish_wake(
            msgspec.structs.replace(self.run, run=LATEST),
            SWEEP,
            self.harness.out.broker,
            self.harness.ledger.now(),
            keys=KEYS,
        )

    async def _redeliver(self) -> None:
        await publish_wake(self.run, REDELIVER, self.harness.out.broker, self.harness.ledger.now(), keys=KEYS)

    async def _hint(self) -> None:
        """The vendor sends the webhook of a job that has ended; the job may be another one than it names."""
        vendor = self.harness.vendor
        ended = [job for job in vendor.paid if not vendor.jobs[job].working]
        if ended:
            n = self.rng.randint(1, len(vendor.paid))
            await publish_wake(
                self.run,
                "webhook",
                self.harness.out.broker,
                self.harness.ledger.now(),
                keys=KEYS,
                job=Job(n, self.rng.choice(ended), self.rng.randint(1, self.sale.slots)),
            )

    async def _cancel(self) -> None:
        await cancel_task(self.run, self.harness.out)

    # ---- faults ------------------------------------------------------------------------------------------------------

    async def _meddle(self, place: str, *, done: bool) -> None:
        rng = self.rng
        if place.startswith("objects.copy output/") and not done:
            self._check_promotion(place.removeprefix("objects.copy "))
        folder = f"ledger.put_new {record_key(self.run, '')}"
        if place.startswith(folder) and done:
            self.wrong.extend(map(str, broken_by(place.removeprefix(folder), self._records(), _BEGAN.get())))
        if rng.random() < 0.05:
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 0.5), rng.uniform(0, 5))))
        chance = self._chance * (_READ_SHARE if place.startswith("ledger.get") else 1.0)
        if self._budget <= 0 or rng.random() >= chance:
            return
        self._budget -= 1
        self.troubles += 1
        kind = rng.random()
        if kind < 0.25:
            self.excuses.add("frozen")
            await asyncio.sleep(rng.choice((12.0, 100.0, 300.0)))
        elif kind < 0.5:
            self.excuses.add("died")
            raise Died
        else:
            self._break(place, done=done)

    def _break(self, place: str, *, done: bool) -> None:
        head = place.split(" ", maxsplit=1)[0]
        errors = _ERRORS.get(head) or _ERRORS.get(head.split(".")[0], ())
        if not errors or head in {"vendor.create", "broker.ack"}:
            return
        if head != "broker.publish":
            self.excuses.add("errors")
        error = self.rng.choice(errors)()
        raise error

    def _check_promotion(self, target: str) -> None:
        verdict = self._verdict()
        if verdict is None:
            self.wrong.append(f"{target} was promoted before any verdict")
        elif verdict.status != "success" or target not in {item.target for item in verdict.manifest}:
            self.wrong.append(f"{target} is not of the verdict")

    def _records(self) -> RunRecords:
        return RunRecords(self.harness.ledger.objects._stored, self.run)

    def _verdict(self) -> Verdict | None:
        found = self._records().read(Verdict.at())
        return found[0] if found else None

    # ---- workers ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Several workers, until no message is stored and no worker is busy."""
        taking: asyncio.Task[tuple[Delivery, WireConsumer]] | None = None
        while self.harness.wire.open or self._running:
            if taking is None and len(self._running) < _WORKERS + 4:
                taking = asyncio.create_task(self.harness.take(), name="taking")
            waiting: set[asyncio.Task[Any]] = {*self._running, *([taking] if taking else [])}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._running if task.done()]:
                self._running.discard(task)
                task.result()
            if taking is not None and taking.done():
                self._dispatch(*taking.result())
                taking = None
        if taking is not None:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    def _dispatch(self, delivery: Delivery, consumer: WireConsumer) -> None:
        self.deliveries += 1
        assert self.deliveries < _MOST, f"endless: {self.harness.reported[-20:]}"
        self._start(self._handle(delivery, consumer))

    def _start(self, work: Any) -> None:
        self._running.add(asyncio.create_task(work))

    async def _handle(self, delivery: Delivery, consumer: WireConsumer) -> None:
        harness, rng = self.harness, self.rng
        _BEGAN.set(wall())
        if rng.random() < self._chance:
            # Another machine, with another clock.
            harness.jump = rng.choice((0.0, rng.uniform(-1.9, 1.9), rng.uniform(-1.9, 1.9), rng.uniform(-40, 40)))
        injector = rng.random() if self._budget > 0 else 1.0
        if injector < 0.03:
            self.excuses.add("a message is lost")
            await harness.wire.lose(delivery, consumer)
            return
        if injector < 0.12:
            await harness.wire.slip_in(delivery.topic, delivery.payload, rng.choice((0.0, rng.uniform(0, 60))))
        if 0.09 < injector < 0.15:
            self.excuses.add("given to a second holder")
            await asyncio.gather(self.harness.run(delivery, consumer), self.harness.run(delivery, consumer))
        else:
            await self.harness.run(delivery, consumer)
        if 0.15 < injector < 0.20:
            self.excuses.add("an ack is lost")
            await asyncio.sleep(rng.uniform(0, 100))
            _BEGAN.set(wall())
            await self.harness.run(delivery, consumer)

    # ---- the end ---------------------------------------------------------------------------------------------------

    async def _fair_end(self) -> None:
        """No further fault; the event comes again if it must, and the sweep comes by while the backend waits."""
        for _ in range(_SWEEPS):
            if self.harness.state(self.run)[0] != "pending":
                break
            await asyncio.sleep(_SWEEP_EVERY)
            await self._sweep()
            await self._work()

    async def _judge_liveness(self) -> None:
        """Crashes and errors alone need no sweep.

        It is needed for what a broker lost, after a dead-letter record that left the run as it was, and for a cancel's
        wake that failed before any other message was there.
        """
        if {"a message is lost", "a cancel"} & self.excuses:
            return
        if not any(letter["verdict"] == "leave" for letter in await self.harness.dead_letters()):
            assert self.harness.state(self.run)[0] != "pending", "without the sweep it would wait for ever"

    async def _judge(self) -> None:
        harness, run = self.harness, self.run
        assert not self.wrong, self.wrong
        assert not harness.wire.open
        verdict = await harness.verdict(run)
        assert verdict.status == "success" or self.excuses, f"failed without a reason: {verdict.code}"
        if verdict.code == Code.TIMEOUT:
            # The deadline of basic_clean ends before any sweep looks.
            late = self.kind == "basic_clean" or "a straggler" in self.excuses
            assert self.troubles >= _PLENTY or late, "it hung until its deadline"
        reported = "success" if verdict.status == "success" else "failed"
        heard = set(harness.heard(run))
        assert heard == {reported}, f"callbacks {heard}, verdict {verdict.status}"
        assert harness.state(run) == (reported, 1, int(reported == "failed"))
        assert await harness.outputs(run) == sorted(item.target for item in verdict.manifest)
        if reported == "failed":
            assert not verdict.manifest
        else:
            each = 1 if self.kind == "basic_clean" else self.sale.count
            assert len(verdict.manifest) % each == 0
            assert verdict.manifest
        await self._judge_money()
        await self._judge_jobs()

    async def _judge_money(self) -> None:
        refused: Counter[int] = Counter()
        for name, record in (await self.harness.records(self.run)).items():
            found = parse_name(name)
            refused[found.slot if found else 0] += name.endswith("-end") and record["how"] == "not_accepted"
        vendor = self.harness.vendor
        paid = Counter(_slot_of(job.webhook) for job in vendor.jobs.values())
        sent = Counter(_slot_of(request.webhook) for request in vendor.requests)
        assert not {slot for slot, jobs in paid.items() if jobs > 1}, f"paid {vendor.paid}"
        assert not {slot for slot, posts in sent.items() if posts > 1 + refused[slot]}, f"sent {sent}"

    async def _judge_jobs(self) -> None:
        """No job with a known id still runs at the vendor."""
        good = {slot for slot, end in self._records().ends().items() if end.good}
        success = (await self.harness.verdict(self.run)).status == "success"
        for name, record in (await self.harness.records(self.run)).items():
            found = parse_name(name)
            if found and name.endswith("-id") and not (success and found.slot in good):
                job = self.harness.vendor.jobs[record["job"]]
                assert not job.working, f"{job.id} goes on"


def _slot_of(webhook: str) -> int:
    path = parse_path(urlsplit(webhook).path)
    assert path is not None
    return path.slot
