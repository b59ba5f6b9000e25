"""One seed's history of a whole deployment: clients, machines and faults, until all is done; then it is judged."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import msgspec

from messages.keys import RunId
from producer.cos_trigger import take_event
from producer.sweep import Swept, sweep
from producer.webhook import take_call
from services.objects.memory import MemoryObjects
from tasks.accepting.tickets import Ticket, digest, issue
from tasks.context import Services
from tasks.ending.cancel import cancel_task
from tests.engine.standins import JPEG, ScriptedJob
from tests.engine.virtual import VirtualLoop, wall
from tests.simulation.deployment import BUCKET, SECRET, WEBHOOK_URL, Deployment, Worker
from tests.simulation.events import Doing
from tests.simulation.oracle import Violation
from tests.simulation.script import GUARDED, INSTANT, RECIPES, UPLOAD_LIMIT_S, Script, Sold, write_script
from tests.simulation.standins import Slot, slot_of

_SWEEP_EVERY_S: Final = 180.0
_LOOK_EVERY_S: Final = 5.0
_IDLE_S: Final = 10.0
"""Seconds that a message may be due while a worker has nothing to do."""
_AFTER_S: Final = 3 * 3600.0
"""Seconds after the last deadline until what is stored still counts as stuck."""
_MOST_CALLS: Final = 100
"""Calls of a slot, most of them refused because the vendor is full."""
_MOST: Final = 600
"""Deliveries of one slot after which a history is taken for endless."""


@dataclass
class Report:
    """Result of one history."""

    seed: int
    script: str
    violations: list[Violation]
    deployment: Deployment
    virtual_s: float
    tasks: int
    faults: Counter[str]
    verdicts: Counter[str] = field(default_factory=Counter)
    refunds: int = 0
    paid: int = 0


def play(seed: int) -> Report:
    """Play a seed's history from its beginning to its judgement."""
    history = History(write_script(seed))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, __: None)
        return runner.run(history.play())


