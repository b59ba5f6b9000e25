"""Generate: the paid call, made at most once for each n, by the message that created its intent.

See `tasks.calls.decide`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from consumers.engine.fan_in import after_slot
from consumers.engine.limits import PREPARE_LIMIT_S, RESULT_SETTLE_LIMIT_S
from consumers.engine.outcomes import Finish, Leave, Next, Outcome, Snooze, dead_lettered
from consumers.engine.retry import OUTAGE_DELAY, OUTAGE_PAUSE, jittered
from consumers.engine.settle import settle
from consumers.stages.schedule import next_poll
from consumers.stages.success import succeeded
from messages.bodies import Generate, Job, Poll, Reason, Stage
from messages.codec import Header
from messages.codes import Code
from messages.errors import Permanent
from recipes.recipe import Recipe
from services.errors import CreateUnknown, ObjectsDown, VendorFull, VendorMissing, VendorRefused
from services.objects.source import DownloadSource
from services.repeat import opened
from services.vendors.port import Created, JobRequest, JobState, JobStatus, Results, Vendor, key_of
from tasks.accepting.inputs import is_video
from tasks.calls.decide import Ended, Lost, MakeCall, Wait, Watch, decide
from tasks.calls.find import FIND_EVERY_S, can_find, find_open
from tasks.calls.jobs import job_of
from tasks.calls.lines import Waiter
from tasks.calls.room import Capped, Full, Held, find_room, full_at_create
from tasks.context import Services
from tasks.errors import CallUnknown, VendorFailed
from tasks.ledger.records import CallEnd, CallResult, Cleaned, Intent, JobId, Product, Prompted, SlotEnd, Staged
from tasks.ledger.snapshot import PaidCall
from tasks.run import Task
from tasks.slots import read_decision
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["FRESH_S", "OPEN_MARGIN_S", "expected_of", "generate", "open_limit_of"]

FRESH_S: Final = 10.0
"""Seconds after the intent was sent in which the paid call may go out: a process that froze must not send it later."""

OPEN_MARGIN_S: Final = 30.0
"""Seconds beyond the create limit for which a call may stay open before it counts as Unknown."""

_UNSAVED_S: Final = 2.0
"""Seconds until an id that the ledger could not take is tried again, by the message that carries it."""

_CONTENT_TYPES: Final = {"jpg": "image/jpeg", "mp4": "video/mp4", "mov": "video/quicktime"}
"""Extension -> content type, where it is not the picture format's own name."""

_OPEN: Final = "call_open"
"""Reason of the wait for a call with an unknown outcome."""

log = logs.get(__name__)


def expected_of(task: Task, services: Services) -> float:
    """Return the usual seconds of the vendor's work for this task."""
    return services.policy.expected_s or task.recipe.expected_s


def open_limit_of(recipe: Recipe) -> float:
    """Return the seconds for which the outcome of a paid call may stay open before it counts as unknown."""
    return recipe.create_limit_s + (RESULT_SETTLE_LIMIT_S if recipe.synchronous else 0.0) + OPEN_MARGIN_S


async def generate(_header: Header, body: Generate, task: Task, services: Services) -> Outcome:
    """Make the paid call that the run needs, or follow up the calls that it has made."""
    slot = body.slot
    if not 1 <= slot <= task.accepted.slots or not await _is_ready(task, services):
        log.warning(Event.MESSAGE_UNPROVEN, slot=slot, why="no such slot was sold, or its inputs are not ready")
        return Leave()
    while True:
        calls = await services.ledger.calls(task.run, slot)
        # By the time before the question: a call that was not found before a freeze must be looked for again after it.
        asked_at = services.ledger.now()
        calls = await find_open(task.run, calls, services)
        match decide(calls, asked_at):
            case Watch(live):
                return _watch(live, task, services)
            case Wait(delay):
                return _wait(delay, task.vendor, services)
            case Lost(n):
                return dead_lettered(Reason.UNKNOWN, CallUnknown(f"paid call {n} of slot {slot}"), n, slot)
            case Ended(n, code):
                return dead_lettered(Reason.VENDOR, VendorFailed(f"paid call {n} of slot {slot}", code=code), n, slot)
            case MakeCall(n):
                made = await _call(slot, n, task, services)
                if made is not None:
                    return made


async def _is_ready(task: Task, services: Services) -> bool:
    """Return True if inputs and prompt of the run are recorded: they have passed their audits."""
    if await services.ledger.read(task.run, Cleaned.at()) is None:
        return False
    return task.recipe.prompt is None or await services.ledger.read(task.run, Prompted.at()) is not None


def _watch(calls: tuple[PaidCall, ...], task: Task, services: Services) -> Outcome:
    since = min(call.at for call in calls)
    jobs = tuple(job_of(call) for call in calls)
    return _poll(jobs, since, task, services)


