"""All external services in one process on virtual time, and an engine that is driven delivery by delivery."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import io
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, cast

import msgspec
from PIL import Image

from consumers.engine.engine import Engine
from consumers.engine.pauses import Pauses
from consumers.stages.table import STAGES
from messages.bodies import Body, Stage, Wake
from messages.codec import SCHEMA, Header, Message, Priority, decode, encode
from messages.errors import InvalidMessage, Permanent
from messages.keys import InputKey, RunId, record_key, staging_prefix
from messages.signing import MessageKey, MessageKeys
from messages.topics import FAILURE, WORKERS, dead_letter_topic, topic_of
from recipes.recipe import Recipe
from recipes.table import RECIPES
from sandbox.cos.ci.pictures import Picture, process
from sandbox.cos.errors import BadPicture as NoPicture
from sandbox.cos.errors import UnknownOperation
from services.backend import Backend
from services.errors import BadPicture, BadVideo
from services.fetch import Fetcher
from services.media.types import HEAD, type_of
from services.objects.memory import MemoryObjects
from services.objects.port import Result, VideoInfo, VideoLabel
from services.vendors.chat import ChatModel
from services.vendors.port import Vendor, VendorKey
from services.vendors.registry import Vendors
from tasks.accepting.accept import Taken, take_in
from tasks.accepting.tickets import Ticket, digest, issue
from tasks.calls.lines import VendorLines
from tasks.calls.webhook_paths import Webhooks
from tasks.context import Policy, Services
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import ManifestItem, Verdict
from tasks.topics import WORK_TOPICS
from telemetry import points
from telemetry.secrets import Secret
from tests.engine.chat import ScriptedChat, judged
from tests.engine.fault_injector import Died, FaultInjector
from tests.engine.standins import FILES_HOST, JPEG, Files, ScriptedBackend, ScriptedVendor, Wire, WireConsumer
from tests.engine.virtual import wall
from transport import open_broker
from transport.port import Broker, Consumer, Delivery

USER: Final = "u1"
BUCKET: Final = "photos-1250000000"
WEBHOOKS: Final = Webhooks("https://hooks.example", Secret("a-secret-of-the-webhooks-paths-in-tests"))
KEYS: Final = MessageKeys([MessageKey("t1", b"a key of the messages in tests, 32 bytes")], accept_unsigned=False)
"""Keys of every message in the harness."""
_PATIENCE: Final = 400
"""Deliveries after which a history is taken for endless."""
_LONG: Final = 30 * 86400.0


@functools.cache
def photo() -> bytes:
    """A real picture, small."""
    saved = io.BytesIO()
    Image.linear_gradient("L").resize((48, 32)).convert("RGB").save(saved, "JPEG")
    return saved.getvalue()


def painted(body: bytes, rule: str) -> Any:
    """The stand-in's picture service, with the errors of the port."""
    try:
        return process(body, rule)
    except NoPicture as error:
        raise BadPicture(str(error)) from error
    except UnknownOperation as error:
        raise Permanent(str(error)) from error


def sketched(body: bytes, rule: str) -> Picture:
    """No picture service at all: for thousands of histories."""
    return Picture(JPEG + rule.encode(), "jpeg", 8, 8)


class ScriptedVideos:
    """The stand-in's video service for bytes that only begin as a video does."""

    def info(self, body: bytes) -> VideoInfo:
        if not type_of(body[:HEAD]).startswith("video/") or b"unreadable" in body:
            raise BadVideo("not a video")
        seconds = 90.0 if b"long" in body else 0.0 if b"of unknown length" in body else 4.0
        return VideoInfo("h264", 720, 1280, seconds)

    def still(self, body: bytes, at_s: float) -> bytes:
        self.info(body)
        if b"broken off" in body and at_s > 1.0:
            raise BadVideo("no frame there")
        return photo()

    def labelled(self, body: bytes, label: VideoLabel) -> bytes:
        self.info(body)
        if b"broken off" in body:
            raise BadVideo("no frame there")
        # In a box of free space, so that the file keeps its form.
        words = f"{label.text} {label.letters} {label.seconds:g}".encode()
        return body + (len(words) + 8).to_bytes(4) + b"free" + words


