"""`finish`: the idempotent end of a run. Every message that meets a verdict calls it; it delivers that verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from messages.bodies import Stage
from messages.codes import Code, text_of
from messages.errors import Outage, Permanent, ScfWorkersError, Transient
from messages.keys import Facts, RunId, staging_prefix
from services.backend import Answer, Callback
from services.concurrency import Together
from services.errors import Changed, NotFound
from services.objects.walk import walk
from services.repeat import repeated
from tasks.calls.jobs import vendor_of
from tasks.context import Services
from tasks.ending.usage import cost_of, read_usage
from tasks.ledger.ledger import Stored
from tasks.ledger.records import (
    Accepted,
    Begun,
    Delivered,
    Erased,
    Intent,
    ManifestItem,
    ReopenDenied,
    Reopened,
    Reopening,
    Verdict,
    Withdrawn,
)
from tasks.ledger.snapshot import PaidCall
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import span

__all__ = ["DELIVER_FOR_S", "LEFT_TO_WRITER_S", "finish", "left_to_writer"]

DELIVER_FOR_S: Final = 72 * 3600.0
"""Seconds in which a verdict is brought to the backend again and again."""

LEFT_TO_WRITER_S: Final = 10.0
"""Seconds for which a new verdict is left to the message that wrote it: longer than an end without faults takes."""

_AT_ONCE: Final = 4
"""Copies of one manifest at the same time."""

_PAUSES_S: Final = (0.5, 2.0, None)
"""Seconds after each round of copies of which some failed; after the last one the rest is left to a notify."""

_ASIDE_S: Final = 8.0
"""Seconds that a failed run's callback waits for each part of the cleaning up: less than a notify has in all."""

_RECHECK_S: Final = 600.0
"""Seconds after a withdrawal until it is made sure of once more: longer than any stage may work."""

log = logs.get(__name__)


async def finish(
    run: RunId, services: Services, *, again: bool = False, resumed: bool = False
) -> ScfWorkersError | None:
    """Bring a run with a verdict to its end; without one this does nothing.

    Success: ask the backend's state once, then copy the manifest to output; where the backend holds the contrary
    verdict, make sure that nothing of it is visible. Else: stop the vendor's jobs and delete the run's staging, for
    some seconds each: a refund waits for neither. Then call the backend and record its acknowledgement. A delivered run
    is not called back again once the backend was asked to open a later one, or its user's data was erased.

    Args:
        run: the run.
        services: the bundle of services.
        again: do so also when an acknowledgement is recorded, because the backend seems to have lost the verdict;
            not when it had said that it holds the contrary one.
        resumed: an earlier call may have shown some results already: only the others are copied.

    Returns:
        The error of an unfinished cleanup, though the verdict is delivered; calling again continues.

    Raises:
        messages.errors.ScfWorkersError: an outside service failed; calling again continues.
    """
    verdict = await services.ledger.verdict(run)
    if verdict is None:
        return None
    delivered = await _delivered(run, services)
    late = [error for work in await _cleaning(run, verdict, services) if (error := await _aside(work(run, services)))]
    if verdict.status == "success" and delivered is not None and delivered.contrary:
        await _withdraw(run, verdict, services)
    if delivered is None or (again and not delivered.contrary and not await _is_final(run, services)):
        doubted = delivered is not None and delivered.conflict
        answer = await _tell(run, verdict, services, doubted=doubted, resumed=resumed)
        if answer.contrary and verdict.status == "success":
            # Copies that a slower process has under way may land after the withdrawal.
            late.append(Outage(f"the results of {run.stem} were withdrawn", retry_after=_RECHECK_S))
    return late[0] if late else None