def _poll(jobs: tuple[Job, ...], since: float, task: Task, services: Services, *, unsaved: bool = False) -> Outcome:
    delay = next_poll(services.ledger.now() - since, expected_of(task, services))
    if unsaved:
        # Other readers of the ledger see an open call meanwhile, and give it up once it is too old.
        delay = min(delay, _UNSAVED_S)
    return Next(Stage.POLL, Poll(jobs, int(since * 1000), unsaved, jobs[0].slot), delay)


async def _call(slot: int, n: int, task: Task, services: Services) -> Outcome | None:
    """Make the n-th call of a slot, with the key whose turn it is; None if another message has begun it."""
    ready_by = asyncio.get_running_loop().time() + PREPARE_LIMIT_S
    try:
        async with asyncio.timeout_at(ready_by):
            room = await find_room(task.vendor, _waiter(slot, task), services)
    except VendorMissing as missing:
        # The next message would fail too, but looks at other vendors would not, so only this topic pauses.
        pause = jittered(OUTAGE_PAUSE, services.rng)
        return Snooze(jittered(OUTAGE_DELAY, services.rng), pause=pause, why=type(missing).__name__)
    match room:
        case Full():
            return _full(room, slot, services)
        case Capped(delay):
            pause = jittered(OUTAGE_PAUSE, services.rng)
            return Snooze(jittered(delay, services.rng), pause=pause, why="spend_cap")
        case Held():
            with room:
                return await _call_with(room, slot, n, task, services, ready_by)


async def _call_with(room: Held, slot: int, n: int, task: Task, services: Services, ready_by: float) -> Outcome | None:
    """Make the n-th call of a slot where there is room; None if another message has begun it."""
    vendor = room.vendor
    async with asyncio.timeout_at(ready_by):
        inputs, videos = await _inputs(task, vendor, services)
    request = JobRequest(
        task.recipe.kind,
        inputs,
        await _values(task, services),
        webhook=services.webhooks.url(vendor.name, task.run, slot, n),
        identity=services.identities.of(task.run, slot, n),
        videos=videos,
    )
    reached("generate.uploaded")
    if await services.ledger.verdict(task.run):
        return Finish()
    if (over := await _over(slot, task, services)) is not None:
        return over
    if services.ledger.now() >= task.accepted.deadline:
        # Nothing is paid for a run that is out of time. The copy, cut to the deadline, meets the gate that ends it.
        return Snooze(1.0)
    age = _Age(services)
    open_s = open_limit_of(task.recipe)
    intent = await services.ledger.write(task.run, Intent.at(slot, n), Intent(vendor.name, open_s, vendor.label))
    reached("generate.intent")
    if not intent.mine:
        return None
    if age.seconds() >= FRESH_S:
        await _not_accepted(slot, n, task, services, Code.BUSY)
        return Snooze(jittered(1.0, services.rng))
    # A paid call is never cut off half-way: a cancellation waits for its answer, which has its own time limit.
    sent = asyncio.create_task(_post(slot, n, room, request, task, services), name=f"paid call {n}")
    try:
        return await asyncio.shield(sent)
    except asyncio.CancelledError:
        while not sent.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((sent,))
        # Its outcome is carried out, not dropped: it may have an id that is not stored in the ledger yet.
        return sent.result()


async def _post(slot: int, n: int, room: Held, request: JobRequest, task: Task, services: Services) -> Outcome:
    vendor = room.vendor
    room.sent()
    try:
        made = await vendor.create(request, timeout=task.recipe.create_limit_s)
    except VendorFull as full:
        room.not_accepted()
        await _not_accepted(slot, n, task, services, Code.BUSY)
        return _full(full_at_create(key_of(vendor), full, _waiter(slot, task), services), slot, services)
    except VendorRefused as refused:
        room.not_accepted()
        await _not_accepted(slot, n, task, services, refused.code)
        raise
    except CreateUnknown as unknown:
        log.warning(Event.PAID_UNKNOWN, error=unknown, n=n, vendor=vendor.name)
        return _wait(open_limit_of(task.recipe), task.vendor, services)
    reached("generate.created")
    match made:
        case Created(job_id):
            log.info(Event.VENDOR_JOB_CREATED, n=n, vendor=vendor.name, job=job_id)
            return await _keep_job(Job(n, job_id, slot, vendor.label, vendor.name), task, services)
        case Results(files):
            log.info(Event.VENDOR_JOB_CREATED, n=n, vendor=vendor.name, files=len(files))
            return await _keep_results(Job(n, "", slot, vendor.label, vendor.name), made, task, services)


