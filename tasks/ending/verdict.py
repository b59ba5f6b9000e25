"""The only writer of verdicts, so that each is counted and logged once."""

from __future__ import annotations

from messages.keys import RunId
from tasks.errors import NotAccepted
from tasks.ledger.ledger import Ledger, Stored
from tasks.ledger.records import Verdict
from telemetry import logs, metrics
from telemetry.events import Event
from telemetry.instruments import Metric, SpanName
from telemetry.points import reached
from telemetry.tracing import note, span

__all__ = ["give_verdict"]

log = logs.get(__name__)


async def give_verdict(
    run: RunId, verdict: Verdict, ledger: Ledger, *, kind: str = "", at_door: bool = False
) -> Stored[Verdict]:
    """Write a run's verdict, or find the one that stands.

    Args:
        run: the run.
        verdict: the wanted one.
        ledger: where it is written.
        kind: of the task, where it is known.
        at_door: whether the task need not have been accepted, because it is refused, was never uploaded, or is
            cancelled. Only run 0 may have such a verdict.

    Raises:
        tasks.errors.NotAccepted: the run was never accepted.
        services.errors.ObjectsDown: it is not known to be stored.
    """
    if not (at_door and run.run == 0) and not await ledger.is_accepted(run):
        raise NotAccepted(f"no verdict {verdict.status} for {run.stem}: it was not accepted")
    with span(SpanName.VERDICT, status=verdict.status):
        stored = await ledger.write(run, Verdict.at(), verdict)
        note(status=stored.record.status, code=stored.record.code or None, mine=stored.mine)
    reached("verdict.stored")
    if stored.mine:
        metrics.count(Metric.VERDICTS, kind=kind or "none", status=verdict.status)
    event = Event.VERDICT_WRITTEN if stored.mine else Event.VERDICT_FOUND
    log.info(event, status=stored.record.status, code=stored.record.code)
    return stored
