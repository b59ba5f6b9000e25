"""`finish`: the one idempotent end of a run. Whatever meets a verdict calls it, and it always says what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from messages.codes import Code, text_of
from messages.errors import Permanent, ScfWorkersError, Transient
from messages.keys import RunId, staging_prefix
from services.backend import Answer, Callback
from services.concurrency import Together
from services.errors import Changed, NotFound
from services.objects.walk import walk
from tasks.calls.jobs import vendor_of
from tasks.context import Services
from tasks.ledger.records import Delivered, Intent, ManifestItem, Verdict
from tasks.ledger.snapshot import PaidCall
from telemetry import logs
from telemetry.events import Event
from telemetry.instruments import SpanName
from telemetry.points import reached
from telemetry.tracing import span

__all__ = ["finish"]

_AT_ONCE: Final = 4
"""Copies of one manifest at the same time."""

_ASIDE_S: Final = 8.0
"""Seconds that a failed run's callback waits for each part of the cleaning up: less than a notify has in all."""

log = logs.get(__name__)


async def finish(run: RunId, services: Services, *, again: bool = False) -> ScfWorkersError | None:
    """Bring a run with a verdict to its end; without one this does nothing.

    Success: copy the manifest to output. Else: stop the vendor's jobs and delete the run's staging, for some seconds
    each: a refund waits for neither. Then call the backend and record its acknowledgement.

    Args:
        run: the run.
        services: the bundle of services.
        again: do so also when an acknowledgement is recorded, because the backend seems to have lost the verdict;
            not when it had said that it holds the contrary one.

    Returns:
        Why a failed run is not cleaned up yet, though its verdict is delivered; calling again goes on from there.

    Raises:
        messages.errors.ScfWorkersError: something outside did not work; calling again goes on from there.
    """
    verdict = await services.ledger.verdict(run)
    if verdict is None:
        return None
    found = await services.ledger.read(run, "delivered", Delivered)
    delivered = found.record if found else None
    late: list[ScfWorkersError] = []
    if verdict.status != "success":
        late = [error for work in (_stop_jobs, _wipe) if (error := await _aside(work(run, services)))]
    if delivered is None or (again and not delivered.contrary):
        await _tell(run, verdict, services, doubted=delivered is not None and delivered.conflict)
    return late[0] if late else None


async def _tell(run: RunId, verdict: Verdict, services: Services, *, doubted: bool) -> None:
    """Show a success, and deliver the verdict.

    Args:
        run: the run.
        verdict: its verdict.
        services: the bundle of services.
        doubted: whether the backend has answered 409 before: it may have had the contrary verdict since, and results
            that were withdrawn are shown only when it agrees.
    """
    success = verdict.status == "success"
    if success and not doubted:
        await _promote(verdict, services)
    answer = await _deliver(run, verdict, services)
    if success and doubted and not answer.conflict:
        await _promote(verdict, services)


async def _promote(verdict: Verdict, services: Services) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: ManifestItem) -> None:
        async with gate:
            await _copy(item, services)

    with span(SpanName.PROMOTE, files=len(verdict.manifest)):
        async with Together() as group:
            for item in verdict.manifest:
                group.create_task(one(item))


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
        return (await services.objects.head(item.target)).size == item.size
    except NotFound:
        return False


async def _aside(work: Awaitable[None]) -> ScfWorkersError | None:
    """Clean up after a failed run. Whatever is away, slow or wrong there holds up no refund: its error comes back."""
    try:
        async with asyncio.timeout(_ASIDE_S):
            await work
    except ScfWorkersError as error:
        return error
    except TimeoutError:
        return Transient(f"cleaning up took more than {_ASIDE_S:g} s", code=Code.BUSY)
    except Exception as error:  # noqa: BLE001 - a defect is told, and the refund goes out
        log.error(Event.CLEANUP_LATE, error=error)
        return Permanent(f"cleaning up met a defect: {type(error).__name__}")
    return None


async def _stop_jobs(run: RunId, services: Services) -> None:
    """Stop what still runs at the vendor: every job is tried."""
    live = [call for call in await services.ledger.calls(run) if call.live]
    ends = await asyncio.gather(*(_cancel(run, call, services) for call in live), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _wipe(run: RunId, services: Services) -> None:
    await services.objects.delete([item.key async for item in walk(services.objects, staging_prefix(run))])


async def _cancel(run: RunId, call: PaidCall, services: Services) -> None:
    intent = await services.ledger.read(run, f"vendor-{call.n}", Intent)
    if intent is None:
        raise Permanent(f"paid call {call.n} of {run.stem} has no record any more: its job cannot be stopped")
    vendor = vendor_of(intent.record.vendor, services.vendors)
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
            vendor_task_id=verdict.job,
        )
    )
    reached("finish.called_back")
    if answer.conflict:
        await _yield_to_backend(verdict, answer, services)
    await services.ledger.write(run, "delivered", _delivered(answer))
    reached("finish.delivered")
    log.info(Event.CALLBACK_DELIVERED, status=verdict.status, code=verdict.code, http_status=answer.http_status)
    return answer


def _delivered(answer: Answer) -> Delivered:
    return Delivered(answer.http_status, conflict=answer.conflict, contrary=answer.contrary)


async def _yield_to_backend(verdict: Verdict, answer: Answer, services: Services) -> None:
    """The backend keeps another verdict, and that one decides what is visible.

    Results are withdrawn only when it says that it holds the contrary: after an answer that was lost on the way, a
    repeat may meet a bare 409.
    """
    log.error(Event.CALLBACK_CONFLICT, status=verdict.status, http_status=answer.http_status, contrary=answer.contrary)
    if answer.contrary:
        await services.objects.delete([item.target for item in verdict.manifest])
