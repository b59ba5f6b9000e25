"""The commands for operators: `scf-workers show | list | topics | stats | workers | pause | resume | pauses`.

Each imports its heavy modules itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from console.cli.arguments import check_choice, check_kind, check_since, check_user
from console.cli.environment import EnvFile, enter_environment
from console.cli.terminal import say_json

__all__ = ["list_tasks", "operate_app", "pause", "pauses", "resume", "show", "stats", "topics", "workers"]

operate_app = typer.Typer()
"""Commands that are added to the top level."""

_SINCE_HELP = "30m, 12h, 7d, or a time such as 2026-01-31T08:00 (UTC)."

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_User = Annotated[str, typer.Option(help="Only tasks of this user.")]
_Vendor = Annotated[str, typer.Option(help="Vendor: its new paid calls, or, of a chat model, its questions.")]
_Kind = Annotated[str, typer.Option(help="Kind: its tasks, until their paid calls are made.")]
_By = Annotated[str, typer.Option(help="Name of the operator (default: this process's user).")]
_Why = Annotated[str, typer.Option(help="Reason, for the record.")]


@operate_app.command()
def show(
    task: Annotated[str, typer.Argument(metavar="TASK_ID", help="Id of the task.")],
    user: Annotated[str, typer.Option(help="User who bought the task (default: looked up).")] = "",
    step: Annotated[int, typer.Option(min=0, help="Step of the pipeline.")] = 0,
    run: Annotated[int, typer.Option(min=-1, help="Number of the run (default: the one that counts).")] = -1,
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """Show a task: state, why it waits, verdict, callback, refund, cost, paid calls, and its records in order.

    Exit status 1: the ledger has no record of it.
    """
    from console.cli.operate.task import show_task, task_document
    from console.cli.operate.work import task_of

    enter_environment(env_file)
    view, runs, pause, now = task_of(task, user, step, run)
    say_json(task_document(view, runs, pause, now)) if as_json else show_task(view, runs, pause, now)


@operate_app.command("list")
def list_tasks(  # noqa: PLR0913, PLR0917 - a command has as many parameters as options
    user: _User = "",
    kind: Annotated[str, typer.Option(help="Only tasks of this kind.")] = "",
    state: Annotated[
        list[str] | None, typer.Option(help="Only tasks in this state: queued, working, success, failed, cancelled.")
    ] = None,
    since: Annotated[str, typer.Option(help=f"Only tasks accepted since then: {_SINCE_HELP}")] = "24h",
    still: Annotated[
        str, typer.Option(help=f"Only tasks that are not over, with no step since then: {_SINCE_HELP}")
    ] = "",
    refunded: Annotated[bool, typer.Option("--refunded", help="Only tasks that were refunded.")] = False,
    step: Annotated[int, typer.Option(min=0, help="Step of the pipeline.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Tasks at most (0 = no limit).")] = 100,
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """List tasks, newest first: state, stage, how long without a step, why they wait, refunds."""
    from console.cli.operate.display import list_document, show_list
    from console.cli.operate.work import list_of
    from tasks.lists.pages import Condition
    from tasks.lists.states import STATES

    wanted = Condition(
        user=check_user(user) if user else "",
        since=check_since("--since", since),
        kind=check_kind(kind) if kind else "",
        states=tuple(check_choice("--state", one, STATES) for one in state or ()),
        still_since=check_since("--still", still),
        refunded=refunded,
    )
    enter_environment(env_file)
    listed, now = list_of(wanted, limit, step)
    say_json(list_document(listed, now)) if as_json else show_list(listed, now)


@operate_app.command()
def topics(as_json: _Json = False, env_file: EnvFile = None) -> None:
    """Show the backlog of each topic (ready, delayed, in flight, age of the oldest ready message), and the pauses."""
    from console.cli.operate.display import show_topics, topics_document
    from console.cli.operate.work import topics as read_topics

    enter_environment(env_file)
    found, paused, now = read_topics()
    say_json(topics_document(found, paused)) if as_json else show_topics(found, paused, now)


@operate_app.command()
def stats(
    since: Annotated[str, typer.Option(help=f"Only tasks that ended since then: {_SINCE_HELP}")] = "24h",
    user: _User = "",
    as_json: _Json = False,
    env_file: EnvFile = None,
) -> None:
    """Count the tasks that have ended, by kind, state and code; how long they waited and ran, and what they cost."""
    from console.cli.operate.display import show_stats, stats_document
    from console.cli.operate.work import statistics

    begin = check_since("--since", since)
    owner = check_user(user) if user else ""
    enter_environment(env_file)
    found = statistics(owner, begin)
    say_json(stats_document(found)) if as_json else show_stats(found)


@operate_app.command()
def workers(as_json: _Json = False, env_file: EnvFile = None) -> None:
    """Show the processes (which of them run, their work, what rests after errors, the last sweep), and the pauses."""
    from console.cli.operate.display import show_workers, workers_document
    from console.cli.operate.work import processes

    enter_environment(env_file)
    found, paused, now = processes()
    say_json(workers_document(found, paused, now)) if as_json else show_workers(found, paused, now)


@operate_app.command()
def pause(
    vendor: _Vendor = "",
    kind: _Kind = "",
    by: _By = "",
    why: _Why = "",
    env_file: EnvFile = None,
) -> None:
    """Pause a vendor or a kind: its tasks wait without costing an attempt, and jobs that are paid go on.

    Workers notice it within 15 s. A task that runs out of time while it waits is refunded.

    Exit status 1: it was paused already.
    """
    from console.cli.dead.work import operator
    from console.cli.operate.pauses import check_target, pause_by_hand

    target = check_target(vendor, kind)
    name = operator(by)
    enter_environment(env_file)
    raise typer.Exit(0 if pause_by_hand(target, name, why) else 1)


@operate_app.command()
def resume(
    vendor: _Vendor = "",
    kind: _Kind = "",
    by: _By = "",
    why: _Why = "",
    env_file: EnvFile = None,
) -> None:
    """End the pause of a vendor or a kind. What waits for it goes on within about a minute.

    Exit status 1: it was not paused.
    """
    from console.cli.dead.work import operator
    from console.cli.operate.pauses import name_target, resume_by_hand

    target = name_target(vendor, kind)
    name = operator(by)
    enter_environment(env_file)
    raise typer.Exit(0 if resume_by_hand(target, name, why) else 1)


@operate_app.command()
def pauses(as_json: _Json = False, env_file: EnvFile = None) -> None:
    """Show what is paused, and the last pauses and resumptions: when, by whom and why."""
    from console.cli.operate.pauses import changes_document, read_changes, show_changes

    enter_environment(env_file)
    paused, changes, now = read_changes()
    say_json(changes_document(paused, changes)) if as_json else show_changes(paused, changes, now)
