"""Statistics of finished tasks as a document."""

from __future__ import annotations

from producer.api.progress import moment
from producer.api.wire import Statistics
from services.objects.port import Objects
from tasks.lists.statistics import MAX_ENTRIES
from tasks.lists.statistics import statistics_of as count_finished

__all__ = ["statistics_of"]


async def statistics_of(user: str, since: float, until: float, objects: Objects, most: int = MAX_ENTRIES) -> Statistics:
    """Count the finished tasks of a window.

    Args:
        user: counts only this user's; empty for all.
        since: begin of the window, seconds since the epoch.
        until: its end.
        objects: the ledger's bucket.
        most: entries that are read.

    Raises:
        services.errors.ObjectsDown: it did not answer.
    """
    found = await count_finished(user, since, until, objects, most)
    return Statistics(
        since=moment(found.since),
        until=moment(found.until),
        total=f"{found.total}{'' if found.complete else '+'}",
        complete=found.complete,
        counts=found.counts,
        wait=found.wait,
        run=found.run,
        cost=found.cost,
    )