async def _keep_job(job: Job, task: Task, services: Services) -> Outcome:
    """Store the id of an accepted job, and look at it later."""
    try:
        await settle(lambda: services.ledger.write(task.run, JobId.at(job.slot, job.n), JobId(job.id)))
    except ObjectsDown as error:
        # The message carries the id on, and every look tries to store it.
        log.error(Event.LEDGER_WRITE_FAILED, error=error, n=job.n, job=job.id)
        return _poll((job,), services.ledger.now(), task, services, unsaved=True)
    reached("generate.id")
    if await services.ledger.verdict(task.run):
        return Finish()
    return _poll((job,), services.ledger.now(), task, services)


async def _keep_results(job: Job, made: Results, task: Task, services: Services) -> Outcome:
    """Store results that came with the answer, before any download: no message carries their URLs."""
    result = CallResult(tuple(file.url for file in made.files), made.usage)
    await settle(lambda: services.ledger.write(task.run, CallResult.at(job.slot, job.n), result), RESULT_SETTLE_LIMIT_S)
    reached("generate.result")
    if await services.ledger.verdict(task.run):
        return Finish()
    status = JobStatus(JobState.SUCCESS, made.files, usage=made.usage)
    return await succeeded(task.run, job, status, services)


async def _values(task: Task, services: Services) -> dict[str, str]:
    """Return the parameters that are sent, with the run's text where its kind has one."""
    values = dict(task.recipe.values(task.params))
    prompted = await services.ledger.read(task.run, Prompted.at()) if task.recipe.prompt else None
    return values | {"prompt": prompted.record.text} if prompted else values


async def _over(slot: int, task: Task, services: Services) -> Outcome | None:
    """Return the outcome if nothing may be paid for the slot any more."""
    ledger, accepted = services.ledger, task.accepted
    if await ledger.read(task.run, SlotEnd.at(slot)) is not None:
        # Its writer may have died before it looked at the other slots.
        return after_slot(await read_decision(task.run, accepted, ledger), ledger.now())
    # Where every slot is needed, nothing is staged before all have ended.
    staged = accepted.enough < accepted.slots and await ledger.read(task.run, Staged.at()) is not None
    return Leave() if staged else None


async def _not_accepted(slot: int, n: int, task: Task, services: Services, code: Code) -> None:
    await settle(lambda: services.ledger.write(task.run, CallEnd.at(slot, n), CallEnd("not_accepted", code)))


def _wait(limit: float, vendor: str, services: Services) -> Outcome:
    """Wait for the outcome of an open call: until its limit, or until its vendor is asked for it again."""
    return Snooze(min(limit, FIND_EVERY_S) if can_find(vendor, services) else limit, why=_OPEN)


def _full(full: Full, slot: int, services: Services) -> Outcome:
    """Wait in line; keys that were found full pause."""
    pause = jittered(full.pause, services.rng) if full.keys else 0.0
    return Snooze(full.delay, pause=pause, body=Generate(slot), why="vendor_full", keys=full.keys)


def _waiter(slot: int, task: Task) -> Waiter:
    accepted = task.accepted
    return Waiter(task.run, slot, accepted.created, accepted.priority)


async def _inputs(task: Task, vendor: Vendor, services: Services) -> tuple[dict[str, str], frozenset[str]]:
    """Return the vendor's value for each input, and the names of those that are videos."""
    cleaned = await services.ledger.read(task.run, Cleaned.at())
    if cleaned is None:
        raise Permanent(f"{task.run.stem} has no record `cleaned`")
    # A task may have fewer inputs than there are names, as many as its recipe takes at the least.
    named = dict(zip(task.recipe.inputs, cleaned.record.products, strict=False))
    videos = frozenset(name for name, product in named.items() if is_video(product.key))
    return {name: await _upload(product, vendor, task, services) for name, product in named.items()}, videos


async def _upload(product: Product, vendor: Vendor, task: Task, services: Services) -> str:
    """Return the vendor's value for an input: its reference to an upload, else a URL, as secret as the picture."""
    if product.size > vendor.upload_limit:
        return await services.objects.presign(product.key, expires=task.recipe.deadline_s)
    async with opened(partial(services.objects.open, product.key, if_match=product.etag), services.rng) as download:
        extension = product.extension
        kind = _CONTENT_TYPES.get(extension, f"image/{extension}")
        return await vendor.upload(DownloadSource(download), filename=f"input.{extension}", content_type=kind)


class _Age:
    """Stopwatch by wall clock and monotonic clock; the larger time counts: a freeze shows in one of them."""

    def __init__(self, services: Services) -> None:
        self._wall_clock, self._steady_clock = services.clock, asyncio.get_running_loop().time
        self._wall, self._steady = self._wall_clock(), self._steady_clock()

    def seconds(self) -> float:
        return max(self._wall_clock() - self._wall, self._steady_clock() - self._steady)
