"""Taking a task in: from an upload to `accepted` and the first message.

Shared by the COS trigger and by wakes that find an upload nobody accepted. Only what was sold is done: kind and
parameters are the uploader's word, and count only with the backend's ticket.

The ticket comes first, because a callback names only the task: an upload without one that the backend signed for this
very task of this user says nothing of it, so it is refused without a verdict. The task that was sold, if there is one,
is then ended by the backend's own list of unfinished tasks, as one whose upload never came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec

from messages.bodies import Clean, Notify, Stage
from messages.codec import Message, Priority, encode, new_header
from messages.codes import Code
from messages.errors import Outage, Rejected
from messages.keys import INPUT_EXTENSIONS, InputKey, RunId
from messages.topics import topic_of
from recipes.recipe import Recipe, parse_params
from recipes.table import recipe_of
from runtime.outside import Outside
from runtime.verdicts import give_verdict
from services import tickets
from services.errors import NotFound
from services.objects.port import ObjectInfo
from services.records import Accepted, InputRef, Verdict
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.points import reached
from telemetry.tracing import current, failed, new_traceparent, note, onward, span, trace_id

__all__ = ["MAX_PICTURE_BYTES", "NotHere", "Taken", "find_upload", "first_message", "take_in"]

MAX_PICTURE_BYTES: Final = 32 << 20
"""The picture service takes 32 MB (data sheet of Cloud Infinite's basic processing, limits)."""

_TASK_FILE: Final = "task.json"
_TASK_FILE_LIMIT: Final = 64 << 10

log = logs.get(__name__)

Taken = Literal["accepted", "again", "ended", "refused"]
"""accepted: new; again: accepted before, its first message published once more; ended: a verdict is there; refused:
verdict `failed`, or none where no ticket says that the task was sold."""


class NotHere(Outage):
    """A kind was sold that this build does not know: a rolling deploy must refund nobody.

    `code` is what a build calls it that is the newest one.
    """


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the uploader asks for: object metadata, or the file `task.json`."""

    kind: str
    params: Mapping[str, Any] = {}
    inputs: tuple[str, ...] = ()
    ticket: str = ""
    """Read before, by `_Bearer`; here it is only a name that may be there."""


class _Bearer(msgspec.Struct, frozen=True):
    """Of `task.json` only what says whose task it is."""

    ticket: str = ""


class _Found(msgspec.Struct, frozen=True):
    """An upload that says of which task it is: with a ticket of ours, or where none is asked for."""

    info: ObjectInfo
    body: bytes
    """What `task.json` says; empty for a picture."""
    ticket: tickets.Ticket | None


async def take_in(upload: InputKey, out: Outside, *, apart: bool = False) -> Taken:
    """Accept the task that an upload starts, and publish its first message. Doing it again is harmless.

    Args:
        upload: the object.
        out: everything outside.
        apart: whether a new task begins a trace of its own, because the call that brings it brings others too.

    Raises:
        NotHere: another build may know what was sold.
        messages.errors.ScfWorkersError: something outside did not work; the same upload may be taken in again.
    """
    run = RunId(upload.user, upload.task)
    with logs.context(user_id=run.user, task_id=run.task):
        accepted = await out.ledger.accepted(run)
        above, link = _trace(accepted, apart=apart)
        with span(SpanName.INTAKE, above, link=link, user_id=run.user, task_id=run.task):
            taken = await _take(upload, run, accepted, out)
            note(taken=taken)
            return taken


def _trace(accepted: Accepted | None, *, apart: bool) -> tuple[str, str]:
    """Traceparent to go on from, and to link to: a run's trace begins once."""
    here = current()
    if accepted is not None:
        return accepted.traceparent, here
    return ("", here) if apart else (here, "")


async def _take(upload: InputKey, run: RunId, accepted: Accepted | None, out: Outside) -> Taken:
    if await out.ledger.verdict(run):
        if accepted is None:
            # An earlier call refused it, and may have ended before it could say so.
            await _notify(run, out)
        return "ended"
    new = accepted is None
    if accepted is None:
        try:
            found = await _look(upload, run, out)
        except Rejected as rejected:
            log.warning(_refusal(rejected), error=rejected)
            failed(rejected)
            return "refused"
        try:
            accepted = await _accept(found, upload, run, out)
        except Rejected as rejected:
            # Whoever would write `failed` looks again: the same event, delivered twice, may have been quicker.
            accepted = await out.ledger.accepted(run)
            if accepted is None:
                await _refuse(run, rejected, out)
                return "refused"
    await out.ledger.index(run.user, run.task, accepted.created)
    reached("ingest.indexed")
    message = first_message(run, accepted, out.ledger.now())
    await out.broker.publish(topic_of(Stage.CLEAN, accepted.priority), encode(message))
    reached("ingest.published")
    return "accepted" if new else "again"


async def find_upload(user: str, task: str, out: Outside) -> InputKey | None:
    """The upload of a task that nobody has accepted, if it is there: `task.json` before a single picture."""
    folder = InputKey(user, task, "").folder
    for name in (_TASK_FILE, *(f"original.{extension}" for extension in INPUT_EXTENSIONS)):
        try:
            await out.objects.head(folder + name)
        except NotFound:
            continue
        return InputKey(user, task, name)
    return None


def first_message(run: RunId, accepted: Accepted, now: float, seq: int = 0) -> Message:
    """The message that starts a run's first stage."""
    header = new_header(run, Stage.CLEAN, now, onward(accepted.traceparent))
    header = msgspec.structs.replace(
        header,
        seq=seq,
        deadline=max(1, int(accepted.deadline * 1000) - header.created),
        priority=accepted.priority,
        kind=accepted.kind,
    )
    return Message(header, Clean())


async def _look(upload: InputKey, run: RunId, out: Outside) -> _Found:
    """The upload and the ticket that came with it.

    Raises:
        messages.errors.Rejected: it is gone, or nothing says that this task was sold to this user.
    """
    info = await _head(upload.folder + upload.name, out)
    out.ledger.learn(info.date)
    if upload.name == _TASK_FILE:
        body = await _task_file(info, out)
        token = _token_in(body)
    else:
        body, token = b"", info.meta.get("ticket", "")
    if not token and not out.policy.ticket_required:
        return _Found(info, body, None)
    ticket = tickets.verify(token, out.policy.ticket_secret, user=run.user, task=run.task, step=run.step)
    return _Found(info, body, ticket)


async def _accept(found: _Found, upload: InputKey, run: RunId, out: Outside) -> Accepted:
    info, ticket = found.info, found.ticket
    order = _read_task_file(info, found.body) if upload.name == _TASK_FILE else _read_metadata(info)
    now = out.ledger.now()
    if ticket:
        # Good when the upload came is good: an event that was lost for hours, and found by the sweep, changes nothing.
        tickets.check_sold(
            ticket,
            now=min(now, info.modified),
            kind=order.kind,
            params=order.params,
            inputs=max(1, len(order.inputs)),
        )
    recipe = _recipe(order, out, sold=ticket is not None)
    inputs = await _inputs(order, info, upload, out)
    accepted = Accepted(
        kind=order.kind,
        params=order.params,
        inputs=inputs,
        created=now,
        deadline=now + recipe.deadline_s,
        traceparent=current() or new_traceparent(),
        priority=Priority[ticket.priority.upper()] if ticket else Priority.NORMAL,
        ticket_expires=ticket.expires if ticket else 0,
    )
    stored = await out.ledger.write(run, "accepted", accepted)
    reached("ingest.accepted")
    if stored.mine:
        metrics.count(Metric.TASKS_ACCEPTED, kind=recipe.kind)
    record = stored.record
    log.info(Event.TASK_ACCEPTED, kind=record.kind, inputs=len(inputs), trace_id=trace_id(record.traceparent))
    return record


def _recipe(order: _Order, out: Outside, *, sold: bool) -> Recipe:
    """The recipe of what is asked for.

    Raises:
        messages.errors.Rejected: there is none, or it takes no such parameters or inputs.
        NotHere: there is none, but it was sold.
    """
    try:
        recipe = recipe_of(order.kind, out.recipes)
    except Rejected as rejected:
        if sold:
            raise NotHere(f"sold, but not known to this build: {rejected}", code=rejected.code) from rejected
        raise
    parse_params(recipe, order.params)
    if len(order.inputs) > recipe.max_inputs:
        raise Rejected(f"{recipe.kind} takes at most {recipe.max_inputs} inputs", code=Code.BAD_PARAMETERS)
    return recipe


async def _head(key: str, out: Outside) -> ObjectInfo:
    try:
        return await out.objects.head(key)
    except NotFound as error:
        raise Rejected(f"the upload {key} is gone", code=Code.NOT_UPLOADED) from error


def _read_metadata(info: ObjectInfo) -> _Order:
    meta = info.meta
    text = meta.get("params", "") or "{}"
    try:
        # Headers are ASCII, and some clients percent-encode the whole value for that.
        params = msgspec.json.decode(unquote(text) if text[0] == "%" else text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected("x-cos-meta-params is no JSON object", code=Code.BAD_PARAMETERS) from error
    return _Order(kind=meta.get("kind", ""), params=params)


async def _task_file(info: ObjectInfo, out: Outside) -> bytes:
    """What task.json says; nothing of one that is too long."""
    if info.size > _TASK_FILE_LIMIT:
        return b""
    return (await out.objects.get(info.key, if_match=info.etag)).body


def _token_in(task_file: bytes) -> str:
    """The ticket in task.json, whatever else is wrong with it."""
    try:
        return msgspec.json.decode(task_file, type=_Bearer).ticket
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""


def _read_task_file(info: ObjectInfo, body: bytes) -> _Order:
    if info.size > _TASK_FILE_LIMIT:
        raise Rejected(f"task.json has {info.size} bytes", code=Code.BAD_PARAMETERS)
    try:
        order = msgspec.json.decode(body, type=_Order)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(f"task.json cannot be read: {type(error).__name__}", code=Code.BAD_PARAMETERS) from error
    if not order.inputs:
        raise Rejected("task.json names no `inputs`", code=Code.BAD_PARAMETERS)
    return order


async def _inputs(order: _Order, info: ObjectInfo, upload: InputKey, out: Outside) -> tuple[InputRef, ...]:
    if not order.inputs:
        return (_input(info),)
    return tuple([_input(await _head(upload.folder + _file_name(name), out)) for name in order.inputs])


def _file_name(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    if not stem or "/" in name or extension.lower() not in INPUT_EXTENSIONS:
        raise Rejected(f"input {name[:80]!r} is no picture beside task.json", code=Code.BAD_PARAMETERS)
    return name


def _input(info: ObjectInfo) -> InputRef:
    if info.size == 0:
        raise Rejected(f"{info.key} is empty", code=Code.EMPTY_FILE)
    if info.size > MAX_PICTURE_BYTES:
        raise Rejected(f"{info.key} has {info.size} bytes", code=Code.PICTURE_TOO_LARGE)
    return InputRef(info.key, info.etag, info.size)


async def _refuse(run: RunId, rejected: Rejected, out: Outside) -> None:
    """The task was sold and cannot be done: verdict `failed`; a notify message brings it to the backend."""
    log.warning(_refusal(rejected), error=rejected)
    failed(rejected)
    await give_verdict(run, Verdict("failed", rejected.code), out)
    await _notify(run, out)


def _refusal(rejected: Rejected) -> Event:
    return Event.TICKET_REFUSED if "ticket" in rejected.code else Event.TASK_REFUSED


async def _notify(run: RunId, out: Outside) -> None:
    now = out.ledger.now()
    header = new_header(run, Stage.NOTIFY, now, current() or new_traceparent())
    await out.broker.publish(topic_of(Stage.NOTIFY), encode(Message(header, Notify(int(now * 1000)))))