async def left_to_writer(run: RunId, services: Services) -> float:
    """Return the seconds for which the message that found a verdict leaves its end to the one that wrote it.

    Two messages may end a run at once, such as a webhook's wake and a poll that see the same job fail: without a pause
    both would call the backend. 0 for a verdict that is delivered, or old enough that its writer may have died.

    Raises:
        messages.errors.ScfWorkersError: the ledger cannot be read.
    """
    verdict = await services.ledger.read(run, Verdict.at())
    if verdict is None:
        return 0.0
    left = verdict.at + LEFT_TO_WRITER_S - services.ledger.now()
    return left if left > 0 and await services.ledger.read(run, Delivered.at()) is None else 0.0


async def _cleaning(
    run: RunId, verdict: Verdict, services: Services
) -> Sequence[Callable[[RunId, Services], Awaitable[None]]]:
    """Return the parts of the cleaning up. The only call of a success with one slot has brought the results."""
    if verdict.status != "success":
        return _stop_jobs, _wipe
    return (_stop_jobs,) if await _slots(run, services) > 1 else ()


async def _tell(run: RunId, verdict: Verdict, services: Services, *, doubted: bool, resumed: bool) -> Answer:
    """Show a success, deliver the verdict, and record the acknowledgement: in this order, so that a crash repeats it.

    Args:
        run: the run.
        verdict: its verdict.
        services: the bundle of services.
        doubted: whether the backend has answered 409 before: it may have had the contrary verdict since, and results
            that were withdrawn are shown only when it agrees.
        resumed: whether some results may be shown already.
    """
    success = verdict.status == "success"
    contrary = success and await _is_contrary(run, services)
    if contrary:
        await _withdraw(run, verdict, services)
    elif success and not doubted:
        await _promote(verdict, services, resumed=resumed)
    answer = await _deliver(run, verdict, services)
    if answer.conflict:
        answer = msgspec.structs.replace(answer, contrary=answer.contrary or contrary)
        await _yield_to_backend(run, verdict, answer, services)
    elif contrary or (success and doubted):
        await _promote(verdict, services, resumed=resumed)
    await _enter_done(run, services)
    reached("finish.entered")
    await _record(run, answer, services)
    reached("finish.delivered")
    log.info(Event.CALLBACK_DELIVERED, status=verdict.status, code=verdict.code, http_status=answer.http_status)
    return answer


async def _is_contrary(run: RunId, services: Services) -> bool:
    """Return True if the backend has failed the step itself: then nothing is shown before the callback.

    Raises:
        messages.errors.Permanent: the task belongs to another user, who must get neither results nor verdict.
    """
    state = await services.backend.state(run.task, run.step)
    if state is None:
        return False
    if state.user not in {"", run.user}:
        raise Permanent(f"the backend sold {run.stem} to another user: nothing is shown or called back")
    return state.status == "failed"


async def _promote(verdict: Verdict, services: Services, *, resumed: bool) -> None:
    """Copy every result that is not shown yet; a failed copy delays no other and is tried again."""
    items = verdict.manifest
    with span(SpanName.PROMOTE, files=len(items)):
        if resumed:
            items = await _not_shown(items, services)
        for pause in _PAUSES_S:
            items, error = await _copy_all(items, services)
            if error is None:
                return
            if pause is None:
                raise error
            await asyncio.sleep(pause)


async def _not_shown(items: tuple[ManifestItem, ...], services: Services) -> tuple[ManifestItem, ...]:
    """Return the results that are not in output, by a listing: that costs less than copying all of them again."""
    shown: dict[str, str] = {}
    for folder in {item.target.rpartition("/")[0] for item in items}:
        shown |= {found.key: found.etag async for found in walk(services.objects, f"{folder}/", services.rng)}
    return tuple(item for item in items if shown.get(item.target) != item.etag)


async def _copy_all(
    items: tuple[ManifestItem, ...], services: Services
) -> tuple[tuple[ManifestItem, ...], Outage | None]:
    """Copy results; return those that an outage prevented, and that outage."""
    gate = asyncio.Semaphore(_AT_ONCE)
    failed: dict[str, Outage] = {}

    async def one(item: ManifestItem) -> None:
        async with gate:
            try:
                await _copy(item, services)
            except Outage as outage:
                failed[item.target] = outage

    async with Together() as group:
        for item in items:
            group.create_task(one(item))
    left = tuple(item for item in items if item.target in failed)
    return left, failed[left[0].target] if left else None