class Harness:
    """The harness; to be entered on a `VirtualLoop`.

    Args:
        recipes: what is sold.
        paint: the picture service.
        seed: of every random choice of the product.
        topics: those that are consumed, with their dead letters; fewer are quicker, and none leaves all to a pump.
        broker: where messages travel; the embedded one in memory if there is none.
    """

    def __init__(
        self,
        *,
        recipes: Mapping[str, Recipe] = RECIPES,
        paint: Callable[[bytes, str], Any] = painted,
        seed: int = 1,
        topics: Sequence[str] = WORK_TOPICS,
        broker: Broker | None = None,
    ) -> None:
        self.injector = FaultInjector()
        self.recipes = recipes
        self.vendor = ScriptedVendor(self.injector, recipes["model_pose12"].count)
        self.vendors: dict[str, Vendor] = {}
        """Vendors whose keys this machine has: one for each key, by a name that the test chooses."""
        self.draining: frozenset[VendorKey] = frozenset()
        self.shares: dict[str, int] = {}
        self.chat = ScriptedChat(self.injector)
        self.chats: dict[str, ChatModel] = {self.chat.name: self.chat}
        self.files = Files(self.injector)
        self.findings: dict[str, Result] = {}
        """End of a key -> what the audit finds there."""
        self.jump = 0.0
        """Seconds by which this machine's wall clock is ahead of all other clocks, also of the monotonic one."""
        self.restart_s = 0.0
        """Seconds until another process stands in for one that died."""
        self.reported: list[str] = []
        """Every delivery that was worked on."""
        self._paint = paint
        self._seed = seed
        self._topics = tuple(topics)
        self._broker = broker
        self._stack = AsyncExitStack()
        self._inbox: deque[tuple[Delivery, WireConsumer]] = deque()
        self._taking: dict[asyncio.Task[Delivery], WireConsumer] = {}
        self._numbers = itertools.count(1)
        self._tasks = itertools.count(1)

    def now(self) -> float:
        """Wall time by this machine's clock, seconds since the epoch."""
        return wall() + self.jump

    async def __aenter__(self) -> Self:
        clock = self.now
        self.data = MemoryObjects(
            bucket=BUCKET,
            clock=wall,
            process=self._paint,
            audit=self._audit,
            audit_text=judged,
            videos=ScriptedVideos(),
        )
        self.data.faults = self.injector.of("objects")
        records = MemoryObjects(bucket="ledger-1250000000", clock=wall, faults=self.injector.of("ledger"))
        inner: Broker = self._broker or await open_broker("sqlite:///:memory:", clock=wall)
        self._stack.push_async_callback(inner.close)
        self.wire = Wire(inner, self.injector)
        self.backend = ScriptedBackend(self.injector)
        self._stack.push_async_callback(self.backend.close)
        fetcher = Fetcher(
            allowed_hosts=frozenset({FILES_HOST}),
            max_bytes=2 << 30,
            timeout=30.0,
            resolve=self.files.resolve,
            transport=self.files.transport,
        )
        self._stack.push_async_callback(fetcher.close)
        nonces = itertools.count(1)
        self.vendors.setdefault(self.vendor.name, self.vendor)
        rng = random.Random(self._seed)
        self.ledger = Ledger(records, clock=clock, nonce=lambda: f"nonce{next(nonces)}", rng=rng)
        self.out = Services(
            broker=self.wire,
            keys=KEYS,
            objects=self.data,
            bucket=BUCKET,
            ledger=self.ledger,
            backend=cast("Backend", self.backend),
            vendors=Vendors(self.vendors.values(), draining=self.draining, shares=self.shares),
            chats=self.chats,
            fetcher=fetcher,
            policy=Policy(ticket_required=False, ticket_secret=Secret("a secret that is long enough for tickets")),
            webhooks=WEBHOOKS,
            recipes=self.recipes,
            clock=clock,
            rng=rng,
        )
        self.engine = self.new_engine()
        letters = tuple(dead_letter_topic(topic) for topic in self._topics)
        for topics, subscription in ((self._topics, WORKERS), (letters, FAILURE)) if letters else ():
            self._listen(cast("WireConsumer", await self.wire.subscribe(topics, subscription, prefetch=0)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        points.install(None)
        for task in self._taking:
            task.cancel()
        await asyncio.gather(*self._taking, return_exceptions=True)
        await self._stack.aclose()

    def open_vendors(self) -> None:
        """Restart with the keys, draining labels and shares as they are set now."""
        vendors = Vendors(self.vendors.values(), draining=self.draining, shares=self.shares)
        self.out = dataclasses.replace(self.out, vendors=vendors)
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        """State with which a new process begins."""
        self.ledger.cache.clear()
        self.out = dataclasses.replace(self.out, lines=VendorLines())
        self.pauses = Pauses(asyncio.get_running_loop().time)
        return Engine(self.out, STAGES, self.pauses)

    # ---- what a client and the backend do ------------------------------------------------------------------------

    async def order(
        self,
        kind: str = "model_pose12",
        params: Mapping[str, Any] | None = None,
        *,
        user: str = USER,
        priority: Priority = Priority.NORMAL,
    ) -> RunId:
        """Buy a task, upload its photo, and let the trigger take it in."""
        run = await self.upload(kind, params, user=user, priority=priority)
        assert await self.take_in(run) == "accepted"
        return run

    async def upload(
        self,
        kind: str = "model_pose12",
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        *,
        user: str = USER,
        priority: Priority = Priority.NORMAL,
    ) -> RunId:
        """Buy a task and upload its photo; no event comes."""
        run = RunId(user, f"t{next(self._tasks)}")
        values = msgspec.json.encode(params or {}).decode()
        self.backend.book.sell(run.user, run.task, 0, kind, values, self.now())
        meta = {"kind": kind, "params": values}
        if priority is not Priority.NORMAL:
            meta["ticket"] = self._ticket(run, kind, params or {}, priority)
        await self.data.put(f"input/{run.user}/{run.task}/original.jpg", photo() if body is None else body, meta=meta)
        return run

    def _ticket(self, run: RunId, kind: str, params: Mapping[str, Any], priority: Priority) -> str:
        sold = Ticket(
            user=run.user,
            task=run.task,
            step=run.step,
            kind=kind,
            params_digest=digest(params),
            expires=int(self.now()) + 3600,
            priority=priority.name.lower(),
        )
        return issue(sold, self.out.policy.ticket_secret)

    async def take_in(self, run: RunId) -> Taken:
        """A COS event arrives."""
        return await take_in(InputKey(run.user, run.task, "original.jpg"), self.out)

    async def wake(self, run: RunId, why: str = "cancel", number: int | None = None, **body: Any) -> None:
        """Ask for the run to be looked at; `number` -1 means its highest."""
        await self.say(run, Stage.WAKE, Wake(why, **body), number=run.run if number is None else number)

    async def say(
        self, run: RunId, stage: Stage, body: Body, *, number: int | None = None, delay: float = 0.0, **header: Any
    ) -> None:
        """Publish a message of a run."""
        head = Header(
            version=SCHEMA,
            stage=stage.value,
            user=run.user,
            task=run.task,
            step=run.step,
            run=run.run if number is None else number,
            created=int(self.now() * 1000),
            **{"seq": 0, "attempt": 0, **header},
        )
        topic = topic_of(stage, vendor=self.vendor.name)
        await self.wire.publish(topic, encode(Message(head, body), KEYS), delay=delay)

    # ---- the engine ----------------------------------------------------------------------------------------------

    async def take(self) -> tuple[Delivery, WireConsumer]:
        """The next delivery, whenever it is due; it is held."""
        while not self._inbox:
            done, _ = await asyncio.wait(self._taking, timeout=_LONG, return_when=asyncio.FIRST_COMPLETED)
            assert done, f"nothing was due for {_LONG} s, though {len(self.wire.open)} messages are stored"
            for task in sorted(done, key=asyncio.Task.get_name):
                consumer = self._taking.pop(task)
                self._inbox.append((task.result(), consumer))
                self._listen(consumer)
        return self._inbox.popleft()

    async def run(self, delivery: Delivery, consumer: Consumer) -> None:
        """Work on a delivery in a process; if that dies, the broker gives the message to another."""
        self.reported.append(self._describe(delivery))
        try:
            await self.engine.run_one(delivery, consumer)
        except Died:
            self.reported[-1] += " DIED"
            self.engine = self.new_engine()
            await asyncio.sleep(self.restart_s)
            await cast("WireConsumer", consumer).lose_holder(delivery)

    async def survives(self, work: Awaitable[object]) -> bool:
        """Do work in a process of its own; False when that dies."""
        try:
            await work
        except Died:
            return False
        return True

    async def step(self) -> Delivery:
        """Work on the next delivery."""
        delivery, consumer = await self.take()
        await self.run(delivery, consumer)
        return delivery

    async def until(self, stage: str, seq: int | None = None) -> tuple[Delivery, WireConsumer]:
        """Work up to the first delivery of a stage, which is taken and not worked on."""
        for _ in range(_PATIENCE):
            delivery, consumer = await self.take()
            header = decode(delivery.payload).header
            if header.stage == stage and seq in {None, header.seq}:
                return delivery, consumer
            await self.run(delivery, consumer)
        raise AssertionError(f"no {stage} message came: {self.reported[-20:]}")

    async def pass_by(self, stage: str, seq: int | None = None) -> None:
        """Work up to the first delivery of a stage, and give that one back unbegun."""
        delivery, consumer = await self.until(stage, seq)
        await consumer.release(delivery)

    async def drain(self, patience: int = _PATIENCE) -> None:
        """Work until the broker is empty, however much virtual time that takes."""
        for _ in range(patience):
            if not self.wire.open:
                return
            await self.step()
        raise AssertionError(f"the broker never drains: {self.reported[-20:]}")

    # ---- what is stored ------------------------------------------------------------------------------------------

    async def records(self, run: RunId) -> dict[str, Any]:
        """Every record of a run, by name."""
        prefix = record_key(run, "")
        page = await self.ledger.objects.list(prefix)
        found = {item.key.removeprefix(prefix): await self.ledger.objects.get(item.key) for item in page.items}
        return {name: msgspec.json.decode(content.body)["record"] for name, content in found.items()}

    async def verdict(self, run: RunId) -> Verdict:
        """The run's verdict; there must be one."""
        found = await self.ledger.verdict(run)
        assert found is not None, f"{run.stem} has no verdict: {self.reported[-20:]}"
        return found

    async def keys(self, prefix: str) -> list[str]:
        """Keys in the data bucket."""
        return [item.key for item in (await self.data.list(prefix)).items]

    async def outputs(self, run: RunId) -> list[str]:
        """Results of the task that are visible."""
        return await self.keys(f"output/{run.user}/{run.task}/")

    async def staged(self, run: RunId) -> list[str]:
        """Keys in the run's staging."""
        return await self.keys(staging_prefix(run))

    async def dead_letters(self) -> list[dict[str, Any]]:
        """Dead-letter records."""
        page = await self.ledger.objects.list("dead/")
        found = [await self.ledger.objects.get(item.key) for item in page.items]
        return [msgspec.json.decode(content.body)["record"] for content in found]

    def heard(self, run: RunId) -> list[str]:
        """Statuses of the callbacks about the task."""
        return [call.status for call in self.backend.heard if call.task == run.task]

    def state(self, run: RunId) -> tuple[str, int, int]:
        """The backend's state of the task, and what it charged and refunded."""
        (row,) = self.backend.book.steps(run.task)
        return row["status"], row["charges"], row["refunds"]

    def sent(self, stage: str) -> list[Header]:
        """Headers of every message of a stage that was ever stored."""
        return [sent.header for sent in self.wire.sent if sent.topic != "foreign" and sent.header.stage == stage]

    # ---- the promise ---------------------------------------------------------------------------------------------

    async def promise(self, run: RunId, status: str, code: str = "") -> Verdict:
        """Check a run: this one verdict, delivered; equal callbacks, a balanced account, whole results or none."""
        verdict = await self.verdict(run)
        assert (verdict.status, verdict.code) == (status, code)
        records = await self.records(run)
        assert "delivered" in records
        reported = "success" if status == "success" else "failed"
        assert set(self.heard(run)) == {reported}
        assert self.state(run) == (reported, 1, 0 if status == "success" else 1)
        outputs = await self.outputs(run)
        assert outputs == [item.target for item in sorted(verdict.manifest, key=_target)]
        for item in verdict.manifest:
            assert (await self.data.head(item.target)).etag == item.etag
        return verdict

    def _listen(self, consumer: WireConsumer) -> None:
        self._taking[asyncio.create_task(consumer.receive(), name=f"take {next(self._numbers):09d}")] = consumer

    def _audit(self, key: str, body: bytes) -> Result:
        found = (finding for end, finding in self.findings.items() if key.endswith(end))
        return next(found, Result(violation=False, suspect=False, label="Normal", score=0))

    def _describe(self, delivery: Delivery) -> str:
        try:
            header = decode(delivery.payload).header
        except InvalidMessage:
            return f"unreadable {delivery.message_id}"
        name = f"{header.stage}-{header.seq} attempt {header.attempt}{' isolated' if header.isolated else ''}"
        return f"{asyncio.get_running_loop().time():.1f} {name} ({delivery.message_id.rpartition('-')[2]})"


def _target(item: ManifestItem) -> str:
    return item.target
