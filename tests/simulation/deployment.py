"""A whole deployment in one process: buckets, broker, vendors and backend, and the machines that share them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

from consumers.engine.engine import Engine
from consumers.engine.outcomes import Outcome
from consumers.engine.pauses import Pauses
from consumers.engine.stage import StageFunction
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.pump import Pump, groups_in
from consumers.runners.worker import reserve_of
from consumers.stages.table import STAGES
from messages.codec import Message, try_decode
from messages.errors import InvalidMessage, ScfWorkersError
from messages.topics import Topic
from recipes.recipe import Recipe
from sandbox.cos.ci.pictures import Picture
from services.backend import Backend
from services.fetch import Fetcher
from services.objects.memory import MemoryObjects
from services.objects.port import Content, Result
from services.vendors.registry import Vendors
from tasks.calls.identity import CallIdentities
from tasks.calls.webhook_paths import Webhooks
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from tasks.run import Task
from tasks.topics import topics_of
from telemetry.secrets import Secret
from tests.engine.fault_injector import FaultInjector
from tests.engine.standins import FILES_HOST, Files, InstantVendor
from tests.engine.virtual import wall
from tests.simulation.events import CURRENT, Doing, Timeline
from tests.simulation.faults import Chaos
from tests.simulation.guarded import GuardedVendor, client_of
from tests.simulation.machines import Gone, Graveyard, Machine
from tests.simulation.oracle import Oracle
from tests.simulation.queue import Entry, MachineBroker, Queue
from tests.simulation.script import GUARDED, INSTANT, POSES, RECIPES, RUNNINGHUB, UPLOAD_LIMIT_S, Script
from tests.simulation.standins import BackendClient, BackendState, Vendor, VendorClient
from transport import open_broker
from transport.port import Consumer, Delivery

T = TypeVar("T")

BUCKET: Final = "photos-1250000000"
WEBHOOK_URL: Final = "https://hooks.example"
SECRET: Final = Secret("a secret that is long enough for tickets and paths")
_FUNCTION_LIMIT_S: Final = 170.0
_BACK_AFTER_S: Final = 5.0
_SKEWS: Final = (0.0, 0.0, 1.5, -1.5, 30.0, -30.0, 600.0, -600.0)


class Deployment:
    """Everything that is shared; to be entered on a `VirtualLoop`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.timeline = Timeline()
        self.graveyard = Graveyard()
        self.objects: dict[str, Content] = {}
        self.records: dict[str, Content] = {}
        self.backend = BackendState()
        self.vendors = {
            RUNNINGHUB: Vendor(RUNNINGHUB, POSES, script.room),
            INSTANT: Vendor(INSTANT, RECIPES["instant_pose"].count, script.room, instant=True),
        }
        self.guarded = GuardedVendor(GUARDED, script.room)
        self.vendors[GUARDED] = self.guarded
        self.webhooks = Webhooks(WEBHOOK_URL, SECRET)
        self.identities = CallIdentities("simulated", SECRET)
        self.policy = Policy(
            ticket_required=True, ticket_secret=SECRET, upload_limit_s=UPLOAD_LIMIT_S, vendor_full_pause_s=30.0
        )
        self.deliveries = 0
        self.oracle = Oracle(self.records, self.objects, self.vendors, self.backend, self.timeline)
        self._users = {sold.id: sold.user for sold in script.tasks}
        self._violations = {sold.id for sold in script.tasks if sold.violation}
        self._blocked = {(sold.id, f"frame_{sold.blocked:02d}.jpg") for sold in script.tasks if sold.blocked}
        self._numbers = itertools.count(1)
        self._downloads = itertools.count(1)
        self._spawned: dict[asyncio.Task[Any], None] = {}
        self._functions: dict[str, tuple[Machine, Services]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        inner = await open_broker("sqlite:///:memory:", clock=wall)
        self._stack.push_async_callback(inner.close)
        self.queue = Queue(inner, self.timeline, self.spawn)
        self.queue.on_acked = self._acked
        self.chaos = Chaos(self.script, self.oracle, self.timeline, self.queue)
        self.chaos.kill = self.kill
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.graveyard.end()
        for task in self._spawned:
            task.cancel()
        await asyncio.gather(*self._spawned, return_exceptions=True)
        me = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not me and task.get_name() != "sqlite-broker"]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._stack.aclose()
        self.backend.book.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Start something that belongs to the deployment as such."""
        task = asyncio.create_task(work)
        self._spawned[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._spawned.pop(task, None)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Gone):
            self.oracle.report("defect", "", f"{type(error).__name__}: {error}")

    # ---- machines ------------------------------------------------------------------------------------------------

    def machine(self, role: str) -> Machine:
        """A new process."""
        skew = self.script.rng.choice(_SKEWS) if "clock" in self.script.families else 0.0
        machine = Machine(f"{role}.{next(self._numbers)}", skew, self.timeline, self.graveyard, self.chaos)
        self.timeline.add(machine.name, f"starts{f', its clock {skew:+.1f} s' if skew else ''}")
        return machine

    def kill(self, machine: Machine, noticed_after: float = 0.0) -> None:
        """End a process; its broker notices at once, or when a keep-alive is missed."""
        machine.end()
        asyncio.get_running_loop().call_later(noticed_after, self.queue.give_up, machine)

    def services(self, machine: Machine, recipes: Mapping[str, Recipe] = RECIPES) -> Services:
        """Parts of one process: clients, a cache, a clock, randomness."""
        numbers = itertools.count(1)
        rng = random.Random(f"{self.script.seed} {machine.name}")
        objects = _Bucket(bucket=BUCKET, clock=wall, process=_painted, audit=self._audit)
        records = MemoryObjects(bucket="ledger-1250000000", clock=wall)
        for store, shared, name in ((objects, self.objects, "objects"), (records, self.records, "ledger")):
            store._stored = shared
            store.faults = machine.of(name)
        instant = self.vendors[INSTANT]
        files = Files(cast("FaultInjector", machine))
        files._numbers = self._downloads
        fetcher = Fetcher(
            allowed_hosts=frozenset({FILES_HOST}),
            max_bytes=1 << 24,
            timeout=30.0,
            resolve=files.resolve,
            transport=files.transport,
        )
        return Services(
            broker=MachineBroker(self.queue, machine),
            objects=objects,
            bucket=BUCKET,
            ledger=Ledger(records, clock=machine.now, nonce=lambda: f"{machine.name}-{next(numbers)}", rng=rng),
            backend=cast("Backend", BackendClient(machine, self.backend)),
            vendors=Vendors(
                (
                    VendorClient(machine, self.vendors[RUNNINGHUB]),
                    InstantVendor(VendorClient(machine, instant), instant.count),
                    client_of(machine, self.guarded),
                )
            ),
            fetcher=fetcher,
            policy=self.policy,
            webhooks=self.webhooks,
            identities=self.identities,
            recipes=recipes,
            clock=machine.now,
            rng=rng,
        )

    async def call(self, name: str, doing: Doing, work: Callable[[Services], Coroutine[Any, Any, T]]) -> T | None:
        """One call of a function, in its warm process if there is one.

        Returns:
            Its answer; None where it raised an error of ours, died, or took too long.
        """
        machine, services = self._functions.get(name) or (None, None)
        if machine is None or services is None or not machine.alive:
            machine = self.machine(name)
            services = self.services(machine)
            self._functions[name] = machine, services
        token = CURRENT.set(doing)
        try:
            task = asyncio.create_task(work(services))
            self._spawned[task] = None
        finally:
            CURRENT.reset(token)
        ends: set[asyncio.Future[Any]] = {task, machine.died}
        await asyncio.wait(ends, timeout=_FUNCTION_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        self._spawned.pop(task, None)
        if not task.done():
            self.kill(machine)
            return None
        try:
            return task.result()
        except ScfWorkersError as error:
            self.timeline.add(machine.name, f"raises {type(error).__name__}", task=doing.task, label=doing.label)
            return None

    def watched(self, work: StageFunction) -> StageFunction:
        """A stage whose defects are noticed: what it raises beside errors of the product's tree."""

        async def watch(message: Message, task: Task | None, services: Services) -> Outcome:
            try:
                return await work(message, task, services)
            except (ScfWorkersError, TimeoutError):
                raise
            except Exception as error:
                self.oracle.report("defect", message.header.task, f"{message.header.stage} raised {error!r}")
                raise

        return watch

    def _audit(self, key: str, body: bytes) -> Result:
        bad = any(f"/{task}/" in key for task in self._violations)
        bad = bad or any(f"/{task}/" in key and key.endswith(name) for task, name in self._blocked)
        return Result(violation=bad, suspect=False, label="Porn" if bad else "Normal", score=95 if bad else 0)

    def _acked(self, _: Machine, entry: Entry) -> None:
        left = [one for one in self.queue.open.values() if one.task == entry.task]
        self.oracle.see_ack(self._users.get(entry.task, ""), entry, left)


