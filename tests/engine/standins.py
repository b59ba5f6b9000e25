"""Scripted parts: a vendor, a backend with the real quota account, a wrapper of the real broker."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

from messages.codec import Header, decode
from messages.codes import Code
from messages.errors import InvalidMessage
from sandbox.backend.quota_account import QuotaAccount, ReceivedCallback
from services.backend import Answer, Callback, Judgement, StepState, judge
from services.errors import BackendDown, CreateUnknown, UploadFailed, VendorFull, VendorRefused
from services.objects.port import Source
from services.unfinished import UnfinishedPage, UnfinishedTask
from services.vendors.port import Created, Find, JobFile, JobRequest, JobState, JobStatus, Results
from services.vendors.usage import Usage
from tests.engine.fault_injector import FaultInjector
from tests.engine.virtual import wall
from transport.port import Backlog, Broker, Capabilities, Consumer, Delivery

FILES_HOST: Final = "files.vendor.example"
_HAIR: Final = 0.001
JPEG: Final = b"\xff\xd8\xff\xc0\0\2\xff\xda\0\2" + bytes(64)
"""The part of a picture that the guarded download and the store read; `JPEG_END` ends it."""
JPEG_END: Final = b"\xff\xd9"
MP4: Final = b"\0\0\0\x18ftypisom" + bytes(64)
"""The same part of a video."""


@dataclass
class Plan:
    """How a job goes."""

    looks: int = 1
    """Looks that still find it running."""
    within: float = math.inf
    """Seconds after which it has ended, whatever the number of looks."""
    end: JobState = JobState.SUCCESS
    files: int | None = None
    """None: as many as were sold."""
    type: str = "jpg"
    code: Code = Code.VENDOR_FAILED


@dataclass
class ScriptedJob:
    id: str
    plan: Plan
    since: float
    webhook: str = ""
    looks: int = 0
    cancelled: bool = False

    @property
    def working(self) -> bool:
        late = wall() - self.since >= self.plan.within
        return not self.cancelled and not late and self.looks < self.plan.looks


@dataclass
class Create:
    """Effect of a create; by default it accepts and answers."""

    accepted: bool = True
    answer: str = "id"
    """id, full, refused, or lost."""


class ScriptedVendor:
    """A vendor with scripted answers; without a script all goes well.

    `creates` and `plans` are taken from the left: one for each call, and one for each accepted job.
    """

    name = "runninghub"
    result_hosts = frozenset({FILES_HOST})
    upload_limit = 30 << 20
    label = "main"
    find: Find | None = None

    def __init__(self, injector: FaultInjector, count: int) -> None:
        self._injector = injector
        self._count = count
        self._numbers = itertools.count(1)
        self.creates: deque[Create] = deque()
        self.plans: deque[Plan] = deque()
        self.jobs: dict[str, ScriptedJob] = {}
        self.uploads: list[str] = []
        self.requests: list[JobRequest] = []
        self.full = 0
        """Further questions for room that find none."""
        self.shows = True
        """True if it shows which call a job was made for."""
        self.usage = Usage()
        """Usage of a job that ended."""
        self.forgets = False
        """True if it has forgotten all jobs."""

    @property
    def paid(self) -> list[str]:
        """Jobs accepted, in their order: each costs money."""
        return list(self.jobs)

    async def check_room(self) -> None:
        await self._injector.pass_by("vendor.room", done=False)
        if self.full:
            self.full -= 1
            raise VendorFull("no room")
        await self._injector.pass_by("vendor.room", done=True)

    async def upload(self, source: Source, *, filename: str, content_type: str) -> str:
        await self._injector.pass_by("vendor.upload", done=False)
        size = sum([len(piece) async for piece in source])
        if size != source.size:
            raise UploadFailed("cut short")
        self.uploads.append(f"{filename} {content_type} {size}")
        await self._injector.pass_by("vendor.upload", done=True)
        return f"api/{len(self.uploads)}"

    async def create(self, request: JobRequest, *, timeout: float) -> Created:  # noqa: ASYNC109 - the port's word
        self.requests.append(request)
        try:
            async with asyncio.timeout(timeout):
                return Created(await self._create(request.webhook))
        except TimeoutError as error:
            raise CreateUnknown("no answer in time") from error

    async def _create(self, webhook: str) -> str:
        await self._injector.pass_by("vendor.create", done=False)
        order = self.creates.popleft() if self.creates else Create()
        if order.answer == "full":
            raise VendorFull("queue limit")
        if order.answer == "refused":
            raise VendorRefused("not with this workflow")
        job = self._accept(webhook) if order.accepted else ""
        await self._injector.pass_by("vendor.create", done=True)
        if order.answer == "lost":
            raise CreateUnknown("no answer")
        return job

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        await self._injector.pass_by(f"vendor.query {job_id}", done=False)
        job = None if self.forgets else self.jobs.get(job_id)
        if job is None:
            return JobStatus(JobState.FAILED, reason="no such job", known=False)
        status = self._status(job)
        job.looks += 1
        await self._injector.pass_by(f"vendor.query {job_id}", done=True)
        return status

    async def made_for(self, job_id: str) -> str:
        await self._injector.pass_by(f"vendor.made_for {job_id}", done=False)
        return self.jobs[job_id].webhook if self.shows else ""

    async def cancel(self, job_id: str) -> None:
        await self._injector.pass_by(f"vendor.cancel {job_id}", done=False)
        self.jobs[job_id].cancelled = True
        await self._injector.pass_by(f"vendor.cancel {job_id}", done=True)

    async def close(self) -> None:
        """Nothing to drop."""

    def _accept(self, webhook: str) -> str:
        job = f"job{next(self._numbers)}"
        self.jobs[job] = ScriptedJob(job, self.plans.popleft() if self.plans else Plan(), wall(), webhook)
        return job

    def _status(self, job: ScriptedJob) -> JobStatus:
        plan = job.plan
        if job.working:
            return JobStatus(JobState.WORKING)
        if job.cancelled or plan.end is JobState.FAILED:
            return JobStatus(JobState.FAILED, code=plan.code, reason="scripted", usage=self.usage)
        count = self._count if plan.files is None else plan.files
        urls = (f"https://{FILES_HOST}/{job.id}/{n}.{plan.type}" for n in range(1, count + 1))
        return JobStatus(JobState.SUCCESS, tuple(JobFile(url, plan.type) for url in urls), usage=self.usage)


class InstantVendor:
    """A vendor without jobs: its answer to the create is the result. Common parts are inherited from the other sort.

    Args:
        scripted: the vendor of the other sort.
        count: results of a call.
    """

    find = None

    def __init__(self, scripted: ScriptedVendor, count: int) -> None:
        self._scripted = scripted
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scripted, name)

    async def create(self, request: JobRequest, *, timeout: float) -> Results:  # noqa: ASYNC109 - the port's word
        created = await self._scripted.create(request, timeout=timeout)
        urls = (f"https://{FILES_HOST}/{created.id}/{n}.jpg" for n in range(1, self._count + 1))
        return Results(tuple(JobFile(url, "jpg") for url in urls), self._scripted.usage)

    async def query(self, job_id: str, *, kind: str = "") -> JobStatus:
        raise AssertionError(f"asked about {job_id!r} of {kind}")

    async def cancel(self, job_id: str) -> None:
        raise AssertionError(f"told to stop {job_id!r}")


class Files:
    """The vendor's file server, behind the real guarded download."""

    def __init__(self, injector: FaultInjector) -> None:
        self._injector = injector
        self._numbers = itertools.count(1)
        self.png = b""

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    @staticmethod
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14"]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        await self._injector.pass_by(f"files.get {path}", done=False)
        video = path.endswith(".mp4")
        png = path.endswith(".png")
        # Each download differs, so that no copy can pass for another.
        body = self.png if png else (MP4 if video else JPEG) + f"{path} {next(self._numbers)}".encode() + JPEG_END
        await self._injector.pass_by(f"files.get {path}", done=True)
        kind = "video/mp4" if video else "image/png" if png else "image/jpeg"
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        return httpx.Response(200, headers=headers, stream=_Body(body))


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


