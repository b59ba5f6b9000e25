"""Acceptance of a task: from an upload to `accepted` and the first message.

Shared by the COS trigger and by wakes that find an upload without `accepted`. Only work that was sold is done: the
uploader writes kind and parameters, so they count only with the backend's ticket.

The ticket is checked first, because a callback names only the task: an upload without a ticket for this task of this
user proves nothing about the task, so it is rejected without a verdict. If the task was sold, the backend's list of
unfinished tasks leads to its end, as a task without an upload.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from messages.bodies import Clean, Notify, Stage
from messages.codec import Message, Priority, encode, new_header
from messages.codes import Code
from messages.errors import Outage, Rejected, ScfWorkersError
from messages.keys import InputKey, RunId
from messages.topics import topic_of
from recipes.recipe import Recipe, Sale, parse_params, sale_of
from recipes.table import recipe_of
from services.objects.port import ObjectInfo
from services.repeat import repeated
from tasks.accepting import tickets
from tasks.accepting.inputs import find_inputs, head_upload
from tasks.accepting.request import TASK_FILE, TASK_FILE_LIMIT, TaskRequest, read_metadata, read_task_file, token_in
from tasks.context import TriggerServices
from tasks.ending.verdict import give_verdict
from tasks.ledger.records import Accepted, Verdict
from tasks.run import as_accepted
from tasks.wakes import INDEX, publish_wake
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.points import reached
from telemetry.tracing import current, failed, new_traceparent, note, onward, span, trace_id

__all__ = ["NotHere", "Taken", "first_message", "take_in"]

log = logs.get(__name__)

Taken = Literal["accepted", "again", "ended", "rejected"]
"""accepted: new; again: accepted before, its first message published once more; ended: it has a verdict; rejected:
verdict `failed`, or no verdict where no ticket proves the sale."""


class NotHere(Outage):
    """The kind was sold, but this build does not know it: a rolling deploy must cause no refund.

    `code` is the code that the newest build uses.
    """


class _Found(msgspec.Struct, frozen=True):
    """An upload whose task is known: its ticket is genuine, or the deployment asks for no ticket."""

    info: ObjectInfo
    body: bytes
    """Contents of `task.json`; empty for a picture."""
    ticket: tickets.Ticket | None


async def take_in(upload: InputKey, services: TriggerServices, *, apart: bool = False) -> Taken:
    """Accept the task that an upload starts, and publish its first message. Doing it again is harmless.

    Args:
        upload: the object.
        services: the bundle of services.
        apart: begin a trace for a new task, because the same call brings other tasks too.

    Raises:
        NotHere: another build may know what was sold.
        messages.errors.ScfWorkersError: an outside service failed; the same upload may be taken in again.
    """
    run = upload.run
    with logs.context(user_id=run.user, task_id=run.task):
        accepted = await services.ledger.accepted(run)
        above, link = _trace(accepted, apart=apart)
        with span(SpanName.INTAKE, above, link=link, user_id=run.user, task_id=run.task):
            taken = await _take(upload, run, accepted, services)
            note(taken=taken)
            return taken


def _trace(accepted: Accepted | None, *, apart: bool) -> tuple[str, str]:
    """Return the traceparent to continue, and the one to link to: a run's trace begins once."""
    here = current()
    if accepted is not None:
        return accepted.traceparent, here
    return ("", here) if apart else (here, "")


async def _take(upload: InputKey, run: RunId, accepted: Accepted | None, services: TriggerServices) -> Taken:
    if await services.ledger.verdict(run):
        if accepted is None:
            # An earlier call rejected it, and may have ended before it could say so.
            await _notify(run, services)
        return "ended"
    new = accepted is None
    if accepted is None:
        try:
            found = await _look(upload, run, services)
        except Rejected as rejected:
            log.warning(_refusal(rejected), error=rejected)
            failed(rejected)
            return "rejected"
        try:
            accepted = await _accept(found, upload, run, services)
        except Rejected as rejected:
            # `accepted` is read again before `failed` is written: a second delivery may have been quicker.
            accepted = await services.ledger.accepted(run)
            if accepted is None:
                await _refuse(run, rejected, services)
                return "rejected"
    # After any failure from here on, the task goes on: lists can wait.
    message = first_message(run, accepted, services.ledger.now())
    await services.broker.publish(topic_of(Stage.CLEAN, accepted.priority), encode(message, services.keys))
    reached("ingest.published")
    await _index(run, accepted, services)
    return "accepted" if new else "again"


async def _index(run: RunId, accepted: Accepted, services: TriggerServices) -> None:
    """Enter the task in the lists; if the store fails, publish a wake that does so later.

    Raises:
        messages.errors.ScfWorkersError: both failed; the same upload may be taken in again.
    """
    try:
        await services.ledger.index(run.user, run.task, accepted.created)
    except ScfWorkersError as error:
        log.warning(Event.INDEX_LATE, error=error)
        await publish_wake(run, INDEX, services.broker, services.ledger.now(), keys=services.keys)
    else:
        reached("ingest.indexed")