class _Bucket(MemoryObjects):
    """A vendor whose links a client takes."""

    async def presign(self, key: str, *, expires: int, method: str = "GET") -> str:
        return f"https://cos.example/{await super().presign(key, expires=expires, method=method)}"


class WatchedEngine(Engine):
    """Notes what a machine works on."""

    machine: Machine
    deployment: Deployment

    async def run_one(
        self, delivery: Delivery, consumer: Consumer, message: Message | InvalidMessage | None = None
    ) -> None:
        """As the engine."""
        with _Work(self.machine, self.deployment, delivery):
            await super().run_one(delivery, consumer, message)

    async def throttle(
        self, delivery: Delivery, consumer: Consumer, message: Message, delay: float, why: str = ""
    ) -> bool:
        """As the engine."""
        with _Work(self.machine, self.deployment, delivery, " throttled"):
            return await super().throttle(delivery, consumer, message, delay, why)


class _Work:
    """Something that a machine does with a message."""

    def __init__(self, machine: Machine, deployment: Deployment, delivery: Delivery, what: str = "") -> None:
        message = try_decode(delivery.payload)
        header = None if isinstance(message, InvalidMessage) else message.header
        label = f"{header.stage}-{header.seq}{what}" if header else "unreadable"
        why = getattr(getattr(message, "body", None), "why", "")
        began = asyncio.get_running_loop().time()
        task = header.task if header else ""
        self.doing = Doing(label, task, delivery.message_id, sweep=why == "sweep", began=began)
        self._begins = f"begins {label}, attempt {header.attempt}{f', {why}' if why else ''}" if header else label
        self._machine = machine
        deployment.deliveries += 1

    def __enter__(self) -> None:
        self._token = CURRENT.set(self.doing)
        self._machine.at_work[self.doing] = None
        self._machine.timeline.did(self._machine.name, self._begins)

    def __exit__(self, *_: object) -> None:
        self._machine.at_work.pop(self.doing, None)
        CURRENT.reset(self._token)


