"""The backend's word that a task has waited too long for its upload.

A refund depends on it, so no message is trusted: neither for the sale to this user, nor for its time.
"""

from __future__ import annotations

from typing import Final

from messages.keys import RunId
from tasks.context import Services

__all__ = ["is_overdue"]

_MAX_PAGES: Final = 20
"""Pages read of the backend's list, which begins with the oldest task; a later sweep finds the tasks further back."""


async def is_overdue(run: RunId, limit_s: float, services: Services) -> bool:
    """Return True if the backend says that it sold this step to this user so long ago, and waits for a verdict.

    It is asked for its state of the step; where that does not say all of it, its list of unfinished tasks does.

    Args:
        run: the run.
        limit_s: seconds since it was sold, at least.
        services: the bundle of services; only backend and ledger are used.

    Raises:
        services.errors.BackendDown: its list could not be read.
        services.errors.BadQuestion: the backend calls the question wrong.
    """
    state = await services.backend.state(run.task, run.step)
    if state is not None and state.user and state.created:
        waits = state.user == run.user and not state.status
        return waits and services.ledger.now() >= state.created + limit_s
    return await _is_listed(run, limit_s, services)


async def _is_listed(run: RunId, limit_s: float, services: Services) -> bool:
    cursor = ""
    for _ in range(_MAX_PAGES):
        page = await services.backend.unfinished(int(limit_s), cursor)
        for row in page.rows:
            if (row.task, row.user, row.step) == (run.task, run.user, run.step):
                return services.ledger.now() >= row.created + limit_s
        cursor = page.cursor or ""
        if not cursor:
            break
    return False