def first_message(run: RunId, accepted: Accepted, now: float, seq: int = 0) -> Message:
    """Return the message that starts a run's first stage."""
    header = as_accepted(new_header(run, Stage.CLEAN, now, onward(accepted.traceparent)), accepted)
    return Message(msgspec.structs.replace(header, seq=seq), Clean())


async def _look(upload: InputKey, run: RunId, services: TriggerServices) -> _Found:
    """Return the upload with its ticket.

    Raises:
        messages.errors.Rejected: it is gone, or nothing proves that this task was sold to this user.
    """
    info = await repeated(partial(head_upload, upload.folder + upload.name, services.objects), services.rng)
    services.ledger.learn(info.date)
    if upload.name == TASK_FILE:
        body = await _task_file(info, services)
        token = token_in(body)
    else:
        body, token = b"", info.meta.get("ticket", "")
    if not token and not services.policy.ticket_required:
        return _Found(info, body, None)
    ticket = tickets.verify(token, services.policy.ticket_secret, user=run.user, task=run.task, step=run.step)
    return _Found(info, body, ticket)


async def _accept(found: _Found, upload: InputKey, run: RunId, services: TriggerServices) -> Accepted:
    info, ticket = found.info, found.ticket
    if upload.name == TASK_FILE:
        request = read_task_file(info, found.body)
        count = len(request.inputs)
    else:
        request, count = read_metadata(info), 1
    now = services.ledger.now()
    if ticket:
        # A ticket must be valid at the time of the upload: an event that was lost for hours changes nothing.
        tickets.check_sold(
            ticket,
            now=min(now, info.modified),
            kind=request.kind,
            params=request.params,
            inputs=count,
        )
    recipe = _recipe(request, services, sold=ticket is not None)
    lifetime = min(recipe.deadline_s, services.policy.deadline_limit_s or recipe.deadline_s)
    sale = _sale(recipe, request, count, lifetime)
    inputs = await repeated(partial(find_inputs, request, info, upload, recipe, services.objects), services.rng)
    accepted = Accepted(
        kind=request.kind,
        params=request.params,
        inputs=inputs,
        created=now,
        deadline=now + lifetime,
        traceparent=current() or new_traceparent(),
        priority=Priority[ticket.priority.upper()] if ticket else Priority.NORMAL,
        ticket_expires=int(ticket.expires) if ticket else 0,
        vendor=recipe.vendor,
        slots=sale.slots,
        enough=sale.enough,
        last_call=now + sale.last_call_s if sale.last_call_s else 0.0,
    )
    stored = await services.ledger.write(run, Accepted.at(), accepted)
    reached("ingest.accepted")
    if stored.mine:
        metrics.count(Metric.TASKS_ACCEPTED, kind=recipe.kind)
    record = stored.record
    log.info(Event.TASK_ACCEPTED, kind=record.kind, inputs=len(inputs), trace_id=trace_id(record.traceparent))
    return record


def _recipe(request: TaskRequest, services: TriggerServices, *, sold: bool) -> Recipe:
    """Return the recipe of the request, in the form by the vendor that the deployment has chosen.

    Raises:
        messages.errors.Rejected: the kind is unknown.
        NotHere: the kind is unknown to this build, but it was sold.
    """
    try:
        return recipe_of(request.kind, services.recipes).by(services.policy.vendors.get(request.kind, ""))
    except Rejected as rejected:
        if sold:
            raise NotHere(f"sold, but not known to this build: {rejected}", code=rejected.code) from rejected
        raise


def _sale(recipe: Recipe, request: TaskRequest, inputs: int, lifetime_s: float) -> Sale:
    """Return the paid calls that the run needs.

    Raises:
        messages.errors.Rejected: the kind does not take these parameters, or this number of inputs.
    """
    params = parse_params(recipe, request.params)
    if not recipe.least_inputs <= inputs <= recipe.most_inputs:
        text = f"{recipe.kind} takes {recipe.least_inputs} to {recipe.most_inputs} inputs, and was given {inputs}"
        raise Rejected(text, code=Code.BAD_PARAMETERS)
    return sale_of(recipe, params, lifetime_s)


async def _task_file(info: ObjectInfo, services: TriggerServices) -> bytes:
    """Return the contents of `task.json`; empty if it is too long."""
    if info.size > TASK_FILE_LIMIT:
        return b""
    return (await repeated(partial(services.objects.get, info.key, if_match=info.etag), services.rng)).body


async def _refuse(run: RunId, rejected: Rejected, services: TriggerServices) -> None:
    """Write the verdict `failed` of a sold task that cannot be done; a `notify` message delivers it."""
    log.warning(_refusal(rejected), error=rejected)
    failed(rejected)
    await give_verdict(run, Verdict("failed", rejected.code), services.ledger, at_door=True)
    await _notify(run, services)


def _refusal(rejected: Rejected) -> Event:
    return Event.TICKET_REJECTED if "ticket" in rejected.code else Event.TASK_REJECTED


async def _notify(run: RunId, services: TriggerServices) -> None:
    now = services.ledger.now()
    header = new_header(run, Stage.NOTIFY, now, current() or new_traceparent())
    await services.broker.publish(
        topic_of(Stage.NOTIFY), encode(Message(header, Notify(int(now * 1000))), services.keys)
    )