class Worker:
    """A pump that is started again whenever its process has ended.

    Args:
        deployment: where it works.
        name: for the timeline.
        recipes: what its build knows.
        dead_letters: whether it takes the dead letters; else it takes all the rest.
    """

    def __init__(
        self, deployment: Deployment, name: str, recipes: Mapping[str, Recipe] = RECIPES, *, dead_letters: bool = False
    ) -> None:
        self.name = name
        self.recipes = recipes
        self._deployment = deployment
        self._dead_letters = dead_letters
        self._retired = False

    def start_process(self) -> None:
        """Begin a new process."""
        self.machine = self._deployment.machine(self.name)
        services = self._deployment.services(self.machine, self.recipes)
        script = self._deployment.script
        self.pauses = Pauses(asyncio.get_running_loop().time)
        stages = {stage: self._deployment.watched(work) for stage, work in STAGES.items()}
        engine = WatchedEngine(services, stages, self.pauses)
        engine.machine, engine.deployment = self.machine, self._deployment
        self.dispatcher = Dispatcher(engine, user_cap=script.user_cap)
        self.pump = Pump(
            services.broker,
            self.dispatcher,
            self.pauses,
            groups=groups_in([topic for topic in topics_of(self.recipes) if self._takes(topic)]),
            concurrency=script.concurrency,
            grace=30.0,
            reserve=reserve_of(services),
        )
        self.topics = frozenset(topic.name for topic in topics_of(self.recipes) if self._takes(topic))

    def _takes(self, topic: Topic) -> bool:
        normal = self._deployment.script.all_topics or not topic.name.replace("-workers-DLQ", "").endswith(
            ("-high", "-low")
        )
        return normal and (topic.subscription == "failure") is self._dead_letters

    async def run(self) -> None:
        """Work until the history is over, or until it is retired."""
        while not self._retired:
            self.start_process()
            await self._run_process()
            await asyncio.sleep(_BACK_AFTER_S)

    async def _run_process(self) -> None:
        machine = self.machine
        task = asyncio.create_task(self.pump.run())
        self._deployment._spawned[task] = None
        await asyncio.wait({task, machine.died}, return_when=asyncio.FIRST_COMPLETED)
        self._deployment._spawned.pop(task, None)
        if task.done() and (error := task.exception()):
            self._deployment.timeline.add(machine.name, f"ends with {type(error).__name__}: {error}")
            if not isinstance(error, ScfWorkersError):
                self._deployment.oracle.report("defect", "", f"a pump ended with {type(error).__name__}: {error}")
        self._deployment.kill(machine)

    async def redeploy(self, recipes: Mapping[str, Recipe] | None = None, *, retire: bool = False) -> None:
        """End the process as a platform does: SIGTERM, then SIGKILL."""
        self.recipes = self.recipes if recipes is None else recipes
        self._retired = retire
        machine = self.machine
        self._deployment.timeline.fault("redeploy", machine.name)
        self._deployment.chaos.blame(machine)
        self.pump.stop()
        await asyncio.wait({machine.died}, timeout=60.0)
        self._deployment.kill(machine)

    def idle(self, now: float, seconds: float) -> bool:
        """True if it had room for any message all that time."""
        machine = self.machine
        if not machine.alive or machine.frozen or self.dispatcher.busy:
            return False
        awake = now - machine.awake_since
        return min(self.pump.open_s, self.dispatcher.idle_s, awake) > seconds


def _painted(body: bytes, rule: str) -> Picture:
    """No picture service at all: for thousands of histories."""
    return Picture(body + rule.encode(), "jpeg", 8, 8)
