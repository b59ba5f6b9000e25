"""Purges of dead letters: an audit record, then the deletion. Runs, verdicts and callbacks are left as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tasks.dead_letters.letters import Letter, find_letters, purged_key
from tasks.ledger.ledger import Ledger
from tasks.ledger.operators import Purged, audit_text
from telemetry import logs
from telemetry.events import Event

__all__ = ["finish_purges", "purge_all"]

log = logs.get(__name__)


async def purge_all(letters: Sequence[Letter], by: str, why: str, ledger: Ledger) -> AsyncIterator[Letter]:
    """Delete letters one after another, and yield each that is deleted.

    Args:
        letters: the letters.
        by: name of the operator.
        why: the reason.
        ledger: the ledger.

    Raises:
        messages.errors.ScfWorkersError: the store failed. Purging again, after `finish_purges`, goes on where this
            stopped.
    """
    await ledger.ask_time()
    for letter in letters:
        record = letter.record
        audit = Purged(audit_text(by), audit_text(why), ledger.now())
        if record is not None:
            audit = Purged(audit.by, audit.why, audit.at, record.user, record.task, record.step, record.run)
        await ledger.write_key(purged_key(letter.id), audit)
        await ledger.objects.delete([letter.id.key])
        log.info(
            Event.DEAD_LETTER_PURGED,
            key=letter.id.text,
            fingerprint=letter.id.fingerprint,
            user_id=audit.user,
            task_id=audit.task,
            by=audit.by,
            why=audit.why,
        )
        yield letter


async def finish_purges(ledger: Ledger) -> None:
    """Delete the letters that have the record of a purge beside them: an earlier command died between the two.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    left = [one.id.key for one in await find_letters(ledger) if one.purged and one.recorded]
    if left:
        await ledger.objects.delete(left)