class History:
    """See the module."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._rng = script.rng

    async def play(self) -> Report:
        """Play it, and judge."""
        script = self.script
        async with Deployment(script) as deployment:
            self.deployment = deployment
            deployment.queue.knows_dead_holders = script.knows_dead_holders
            self._client = MemoryObjects(bucket=BUCKET, clock=wall)
            self._client._stored = deployment.objects
            for vendor in deployment.vendors.values():
                vendor.counts = {sold.id: RECIPES[sold.kind].count for sold in script.tasks}
                for sold in script.tasks:
                    slots = [Slot(sold.id, number) for number in range(1, len(sold.plans) + 1)]
                    vendor.plans |= dict(zip(slots, sold.plans, strict=True))
                    vendor.answers |= {slot: list(each) for slot, each in zip(slots, sold.answers, strict=True)}
                vendor.on_accept = self._job_accepted
            self._introduce_calls()
            self._start_workers()
            deployment.chaos.write_windows()
            for sold in script.tasks:
                deployment.spawn(self._buy(sold))
            deployment.spawn(self._sweep_for_ever())
            self._disturb()
            await self._watch()
            return self._judge()

    def _introduce_calls(self) -> None:
        """Map each call's identity to its call, for the vendor that gets only identities."""
        deployment = self.deployment
        for sold in self.script.tasks:
            if RECIPES[sold.kind].vendor != GUARDED:
                continue
            run = RunId(sold.user, sold.id)
            deployment.guarded.lags[Slot(sold.id, 1)] = sold.lag
            for n in range(1, _MOST_CALLS + 1):
                identity = deployment.identities.of(run, 1, n)
                deployment.guarded.calls[identity] = deployment.webhooks.url(GUARDED, run, 1, n)

    def _start_workers(self) -> None:
        deployment, script = self.deployment, self.script
        old = {kind: recipe for kind, recipe in RECIPES.items() if recipe.vendor != INSTANT}
        self.workers = [Worker(deployment, f"w{n}") for n in range(1, script.workers + 1)]
        if "build" in script.families:
            self.workers[0].recipes = old
            self._later(script.calm_at * 0.8, lambda: self.workers[0].redeploy(RECIPES))
        self.workers.append(Worker(deployment, "failure", dead_letters=True))
        for worker in self.workers:
            deployment.spawn(worker.run())

    # ---- clients -------------------------------------------------------------------------------------------------

    def _later(self, delay: float, act: Callable[[], Awaitable[object]]) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay)
            await act()

        if not math.isinf(delay):
            self.deployment.spawn(wait())

    async def _buy(self, sold: Sold) -> None:
        await asyncio.sleep(sold.at)
        self.deployment.backend.book.sell(sold.user, sold.id, 0, sold.kind, _json(sold.params), wall())
        self.deployment.timeline.add("client", f"{sold.user} buys {sold.kind}", task=sold.id)
        self._later(sold.cancel_after, lambda: self._cancel(sold))
        self._later(sold.backend_cancel_after, lambda: self._cancel_at_backend(sold))
        self._later(sold.forget_after, lambda: self._forget(sold))
        if math.isinf(sold.upload_after):
            return
        await asyncio.sleep(sold.upload_after)
        await self._upload(sold, b"")
        self._later(sold.replaced_after, lambda: self._upload(sold, b" another photo"))
        for delay in sold.events:
            self._later(delay, lambda: self._event(sold))

    async def _upload(self, sold: Sold, more: bytes) -> None:
        ticket = Ticket(
            user=sold.user,
            task=sold.id,
            step=0,
            kind=sold.kind,
            params_digest=digest(sold.params),
            expires=int(wall()) + 3600,
            priority=cast("Literal['high', 'normal', 'low']", sold.priority.name.lower()),
        )
        meta = {"kind": sold.kind, "params": _json(sold.params), "ticket": issue(ticket, SECRET)}
        await self._client.put(f"input/{sold.user}/{sold.id}/original.jpg", JPEG + sold.id.encode() + more, meta=meta)
        self.deployment.timeline.add("client", f"uploads the photo{more.decode()}", task=sold.id)

    async def _event(self, sold: Sold) -> None:
        """The platform calls the trigger, and repeats a call that failed."""
        bucket, _, appid = BUCKET.rpartition("-")
        key = f"/{appid}/{bucket}/input/{sold.user}/{sold.id}/original.jpg"
        record = {
            "event": {"eventName": "cos:ObjectCreated:Put"},
            "cos": {"cosObject": {"key": key}, "cosBucket": {"name": bucket, "appid": appid}},
        }
        for pause in (60.0, 60.0, 0.0):
            doing = Doing("trigger", sold.id)
            if await self.deployment.call("trigger", doing, lambda out: take_event({"Records": [record]}, out)):
                return
            await asyncio.sleep(pause)

    async def _cancel(self, sold: Sold) -> None:
        """Cancel a task, and try again if that fails."""
        self.deployment.timeline.fault("cancel", "client", sold.id)
        run = RunId(sold.user, sold.id)
        for _ in range(100):
            if await self.deployment.call("cli", Doing("cancel", sold.id), lambda out: cancel_task(run, out)):
                return
            await asyncio.sleep(10)

    async def _cancel_at_backend(self, sold: Sold) -> None:
        self.deployment.timeline.fault("cancel at the backend", "backend", sold.id)
        self.deployment.backend.book.cancel(sold.id)

    async def _forget(self, sold: Sold) -> None:
        if self.deployment.backend.forget(sold.id):
            self.deployment.oracle.excuses[sold.id].add("forgot")
            self.deployment.timeline.fault("backend forgets", "backend", sold.id)

    # ---- the vendor calls ----------------------------------------------------------------------------------------

    def _job_accepted(self, job: ScriptedJob) -> None:
        task = slot_of(job.webhook).task
        self.deployment.timeline.add("vendor", f"accepts {job.id}", task=task)
        sold = next(sold for sold in self.script.tasks if sold.id == task)
        if job.plan.within > _AFTER_S:
            return
        for delay in sold.webhooks:
            self._later(max(0.0, job.plan.within + delay), lambda: self._webhook(task, job.webhook, job.id))

    async def _webhook(self, task: str, url: str, job: str) -> None:
        """The vendor calls, up to three times."""
        event = {
            "httpMethod": "POST",
            "path": url.removeprefix(WEBHOOK_URL),
            "headers": {},
            "body": msgspec.json.encode({"event": "TASK_END", "taskId": job, "eventData": "{}"}).decode(),
        }
        for _ in range(3):
            answer = await self.deployment.call("webhook", Doing("webhook", task), lambda out: take_call(event, out))
            if answer and answer["statusCode"] != 503:
                return
            await asyncio.sleep(30)

    async def _forge(self) -> None:
        """Forge webhook calls: a wrong path, or a right one with another task's job."""
        jobs = list(self.deployment.vendors["runninghub"].jobs.values())
        if not jobs:
            return
        mine, other = self._rng.choice(jobs), self._rng.choice(jobs)
        url = mine.webhook if self._rng.random() < 0.6 else mine.webhook[:-4] + "0000"
        self.deployment.timeline.fault("forged webhook", "stranger", f"{other.id} for {slot_of(mine.webhook).task}")
        await self._webhook(slot_of(mine.webhook).task, url, other.id)

    # ---- what disturbs -------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        rng, script, chaos = self._rng, self.script, self.deployment.chaos
        calm = script.calm_at
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "crash": self._crash_one,
            "freeze": self._freeze_one,
            "broker": lambda: chaos.restart_broker(rng.choice((1.0, 15.0, 60.0))),
            "backend": self._slow_backend,
            "vendor": self._forgetful_vendor,
            "webhook": self._forge,
            "deploy": self._redeploy_one,
        }
        for family, act in acts.items():
            for _ in range(rng.choice((0, 1, 1, 3)) if family in script.families else 0):
                self._later(rng.uniform(0, calm), act)

    async def _crash_one(self) -> None:
        worker = self._rng.choice(self.workers)
        if worker.machine.alive:
            self.deployment.chaos.crash(worker.machine)

    async def _freeze_one(self) -> None:
        worker = self._rng.choice(self.workers)
        if worker.machine.alive:
            self.deployment.chaos.freeze(worker.machine, self._rng.choice((20.0, 100.0, 400.0)))

    async def _slow_backend(self) -> None:
        seconds = self._rng.choice((30.0, 200.0))
        self.deployment.timeline.fault("slow backend", "backend", f"{seconds:.0f} s")
        self.deployment.backend.slow_until = asyncio.get_running_loop().time() + seconds

    async def _forgetful_vendor(self) -> None:
        seconds = self._rng.choice((20.0, 200.0))
        self.deployment.timeline.fault("forgetful vendor", "vendor", f"{seconds:.0f} s")
        for vendor in self.deployment.vendors.values():
            vendor.forgets_until = asyncio.get_running_loop().time() + seconds

    async def _redeploy_one(self) -> None:
        await self._rng.choice(self.workers).redeploy()

    async def _sweep_for_ever(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, _SWEEP_EVERY_S))
        while True:
            self.deployment.spawn(self._sweep())
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        async def turn(out: Services) -> Swept:
            return await sweep(out)

        await self.deployment.call("sweep", Doing("sweep"), turn)

    # ---- until all is done ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Wait until every task is over and no message is stored."""
        deployment, script = self.deployment, self.script
        last = max(sold.at + max(RECIPES[sold.kind].deadline_s, 2 * UPLOAD_LIMIT_S) for sold in script.tasks)
        end = max(last + 600.0, script.calm_at) + _AFTER_S
        calmed = False
        while (now := asyncio.get_running_loop().time()) < end:
            await asyncio.sleep(_LOOK_EVERY_S)
            if deployment.chaos.calm and not calmed:
                calmed = True
                self._calm()
            self._look_for_idlers(now)
            if deployment.deliveries > _MOST * sum(len(sold.plans) for sold in script.tasks):
                deployment.oracle.report("endless", "", f"{deployment.deliveries} deliveries")
                return
            if not deployment.queue.open and all(self._is_over(sold) for sold in script.tasks):
                return
        for entry in deployment.queue.open.values():
            deployment.oracle.report("stuck", entry.task, f"{entry.words} on {entry.topic} is stored for ever")

    def _is_over(self, sold: Sold) -> bool:
        run = RunId(sold.user, sold.id)
        done = self.deployment.oracle.is_delivered(run) and self.deployment.backend.status(sold.id) != "pending"
        return done and not self._to_come(sold)

    def _to_come(self, sold: Sold) -> bool:
        """True if its script has more for it."""
        now = asyncio.get_running_loop().time()
        after = [each for each in (sold.forget_after, sold.backend_cancel_after) if not math.isinf(each)]
        return any(now < sold.at + each for each in after)

    def _calm(self) -> None:
        """End the faults."""
        deployment = self.deployment
        deployment.timeline.add("", "all is calm from now on")
        deployment.backend.slow_until = 0.0
        for vendor in deployment.vendors.values():
            vendor.forgets_until = 0.0
        for worker in self.workers:
            worker.machine.thaw()

    def _look_for_idlers(self, now: float) -> None:
        """Check that no message is due while a worker of its topic is idle."""
        queue = self.deployment.queue
        if queue.down or now - queue.up_since < 2 * _IDLE_S:
            return
        for entry in queue.open.values():
            # One that is received while it is being stored has no holder yet.
            held = entry.holder or any(entry.id in consumer.held for consumer in queue.consumers)
            if held or now - entry.due < _IDLE_S:
                continue
            for worker in self.workers:
                resting = worker.pauses.left(tuple(worker.topics))
                if entry.topic in worker.topics and not resting and worker.idle(now, _IDLE_S):
                    text = f"{entry.words} on {entry.topic} is due for {now - entry.due:.0f} s, and {worker.name} idles"
                    self.deployment.oracle.report("idle", entry.task, text)

    # ---- judgement -----------------------------------------------------------------------------------------------

    def _judge(self) -> Report:
        deployment, script = self.deployment, self.script
        end = asyncio.get_running_loop().time()
        report = Report(
            seed=script.seed,
            script=str(script),
            violations=deployment.oracle.violations,
            deployment=deployment,
            virtual_s=end,
            tasks=len(script.tasks),
            faults=deployment.timeline.faults,
        )
        for sold in script.tasks:
            deployment.oracle.judge(sold, script.calm_at, end)
            deployment.oracle.judge_kills(sold)
            found = deployment.oracle.verdict(RunId(sold.user, sold.id))
            report.verdicts[f"{found[0].status} {found[0].code}".strip() if found else "none"] += 1
        report.refunds = deployment.backend.book.totals()["refunded"]
        report.paid = sum(len(vendor.jobs) for vendor in deployment.vendors.values())
        return report


def _json(params: Mapping[str, Any]) -> str:
    return msgspec.json.encode(params).decode()