async def _copy(item: ManifestItem, services: Services) -> None:
    try:
        await services.objects.copy(item.source, item.target, if_match=item.etag)
        reached("finish.promoted")
    except (NotFound, Changed) as error:
        # Staging ages out; an earlier finish may have copied it long ago.
        if not await _is_there(item, services):
            raise Permanent(f"a result can no longer be promoted: {item.source}") from error


async def _is_there(item: ManifestItem, services: Services) -> bool:
    try:
        found = await repeated(partial(services.objects.head, item.target), services.rng)
    except NotFound:
        return False
    return found.size == item.size


async def _aside(work: Awaitable[None]) -> ScfWorkersError | None:
    """Clean up after a failed run. Cleanup never delays the refund; its error is returned."""
    try:
        async with asyncio.timeout(_ASIDE_S):
            await work
    except ScfWorkersError as error:
        return error
    except TimeoutError:
        return Transient(f"cleaning up took more than {_ASIDE_S:g} s", code=Code.BUSY)
    except Exception as error:  # noqa: BLE001 - a defect is logged, and the refund goes out
        log.error(Event.CLEANUP_LATE, error=error)
        return Permanent(f"cleaning up met a defect: {type(error).__name__}")
    return None


async def _stop_jobs(run: RunId, services: Services) -> None:
    """Stop what still runs at the vendor, of slots without a good end: every job is tried."""
    slots = await _slots(run, services)
    good = {slot for slot, end in (await services.ledger.slot_ends(run, slots)).items() if end.good}
    calls = await services.ledger.every_call(run, slots)
    live = [call for call in calls if call.live and call.job and call.slot not in good]
    ends = await asyncio.gather(*(_cancel(run, call, services) for call in live), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _slots(run: RunId, services: Services) -> int:
    """Return the number of the run's slots; of one whose record cannot be read, the least."""
    try:
        accepted = await services.ledger.accepted(run)
    except Permanent:
        return 1
    return accepted.slots if accepted else 1


async def _wipe(run: RunId, services: Services) -> None:
    staged = walk(services.objects, staging_prefix(run), services.rng)
    await services.objects.delete([item.key async for item in staged])


async def _cancel(run: RunId, call: PaidCall, services: Services) -> None:
    intent = await services.ledger.read(run, Intent.at(call.slot, call.n))
    if intent is None:
        raise Permanent(f"paid call {call.n} of {run.stem} has no record any more: its job cannot be stopped")
    vendor = vendor_of(intent.record.vendor, services.vendors, intent.record.label)
    await vendor.cancel(call.job)
    log.info(Event.VENDOR_CANCELLED, n=call.n, vendor=vendor.name)


async def _deliver(run: RunId, verdict: Verdict, services: Services) -> Answer:
    success = verdict.status == "success"
    answer = await services.backend.deliver(
        Callback(
            task=run.task,
            step=run.step,
            run=run.run,
            status="success" if success else "failed",
            outputs=tuple(item.target for item in verdict.manifest),
            code=verdict.code,
            message="" if success else text_of(verdict.code or Code.INTERNAL),
            text=verdict.text,
            degraded=verdict.degraded,
            vendor_task_id=verdict.job,
        )
    )
    reached("finish.called_back")
    return answer


async def _delivered(run: RunId, services: Services) -> Delivered | None:
    """Return the acknowledgement, with a later withdrawal."""
    found = await services.ledger.read(run, Delivered.at())
    if found is None or not found.record.conflict or found.record.contrary:
        return found.record if found else None
    withdrawn = await services.ledger.read(run, Withdrawn.at())
    return msgspec.structs.replace(found.record, contrary=withdrawn is not None)


async def _enter_done(run: RunId, services: Services) -> None:
    """Put the run among the delivered ones, from records that are final: done twice it is the same entry.

    Written before `delivered`, so that a crash between the two repeats it. A record that cannot be read costs the
    entry, and never the acknowledgement.
    """
    ledger = services.ledger
    try:
        async with Together() as group:
            accepted = group.create_task(ledger.read(run, Accepted.at()))
            begun = group.create_task(ledger.read(run, Begun.at(Stage.CLEAN, 0)))
            verdict = group.create_task(ledger.read(run, Verdict.at()))
    except Permanent as error:
        log.warning(Event.CLEANUP_LATE, error=error)
        return
    if ended := verdict.result():
        cost = await _cost(run, accepted.result(), ended.at, services)
        await ledger.enter_done(run, _facts(accepted.result(), begun.result(), ended, cost))


async def _cost(run: RunId, accepted: Stored[Accepted] | None, until: float, services: Services) -> str:
    """Return the cost of a run; empty if it is not known."""
    if accepted is None:
        return ""
    recipe = services.recipes.get(accepted.record.kind)
    prompted = recipe is not None and recipe.prompt is not None
    try:
        return cost_of(await read_usage(run, accepted.record, until, prompted=prompted, ledger=services.ledger))
    except Permanent as error:
        log.warning(Event.CLEANUP_LATE, error=error)
        return ""


def _facts(
    accepted: Stored[Accepted] | None, begun: Stored[Begun] | None, verdict: Stored[Verdict], cost: str
) -> Facts:
    """Return the statistics of a run; without `accepted` it neither waited nor ran, without a mark it only waited."""
    came = accepted.at if accepted else verdict.at
    began = begun.at if begun else verdict.at
    return Facts(
        ended=verdict.at,
        kind=accepted.record.kind if accepted else "",
        state=verdict.record.status,
        code=verdict.record.code,
        wait_s=max(0, round(began - came)),
        run_s=max(0, round(verdict.at - began)),
        cost=cost,
    )


async def _record(run: RunId, answer: Answer, services: Services) -> None:
    record = Delivered(
        answer.http_status,
        conflict=answer.conflict,
        contrary=answer.contrary,
        sent=answer.sent,
        answered=answer.answered,
    )
    stored = await services.ledger.write(run, Delivered.at(), record)
    if answer.contrary and not stored.record.contrary:
        await services.ledger.write(run, Withdrawn.at(), Withdrawn())


async def _yield_to_backend(run: RunId, verdict: Verdict, answer: Answer, services: Services) -> None:
    """Follow the backend's verdict where it differs: it decides what is visible.

    Results are withdrawn only when it says that it holds the contrary: after an answer that was lost on the way, a
    repeat may meet a bare 409.
    """
    log.error(Event.CALLBACK_CONFLICT, status=verdict.status, http_status=answer.http_status, contrary=answer.contrary)
    if answer.contrary:
        await _withdraw(run, verdict, services)


async def _withdraw(run: RunId, verdict: Verdict, services: Services) -> None:
    """Make sure that nothing of a run is visible; a later run that the backend has opened shows its own results."""
    if not await _is_superseded(run, services):
        await services.objects.delete([item.target for item in verdict.manifest])


async def _is_final(run: RunId, services: Services) -> bool:
    """Return True if a delivered run is not called back again: a later one counts, or its content was erased."""
    return await _is_superseded(run, services) or await services.ledger.read(run, Erased.at()) is not None


async def _is_superseded(run: RunId, services: Services) -> bool:
    """Return True if the backend has opened a later run, or may have: its answer may be lost."""
    ledger = services.ledger
    later = msgspec.structs.replace(run, run=run.run + 1)
    while await ledger.accepted(later):
        asked = await ledger.read(later, Reopening.at())
        denied = await ledger.read(later, ReopenDenied.at())
        if await ledger.read(later, Reopened.at()) or (asked and asked.record.asked and not denied):
            return True
        later = msgspec.structs.replace(later, run=later.run + 1)
    return False