@dataclass
class ScriptedBackend:
    """The stand-in's quota account without HTTP: it charges, takes callbacks, refunds; faults come from an injector."""

    injector: FaultInjector
    book: QuotaAccount = field(default_factory=lambda: QuotaAccount(":memory:"))
    heard: list[Callback] = field(default_factory=list)
    """Every callback that came in, taken or not."""

    async def deliver(self, callback: Callback) -> Answer:
        place = f"backend.deliver {callback.task}"
        await self.injector.pass_by(place, done=False)
        self.heard.append(callback)
        status, state = self.book.record_callback(_heard(callback))
        await self.injector.pass_by(place, done=True)
        match judge(status, msgspec.json.encode({"status": state}), callback.status):
            case Judgement.DELIVERED:
                return Answer(delivered=True, conflict=False, http_status=status)
            case Judgement.CONFLICT:
                return Answer(delivered=False, conflict=True, http_status=status, contrary=True)
            case _:
                raise BackendDown(f"answered {status}")

    def repeat(self, callback: Callback) -> None:
        """A callback arrives once more, long after it was sent."""
        self.book.record_callback(_heard(callback))

    async def state(self, task: str, step: int) -> StepState | None:
        try:
            await self.injector.pass_by(f"backend.state {task}", done=False)
        except BackendDown:
            return None
        found = self.book.state(task, step)
        if found is None:
            return None
        states = {"success": "success", "failed": "failed", "cancelled": "failed"}
        return StepState(states.get(found[0], ""), found[1], found[2])

    async def unfinished(self, older_than: int, cursor: str = "") -> UnfinishedPage:
        await self.injector.pass_by("backend.unfinished", done=False)
        rows, last = self.book.unfinished(wall() - older_than, int(cursor or "0"))
        return UnfinishedPage(tuple(UnfinishedTask(**row) for row in rows), str(last) if last else None)

    async def reopen(self, task: str, step: int, run: int) -> bool:
        await self.injector.pass_by(f"backend.reopen {task}", done=False)
        status, _ = self.book.reopen(task, step, run, wall())
        await self.injector.pass_by(f"backend.reopen {task}", done=True)
        return status == 200

    async def close(self) -> None:
        self.book.close()


