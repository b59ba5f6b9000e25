"""Lists of tasks, topics, statistics and workers: for people and as documents. Times are ISO 8601, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from console.cli.operate.pauses import pause_document, say_paused
from console.cli.operate.tables import age, moment, say_table
from console.cli.terminal import say
from tasks.control.pauses import Pause
from tasks.ledger.status import ProcessStatus
from tasks.lists.backlogs import TopicBacklog
from tasks.lists.pages import Listed
from tasks.lists.processes import is_silent
from tasks.lists.states import is_refunded, newest_at, state_of, why_of
from tasks.lists.statistics import Statistics
from tasks.view import View

__all__ = [
    "list_document",
    "show_list",
    "show_stats",
    "show_topics",
    "show_workers",
    "stats_document",
    "topics_document",
    "workers_document",
]


def list_document(listed: Listed, now: float) -> dict[str, Any]:
    """Return a list of tasks as a document."""
    return {"complete": listed.complete, "tasks": [_row(view, now) for view in listed.views]}


def show_list(listed: Listed, now: float) -> None:
    """Print a list of tasks. `still` is the time since the last step of a run that has not ended."""
    columns = ("task", "user", "run", "kind", "state", "stage", "accepted", "still", "why", "code", "refunded")
    rows = []
    for view in listed.views:
        row = _row(view, now)
        still = "" if view.delivered else age(row["still_s"])
        words = {"run": f"{row['step']}-{row['run']}", "still": still, "refunded": "yes" if row["refunded"] else ""}
        rows.append([str(words.get(name, row.get(name)) or "") for name in columns])
    say_table(columns, rows, "task", complete=listed.complete)


def _row(view: View, now: float) -> dict[str, Any]:
    accepted, waits = view.accepted, view.waits
    return {
        "task": view.run.task,
        "user": view.run.user,
        "step": view.run.step,
        "run": view.run.run,
        "kind": accepted.kind if accepted else "",
        "state": state_of(view),
        "stage": view.stage.value if view.stage else None,
        "accepted": moment(accepted.created) if accepted else None,
        "still_s": round(max(0.0, now - newest_at(view)), 3),
        "why": why_of(view),
        "until": moment(waits.until) if waits else None,
        "code": view.verdict.code if view.verdict else "",
        "delivered": view.delivered is not None,
        "refunded": is_refunded(view),
    }


def topics_document(found: Sequence[TopicBacklog], paused: Sequence[Pause]) -> dict[str, Any]:
    """Return the backlogs as a document."""
    return {
        "topics": [
            {"topic": one.topic, "subscription": one.subscription, **msgspec.structs.asdict(one.backlog)}
            for one in found
        ],
        "paused": [pause_document(one) for one in paused],
    }


def show_topics(found: Sequence[TopicBacklog], paused: Sequence[Pause], now: float) -> None:
    """Print the topics that have messages, count the others, and print what operators have paused."""
    columns = ("topic", "subscription", "ready", "delayed", "in flight", "oldest")
    full = [one for one in found if one.backlog.depth]
    rows = [
        [
            *(one.topic, one.subscription, str(one.backlog.ready), str(one.backlog.delayed)),
            *(str(one.backlog.in_flight), age(one.backlog.oldest_age) if one.backlog.ready else ""),
        ]
        for one in full
    ]
    say_table(columns, rows, "topic with messages", "topics with messages")
    say(f"{len(found) - len(full)} empty")
    say_paused(paused, now)


def stats_document(found: Statistics) -> dict[str, Any]:
    """Return statistics as a document."""
    document: dict[str, Any] = msgspec.to_builtins(found)
    return {**document, "since": moment(found.since), "until": moment(found.until)}


def show_stats(found: Statistics) -> None:
    """Print statistics: the counts, then the times and the cost."""
    rows = [[one.kind, one.state, one.code, str(one.tasks)] for one in found.counts]
    say_table(("kind", "state", "code", "tasks"), rows, "row")
    more = "" if found.complete else "+; counting stopped, so all of this covers the newest tasks only"
    say(f"ended since {moment(found.since)}: {found.total}{more}")
    for name, times in (("waited", found.wait), ("ran", found.run)):
        if times is not None:
            say(f"{name}: half of them {age(times.p50)} or less, 95 % {age(times.p95)}, 99 % {age(times.p99)}")
    say("cost: " + (", ".join(f"{unit} {amount}" for unit, amount in found.cost.items()) or "none reported"))


def workers_document(found: Sequence[ProcessStatus], paused: Sequence[Pause], now: float) -> dict[str, Any]:
    """Return the statuses of processes as a document."""
    return {
        "processes": [
            {
                **msgspec.to_builtins(one),
                "at": moment(one.at),
                "received": moment(one.received) if one.received else None,
                "pauses": {name: moment(until) for name, until in one.pauses.items()},
                "silent": is_silent(one, now),
            }
            for one in found
        ],
        "paused": [pause_document(one) for one in paused],
    }


def show_workers(found: Sequence[ProcessStatus], paused: Sequence[Pause], now: float) -> None:
    """Print the processes, the last to write first, and what operators have paused."""
    columns = ("process", "wrote", "state", "version", "busy", "last message", "ended", "pauses", "sweep")
    rows = [
        [
            one.process,
            f"{age(now - one.at)} ago",
            "silent" if is_silent(one, now) else "runs",
            one.version,
            f"{one.busy} of {sum(group.permits for group in one.groups)}" if one.groups else "",
            f"{age(now - one.received)} ago" if one.received else "",
            ", ".join(f"{name} {count}" for name, count in one.ended.items()),
            ", ".join(f"{name} {age(until - now)}" for name, until in one.pauses.items() if until > now),
            ", ".join(f"{name} {count}" for name, count in one.sweep.items()),
        ]
        for one in found
    ]
    say_table(columns, rows, "process", "processes")
    say_paused(paused, now)
