"""Cancelling a run: a verdict and a wake."""

from __future__ import annotations

from messages.codes import Code
from messages.keys import RunId
from tasks.context import ReplayServices
from tasks.ending.verdict import give_verdict
from tasks.ledger.records import Verdict
from tasks.wakes import current_run, publish_wake
from telemetry import logs
from telemetry.events import Event
from telemetry.tracing import current, new_traceparent, under

__all__ = ["cancel_task"]

log = logs.get(__name__)


async def cancel_task(run: RunId, services: ReplayServices) -> Verdict:
    """Cancel a run: verdict `cancelled` unless another stands, and in either case a wake that brings it to its end.

    Args:
        run: which; its number may be `LATEST`.
        services: the bundle of services.

    Returns:
        The verdict that stands.

    Raises:
        messages.errors.ScfWorkersError: something outside did not work; cancelling again is harmless.
    """
    run = await current_run(run, services.ledger)
    accepted = await services.ledger.accepted(run)
    trace = (accepted.traceparent if accepted else "") or current() or new_traceparent()
    with under(trace), logs.context(user_id=run.user, task_id=run.task, step=run.step, run=run.run):
        stored = await give_verdict(run, Verdict("cancelled", Code.CANCELLED), services.ledger, at_door=True)
        event = Event.TASK_CANCELLED if stored.mine else Event.VERDICT_FOUND
        log.info(event, status=stored.record.status)
        await publish_wake(run, "cancel", services.broker, services.ledger.now(), keys=services.keys)
    return stored.record
