"""Statistics by listing alone: every fact stands in the key of a finished run's entry."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

import msgspec

from messages.keys import Facts, done_prefix, parse_done_key
from services.objects.port import Objects

__all__ = ["LONGEST_S", "MAX_ENTRIES", "Count", "Durations", "Statistics", "statistics_of", "summarize"]

MAX_ENTRIES: Final = 10_000
"""Entries that one request reads."""

LONGEST_S: Final = 366 * 86400.0
"""Length of a window, at most: each day is a request."""

_PAGE: Final = 1000
_DAY_S: Final = 86400.0


class Durations(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles, in whole seconds."""

    p50: int
    """Half of the tasks took no longer."""
    p95: int
    """95 of 100 tasks took no longer."""
    p99: int
    """99 of 100 tasks took no longer."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Number of tasks with the same kind, state and code."""

    kind: str
    """Kind of work; empty if the task was never accepted."""
    state: str
    """State in which the tasks ended."""
    code: str
    """Code of a failure; empty otherwise."""
    tasks: int
    """Number of tasks."""


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Finished tasks of a window of time."""

    since: float
    """Seconds since the epoch; so is `until`."""
    until: float
    total: int
    complete: bool
    """False where counting stopped: everything here covers the newest tasks only."""
    counts: tuple[Count, ...]
    wait: Durations | None
    """From acceptance until work began; None without tasks."""
    run: Durations | None
    """From the begin of work until the end; None without tasks."""
    cost: Mapping[str, str]
    """Currency or unit -> sum, where vendors report costs."""


async def statistics_of(user: str, since: float, until: float, objects: Objects, most: int = MAX_ENTRIES) -> Statistics:
    """Count the finished tasks of a window, newest day first.

    Args:
        user: counts only this user's; empty for all.
        since: begin of the window, seconds since the epoch; at most `LONGEST_S` before its end.
        until: its end.
        objects: the ledger's bucket.
        most: entries that are read.

    Raises:
        services.errors.ObjectsDown: it did not answer.
    """
    since = max(since, until - LONGEST_S)
    found: list[Facts] = []
    left, complete = most, True
    day = until
    while done_prefix(day) >= done_prefix(since) and complete:
        after = ""
        if left <= 0:
            complete = False
            break
        while True:
            page = await objects.list(done_prefix(day), after=after, limit=min(_PAGE, left))
            left -= len(page.items)
            entries = [entry for item in page.items if (entry := parse_done_key(item.key))]
            found += [facts for run, facts in entries if since <= facts.ended <= until and user in {"", run.user}]
            after = page.next_after
            # Within a day the newest come first.
            if not after or (entries and entries[-1][1].ended < since):
                break
            if left <= 0:
                complete = False
                break
        day -= _DAY_S
    return summarize(found, since, until, complete=complete)


def summarize(found: Sequence[Facts], since: float, until: float, *, complete: bool) -> Statistics:
    """Return the statistics of finished runs. Pure.

    Args:
        found: the runs.
        since: begin of the window, seconds since the epoch.
        until: its end.
        complete: True if none is missing.
    """
    counts = Counter((one.kind, one.state, one.code) for one in found)
    return Statistics(
        since=since,
        until=until,
        total=len(found),
        complete=complete,
        counts=tuple(
            Count(kind=kind, state=state, code=code, tasks=tasks)
            for (kind, state, code), tasks in sorted(counts.items())
        ),
        wait=_durations([one.wait_s for one in found]),
        run=_durations([one.run_s for one in found]),
        cost=_costs(found),
    )


def _durations(seconds: list[int]) -> Durations | None:
    if not seconds:
        return None
    ordered = sorted(seconds)

    def at(share: float) -> int:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Durations(p50=at(0.5), p95=at(0.95), p99=at(0.99))


def _costs(found: Sequence[Facts]) -> dict[str, str]:
    """Add up costs of the form `{number}_{unit}`, joined by `_`; a last number may have no unit."""
    sums: Counter[str] = Counter()
    for one in found:
        parts = one.cost.split("_")
        for number, unit in zip_longest(parts[::2], parts[1::2], fillvalue=""):
            try:
                sums[unit] += round(float(number) * 1e6)
            except (ValueError, OverflowError):
                break
    return {unit or "cost": f"{total / 1e6:g}" for unit, total in sorted(sums.items()) if total}
