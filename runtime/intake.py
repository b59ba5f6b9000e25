"""Taking a task in: from an upload to `accepted` and the first message.

Shared by the COS trigger and by wakes that find an upload nobody accepted. Only what was sold is done: kind and
parameters are the uploader's word, and count only with the backend's ticket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec

from messages.bodies import Clean, Notify, Stage
from messages.codec import Message, Priority, encode, new_header
from messages.codes import Code
from messages.errors import Rejected
from messages.keys import InputKey, RunId
from messages.topics import topic_of
from recipes.recipe import parse_params
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
from telemetry.tracing import current, new_traceparent, note, onward, span, trace_id

__all__ = ["MAX_PICTURE_BYTES", "Taken", "find_upload", "first_message", "take_in"]

MAX_PICTURE_BYTES: Final = 32 << 20
"""The picture service takes 32 MB (data sheet of Cloud Infinite's basic processing, limits)."""

_TASK_FILE: Final = "task.json"
_TASK_FILE_LIMIT: Final = 64 << 10

log = logs.get(__name__)

Taken = Literal["accepted", "again", "ended", "refused"]
"""accepted: new; again: accepted before, its first message published once more; ended: a verdict is there; refused."""


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the uploader asks for: object metadata, or the file `task.json`."""

    kind: str
    params: Mapping[str, Any] = {}
    inputs: tuple[str, ...] = ()
    ticket: str = ""


async def take_in(upload: InputKey, out: Outside, *, apart: bool = False) -> Taken:
    """Accept the task that an upload starts, and publish its first message. Doing it again is harmless.

    Args:
        upload: the object.
        out: everything outside.
        apart: whether a new task begins a trace of its own, because the call that brings it brings others too.

    Raises:
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
            accepted = await _accept(upload, run, out)
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
    for name in (_TASK_FILE, "original.jpg", "original.jpeg", "original.png", "original.webp"):
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


async def _accept(upload: InputKey, run: RunId, out: Outside) -> Accepted:
    key = upload.folder + upload.name
    info = await _head(key, out)
    out.ledger.learn(info.date)
    order = await _read_task_file(info, out) if upload.name == _TASK_FILE else _read_metadata(info)
    recipe = recipe_of(order.kind, out.recipes)
    parse_params(recipe, order.params)
    if len(order.inputs) > recipe.max_inputs:
        raise Rejected(f"{recipe.kind} takes at most {recipe.max_inputs} inputs", code=Code.BAD_PARAMETERS)
    now = out.ledger.now()
    # Good when the upload came is good: an event that was lost for hours, and found by the sweep, changes nothing.
    ticket = _check_ticket(order, run, min(now, info.modified), out)
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
    found = stored.record
    log.info(Event.TASK_ACCEPTED, kind=found.kind, inputs=len(inputs), trace_id=trace_id(found.traceparent))
    return found


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
    return _Order(kind=meta.get("kind", ""), params=params, ticket=meta.get("ticket", ""))


async def _read_task_file(info: ObjectInfo, out: Outside) -> _Order:
    if info.size > _TASK_FILE_LIMIT:
        raise Rejected(f"task.json has {info.size} bytes", code=Code.BAD_PARAMETERS)
    content = await out.objects.get(info.key, if_match=info.etag)
    try:
        order = msgspec.json.decode(content.body, type=_Order)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(f"task.json cannot be read: {type(error).__name__}", code=Code.BAD_PARAMETERS) from error
    if not order.inputs:
        raise Rejected("task.json names no `inputs`", code=Code.BAD_PARAMETERS)
    return order


def _check_ticket(order: _Order, run: RunId, now: float, out: Outside) -> tickets.Ticket | None:
    """The ticket, if it sells this; None where the demo asks for none."""
    if not order.ticket and not out.policy.ticket_required:
        return None
    return tickets.verify(
        order.ticket,
        out.policy.ticket_secret,
        now=now,
        user=run.user,
        task=run.task,
        step=run.step,
        kind=order.kind,
        params=order.params,
        inputs=max(1, len(order.inputs)),
    )


async def _inputs(order: _Order, info: ObjectInfo, upload: InputKey, out: Outside) -> tuple[InputRef, ...]:
    if not order.inputs:
        return (_input(info),)
    return tuple([_input(await _head(upload.folder + _file_name(name), out)) for name in order.inputs])


def _file_name(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    if not stem or "/" in name or extension.lower() not in {"jpg", "jpeg", "png", "webp"}:
        raise Rejected(f"input {name[:80]!r} is no picture beside task.json", code=Code.BAD_PARAMETERS)
    return name


def _input(info: ObjectInfo) -> InputRef:
    if info.size == 0:
        raise Rejected(f"{info.key} is empty", code=Code.EMPTY_FILE)
    if info.size > MAX_PICTURE_BYTES:
        raise Rejected(f"{info.key} has {info.size} bytes", code=Code.PICTURE_TOO_LARGE)
    return InputRef(info.key, info.etag, info.size)


async def _refuse(run: RunId, rejected: Rejected, out: Outside) -> None:
    """The task is known and cannot be done: verdict `failed`; a notify message brings it to the backend."""
    log.warning(Event.TICKET_REFUSED if "ticket" in rejected.code else Event.TASK_REFUSED, error=rejected)
    await give_verdict(run, Verdict("failed", rejected.code), out)
    await _notify(run, out)


async def _notify(run: RunId, out: Outside) -> None:
    now = out.ledger.now()
    header = new_header(run, Stage.NOTIFY, now, current() or new_traceparent())
    await out.broker.publish(topic_of(Stage.NOTIFY), encode(Message(header, Notify(int(now * 1000)))))