def _heard(callback: Callback) -> ReceivedCallback:
    return ReceivedCallback(
        path=f"/api/internal/tasks/{callback.task}/steps/{callback.step}/callback",
        received=wall(),
        signature_ok=True,
        v2="ok",
        task=callback.task,
        step=callback.step,
        run=callback.run,
        status=callback.status,
        outputs=tuple(f"cos://{key}" for key in callback.outputs),
        error=callback.message,
        error_code=callback.code,
        text=callback.text,
        degraded=callback.degraded,
    )


class Sent(msgspec.Struct, frozen=True):
    """A message that was stored."""

    id: str
    topic: str
    payload: bytes
    at: float
    delay: float

    @property
    def header(self) -> Header:
        return decode(self.payload).header


class Wire:
    """The real broker, with the fault injector at every publish and ack; knows the messages that are not acked."""

    def __init__(self, inner: Broker, injector: FaultInjector) -> None:
        self._inner = inner
        self._injector = injector
        self.sent: list[Sent] = []
        self.open: dict[str, Sent] = {}
        self.knows_dead_holders = False
        self.dead: set[str] = set()
        """Messages whose holder died."""

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        place = f"broker.publish {_words(payload)}"
        await self._injector.pass_by(place, done=False)
        stored = await self.slip_in(topic, payload, delay)
        await self._injector.pass_by(place, done=True)
        return stored

    async def slip_in(self, topic: str, payload: bytes, delay: float = 0.0) -> str:
        """Publish past the fault injector."""
        # Slightly late: virtual time is so exact that a message could be due by one rounding and early by another.
        stored = await self._inner.publish(topic, payload, delay=delay + _HAIR if delay else 0.0)
        sent = Sent(stored, topic, payload, wall(), delay)
        self.sent.append(sent)
        self.open[stored] = sent
        return stored

    async def lose(self, delivery: Delivery, consumer: WireConsumer) -> None:
        """The broker loses a message."""
        self.open.pop(delivery.message_id, None)
        await consumer.inner.ack(delivery)

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> Consumer:
        return WireConsumer(await self._inner.subscribe(topics, subscription, prefetch=prefetch), self, self._injector)

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        return await self._inner.backlog(topic, subscription)

    async def close(self) -> None:
        await self._inner.close()


class WireConsumer:
    def __init__(self, inner: Consumer, wire: Wire, injector: FaultInjector) -> None:
        self.inner = inner
        self._wire = wire
        self._injector = injector

    @property
    def connected(self) -> bool:
        return self.inner.connected

    async def receive(self) -> Delivery:
        delivery = await self.inner.receive()
        died = self._wire.knows_dead_holders and delivery.message_id in self._wire.dead
        return msgspec.structs.replace(delivery, holder_died=died)

    async def lose_holder(self, delivery: Delivery) -> None:
        """The process that held the message dies; the broker gives it to another."""
        self._wire.dead.add(delivery.message_id)
        await self.inner.release(delivery)

    async def ack(self, delivery: Delivery) -> None:
        place = f"broker.ack {_words(delivery.payload)}"
        await self._injector.pass_by(place, done=False)
        await self.inner.ack(delivery)
        self._wire.open.pop(delivery.message_id, None)
        await self._injector.pass_by(place, done=True)

    async def release(self, delivery: Delivery) -> None:
        await self.inner.release(delivery)

    async def close(self) -> None:
        await self.inner.close()


def _words(payload: bytes) -> str:
    try:
        header = decode(payload).header
    except InvalidMessage:
        return "unreadable"
    return f"{header.stage}-{header.seq}"
