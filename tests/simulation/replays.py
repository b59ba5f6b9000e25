"""Histories of replays: two operators, a backend whose answers are lost, late repeats of an older run, by a seed.

Each begins with tasks that have failed and were refunded. Then operators replay their letters, on the engine's harness
and on virtual time, while processes die, services fail and the backend is away; then faults end, and the quota account,
the visible results and the callbacks are judged.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from messages.bodies import Stage, Wake
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from messages.topics import topic_of
from services.errors import BackendDown, ObjectsDown
from services.vendors.port import JobState
from tasks.dead_letters.plan import Action
from tasks.dead_letters.replay import Request, replay_all
from tasks.dead_letters.selection import Selection, select
from tasks.wakes import LATEST, REDELIVER
from tests.engine.fault_injector import Died
from tests.engine.harness import KEYS, Harness, sketched
from tests.engine.standins import Create, Plan
from tests.engine.virtual import VirtualLoop
from tests.simulation.replay_oracle import Judge
from transport.errors import BrokerDown

__all__ = ["Report", "play"]

_CALM_S: Final = 3000.0
"""Seconds of trouble, from the first replay on: longer than a run's time."""
_END_S: Final = 4 * 3600.0
_SWEEP_S: Final = 180.0
_AT_ONCE: Final = 3
_ERRORS: Final[tuple[tuple[str, Callable[[], Exception]], ...]] = (
    ("ledger.", lambda: ObjectsDown("503")),
    ("broker.publish", lambda: BrokerDown("no receipt")),
    ("backend.", lambda: BackendDown("no answer")),
)
"""Beginning of an effect's place -> errors that may be raised there."""


@dataclass
class Report:
    """Result of one history."""

    seed: int
    tasks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def play(seed: int) -> Report:
    """Play a seed's history from its beginning to its judgement."""

    async def history() -> Report:
        async with Harness(seed=seed, paint=sketched) as harness:
            return await _History(seed, harness).play()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, __: None)
        return runner.run(history())


