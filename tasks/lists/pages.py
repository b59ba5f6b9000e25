"""Lists of tasks over the index, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Final

import msgspec

from messages.keys import IndexEntry, RunId, day_index_prefix, parse_index_key, task_index_prefix, user_index_prefix
from services.concurrency import Together
from tasks.ledger.ledger import Ledger
from tasks.ledger.names import RecordBase
from tasks.lists.states import NEEDED, TaskState, is_refunded, newest_at, state_of
from tasks.lists.statistics import LONGEST_S
from tasks.view import View, current_number, read_records, view_of

__all__ = ["Condition", "Listed", "entries_of_user", "find_tasks", "read_current", "read_views", "users_of"]

_AT_ONCE: Final = 8
"""Tasks that are read at the same time."""

_BATCH: Final = 100
_MOST_ENTRIES: Final = 10_000
"""Entries of the index that one list reads."""

_DAY_S: Final = 86400.0


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions that a listed task must meet, all of them."""

    user: str = ""
    """Empty for any; so are the others."""
    since: float
    """Least time of acceptance, seconds since the epoch; without a user, at most `LONGEST_S` ago."""
    kind: str = ""
    states: Collection[TaskState] = ()
    still_since: float = 0.0
    """The run has not ended, and has no record after this time; 0 for any."""
    refunded: bool = False
    """The backend has acknowledged that the run did not succeed."""

    def fits(self, view: View) -> bool:
        """Return True if a task meets them."""
        return (
            self.kind in {"", view.accepted.kind if view.accepted else ""}
            and (not self.states or state_of(view) in self.states)
            and (not self.still_since or (view.delivered is None and newest_at(view) <= self.still_since))
            and (not self.refunded or is_refunded(view))
        )


class Listed(msgspec.Struct, frozen=True):
    """A list of tasks."""

    views: tuple[View, ...]
    complete: bool
    """False if there may be more tasks than were read."""


async def entries_of_user(user: str, after: str, limit: int, ledger: Ledger) -> list[IndexEntry]:
    """Return a page of a user's entries, newest first.

    Args:
        user: the user.
        after: key of the last entry of the page before; empty for the first page.
        limit: entries at most.
        ledger: where they are.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    page = await ledger.objects.list(user_index_prefix(user), after=after, limit=limit)
    return [entry for item in page.items if (entry := parse_index_key(item.key))]


async def users_of(task: str, ledger: Ledger) -> list[str]:
    """Return the users of a task, by the index: none before it was accepted, else one.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    prefix = task_index_prefix(task)
    return [item.key.removeprefix(prefix) async for item in ledger.walk(prefix)]


async def read_current(step: RunId, ledger: Ledger, only: Collection[type[RecordBase]] = ()) -> View:
    """Return the view of the run of a step that counts.

    Args:
        step: any run of it.
        ledger: where the records are.
        only: classes of records to read; empty for all that a view shows.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    runs = await ledger.trail(step)
    run = msgspec.structs.replace(step, run=current_number(runs))
    trail = runs.get(run.run, {})
    return view_of(run, trail, await read_records(run, trail, ledger, only=only))


async def read_views(entries: Sequence[IndexEntry], ledger: Ledger, step: int = 0) -> list[View]:
    """Return the view of each task, in order; state, kind, stage, waits and ends are read, and nothing else.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(entry: IndexEntry) -> View:
        async with gate:
            return await read_current(RunId(entry.user, entry.task, step), ledger, NEEDED)

    async with Together() as group:
        jobs = [group.create_task(one(entry)) for entry in entries]
    return [job.result() for job in jobs]


async def find_tasks(wanted: Condition, limit: int, ledger: Ledger, *, step: int = 0) -> Listed:
    """List the tasks that meet some conditions, newest first.

    Args:
        wanted: the conditions.
        limit: tasks at most.
        ledger: where they are.
        step: step of the pipeline that is looked at.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    found: list[View] = []
    seen = 0
    async for batch in _batches(wanted, ledger):
        found += [view for view in await read_views(batch, ledger, step) if view.timeline and wanted.fits(view)]
        seen += len(batch)
        if len(found) > limit or seen >= _MOST_ENTRIES:
            return Listed(tuple(found[:limit]), complete=False)
    return Listed(tuple(found), complete=True)


async def _batches(wanted: Condition, ledger: Ledger) -> AsyncGenerator[list[IndexEntry]]:
    """Yield the entries of a window, each task once: a step of a pipeline has an entry of its own."""
    known: set[tuple[str, str]] = set()
    batch: list[IndexEntry] = []
    async for entry in _entries(wanted, ledger):
        if (entry.user, entry.task) in known:
            continue
        known.add((entry.user, entry.task))
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _entries(wanted: Condition, ledger: Ledger) -> AsyncGenerator[IndexEntry]:
    day = await ledger.ask_time()
    first = day_index_prefix(max(wanted.since, day - LONGEST_S))
    prefixes = [user_index_prefix(wanted.user)] if wanted.user else []
    while not wanted.user and day_index_prefix(day) >= first:
        prefixes.append(day_index_prefix(day))
        day -= _DAY_S
    for prefix in prefixes:
        async for item in ledger.walk(prefix):
            entry = parse_index_key(item.key)
            if entry is not None and entry.created < wanted.since:
                # Within a prefix the newest come first.
                break
            if entry is not None:
                yield entry