class _History:
    def __init__(self, seed: int, harness: Harness) -> None:
        self._rng = random.Random(seed)
        self._harness = harness
        self._report = Report(seed)
        self._runs: list[RunId] = []
        self._budget = self._rng.choice((0, 3, 8, 20))
        self._rate = self._rng.choice((0.005, 0.02, 0.06))
        self._away: tuple[float, float] = (0.0, 0.0)
        """When the backend answers no question about reopening."""
        self._arrives = self._rng.random() < 0.5
        """True if those requests take effect all the same."""
        self._working: set[asyncio.Task[None]] = set()
        self._started = 0.0

    async def play(self) -> Report:
        """Play it, and judge."""
        await self._fail()
        self._started = self._now()
        self._plan_absence()
        judge = Judge(self._harness, self._runs, self._report.ends)
        self._harness.injector.hook = self._meddle
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._work())
            sweeps = group.create_task(self._sweep())
            others = [group.create_task(self._others(run)) for run in self._runs]
            await asyncio.gather(*(self._operate(name) for name in ("amara", "chen")))
            await self._until_quiet()
            for task in (work, sweeps, *others):
                task.cancel()
        self._harness.injector.hook = None
        self._report.violations = await judge.judge()
        return self._report

    async def _fail(self) -> None:
        """Sell tasks whose first run fails, and is refunded."""
        rng, vendor = self._rng, self._harness.vendor
        self._report.tasks = rng.choice((1, 2, 2, 3, 5))
        for _ in range(self._report.tasks):
            match rng.randrange(3):
                case 0:
                    vendor.creates.append(Create(answer="refused"))
                case 1:
                    vendor.plans.append(Plan(end=JobState.FAILED))
                case _:
                    vendor.plans.append(Plan(files=11))
            self._runs.append(await self._harness.order(user=f"u{rng.randint(1, 3)}"))
            await self._harness.drain(1500)
        # Some fail once more.
        if rng.random() < 0.3:
            vendor.plans.append(Plan(end=JobState.FAILED))

    def _plan_absence(self) -> None:
        rng = self._rng
        if rng.random() < 0.4:
            since = rng.choice((0.0, rng.uniform(0, 60)))
            self._away = (since, since + rng.choice((20.0, 300.0, _CALM_S)))
            self._note("fault", f"reopen is not answered from {self._away[0]:.0f} to {self._away[1]:.0f} s")

    # ---- who acts ------------------------------------------------------------------------------------------------

    async def _operate(self, name: str) -> None:
        """Replay everything; repeat a command that failed, was killed, or began as many runs as its cap allows."""
        rng, harness = self._rng, self._harness
        await asyncio.sleep(rng.choice((0.0, 0.0, rng.uniform(0, 30))))
        request = Request(by=name, rate=rng.choice((0.0, 0.2, 5.0)), most=rng.choice((0, 0, 1, 2)))
        for _ in range(40):
            self._note(name, "replays everything")
            begun = 0
            try:
                cases = await select(Selection(), harness.ledger, harness.out.keys)
                async for step in replay_all(cases, request, harness.out):
                    self._note(name, f"{step.case.letter.id.name}: {step.plan.does} {step.plan.run}")
                    begun += step.plan.does is Action.NEW_RUN
            except (ObjectsDown, BrokerDown, Died) as error:
                self._note(name, f"is stopped by {type(error).__name__}")
                await asyncio.sleep(rng.uniform(1, 20))
            else:
                if not 0 < request.most <= begun:
                    return

    async def _others(self, run: RunId) -> None:
        """Wakes of the older run, late repeats of its callback, and a user who cancels."""
        rng, harness = self._rng, self._harness
        first = next(call for call in harness.backend.heard if call.task == run.task)
        for _ in range(rng.choice((0, 1, 3))):
            await asyncio.sleep(rng.uniform(0, 200))
            if rng.random() < 0.5:
                self._note("sweep", f"{run.task}: deliver run 0 again")
                await self._wake(run, REDELIVER, 0)
            else:
                self._note("network", f"{run.task}: a late repeat of run 0")
                harness.backend.repeat(first)
        if rng.random() < 0.1:
            await asyncio.sleep(rng.uniform(0, 300))
            self._note("user", f"{run.task}: cancels at the backend")
            harness.backend.book.cancel(run.task)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for run in self._runs:
                if self._harness.state(run)[0] == "pending":
                    await self._wake(run, "sweep", LATEST)

    async def _wake(self, run: RunId, why: str, number: int) -> None:
        """Publish a wake; its waker meets no fault."""
        header = new_header(msgspec.structs.replace(run, run=number), Stage.WAKE, self._harness.now())
        await self._harness.wire.slip_in(topic_of(Stage.WAKE), encode(Message(header, Wake(why)), KEYS))

    async def _work(self) -> None:
        """Work on what is due, some messages at the same time."""
        while True:
            if not self._harness.wire.open or len(self._working) >= _AT_ONCE:
                await asyncio.sleep(0.5)
                continue
            try:
                async with asyncio.timeout(30):
                    delivery, consumer = await self._harness.take()
            except TimeoutError:
                continue
            task = asyncio.create_task(self._harness.run(delivery, consumer))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _until_quiet(self) -> None:
        while self._now() - self._started < _END_S:
            await asyncio.sleep(5)
            pending = [run for run in self._runs if self._harness.state(run)[0] == "pending"]
            if self._calm and not pending and not self._harness.wire.open and not self._working:
                return
        self._report.violations.append("it never comes to rest")

    # ---- what goes wrong -----------------------------------------------------------------------------------------

    @property
    def _calm(self) -> bool:
        return self._now() - self._started >= _CALM_S

    async def _meddle(self, place: str, *, done: bool) -> None:
        if self._calm:
            return
        since, until = self._away
        if place.startswith("backend.reopen") and since <= self._now() - self._started < until:
            if done is self._arrives:
                self._fault("reopen unanswered", place)
                raise BackendDown("no answer")
            return
        if self._budget <= 0 or self._rng.random() >= self._rate:
            return
        await self._strike(place)

    async def _strike(self, place: str) -> None:
        error = next((make for head, make in _ERRORS if place.startswith(head)), None)
        self._budget -= 1
        match self._rng.choice(("dies", "error", "error", "waits")):
            case "dies":
                self._fault("crash", place)
                raise Died
            case "error" if error is not None:
                self._fault("error", place)
                raise error()
            case _:
                self._fault("slow", place)
                await asyncio.sleep(self._rng.uniform(0, 8))

    def _fault(self, kind: str, place: str) -> None:
        self._report.faults[kind] += 1
        self._note("fault", f"{kind} at {place}")

    def _note(self, who: str, text: str) -> None:
        self._report.events.append(f"{self._now() - self._started:8.1f}  {who:8} {text}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
