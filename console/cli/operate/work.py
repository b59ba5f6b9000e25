"""Work of the commands for operators with the services of the environment. They only read."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Final

from console.cli.arguments import BadUsage
from messages.errors import InvalidKey, ScfWorkersError
from messages.keys import RunId, check_id
from recipes.table import RECIPES
from runtime.settings import Settings, load_settings
from runtime.wiring import open_backlogs, open_ledger, set_up_logs
from tasks.control.pauses import Pause, held_by
from tasks.control.store import list_pauses
from tasks.ledger.ledger import Ledger
from tasks.ledger.status import ProcessStatus
from tasks.lists.backlogs import TopicBacklog, read_backlogs
from tasks.lists.pages import Condition, Listed, find_tasks, users_of
from tasks.lists.processes import read_processes
from tasks.lists.statistics import Statistics, statistics_of
from tasks.topics import TOPICS
from tasks.view import View, current_number, read_records, view_of

__all__ = ["NotFound", "list_of", "processes", "read_settings", "statistics", "task_of", "topics"]

_NO_LIMIT: Final = 10_000


class NotFound(ScfWorkersError):
    """No such task; the message names the remedy."""


def task_of(task: str, user: str, step: int, number: int) -> tuple[View, list[int], Pause | None, float]:
    """Read a run of a task.

    Args:
        task: its id.
        user: its user; empty to look the user up.
        step: step of the pipeline.
        number: of the run; -1 for the one that counts.

    Returns:
        The view of the run, the numbers of all runs of the step, the pause that holds it up, and the store's time.

    Raises:
        console.cli.arguments.BadUsage: an id that no task can have, or a task of several users.
        NotFound: there is no record of the task.
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """
    try:
        check_id(task, "TASK")
        check_id(user or task, "--user")
    except InvalidKey as error:
        raise BadUsage(str(error)) from error

    async def read() -> tuple[View, list[int], Pause | None, float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            owner = user or await _user_of(task, ledger)
            runs = await ledger.trail(RunId(owner, task, step))
            run = RunId(owner, task, step, current_number(runs) if number < 0 else number)
            if run.run not in runs:
                what = f"run {step}-{run.run} of task {task}" if runs else f"step {step} of task {task} of user {owner}"
                raise NotFound(f"the ledger has no record of {what}")
            trail = runs[run.run]
            view = view_of(run, trail, await read_records(run, trail, ledger))
            return view, sorted(runs), _pause_of(view, await list_pauses(ledger)), ledger.now()

    return asyncio.run(read())


def _pause_of(view: View, pauses: list[Pause]) -> Pause | None:
    """Return the pause that holds up a run; None if there is none."""
    if view.accepted is None or view.stage is None or view.verdict is not None:
        return None
    recipe = RECIPES.get(view.accepted.kind)
    vendor = view.accepted.vendor or (recipe.vendor if recipe else "")
    paused = {one.target: one for one in pauses}
    target = held_by(view.stage, view.accepted.kind, vendor, {target: one.at for target, one in paused.items()})
    return paused[target] if target else None


async def _user_of(task: str, ledger: Ledger) -> str:
    users = await users_of(task, ledger)
    if len(users) > 1:
        raise BadUsage(f"task {task} is in the lists of {', '.join(sorted(users))}: name one with --user")
    if not users:
        raise NotFound(f"no task {task} was accepted; for one that was rejected or not uploaded, name its --user")
    return users[0]


def list_of(wanted: Condition, limit: int, step: int) -> tuple[Listed, float]:
    """List tasks. Returns them, and the store's time.

    Args:
        wanted: conditions that they meet.
        limit: tasks at most; 0 for no limit.
        step: step of the pipeline that is looked at.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> tuple[Listed, float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            listed = await find_tasks(wanted, limit or _NO_LIMIT, services.ledger, step=step)
            return listed, services.ledger.now()

    return asyncio.run(read())


def topics() -> tuple[list[TopicBacklog], list[Pause], float]:
    """Ask the broker for the backlog of every topic, and the ledger, if it is configured, for the operators' pauses.

    Returns:
        The backlogs, the pauses, and the time.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the broker failed.
    """

    async def read() -> tuple[list[TopicBacklog], list[Pause], float]:
        settings = read_settings()
        async with open_backlogs(settings, lambda: os.environ) as broker:
            backlogs = await read_backlogs(TOPICS, broker)
        if not settings.ledger_bucket:
            return backlogs, [], time.time()
        async with open_ledger(settings, lambda: os.environ) as services:
            return backlogs, await list_pauses(services.ledger), services.ledger.now()

    return asyncio.run(read())


def statistics(user: str, since: float) -> Statistics:
    """Count the tasks that ended since a time, of one user or (with an empty one) of all.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> Statistics:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            # A verdict's time has whole seconds, rounded by the store.
            return await statistics_of(user, since, await ledger.ask_time() + 1, ledger.objects)

    return asyncio.run(read())


def processes() -> tuple[list[ProcessStatus], list[Pause], float]:
    """Read the statuses of the processes. Returns them, the operators' pauses, and the store's time.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> tuple[list[ProcessStatus], list[Pause], float]:
        async with open_ledger(read_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            return await read_processes(ledger), await list_pauses(ledger), ledger.now()

    return asyncio.run(read())


def read_settings() -> Settings:
    """Read the settings of a command for operators, whose log goes to standard error.

    Raises:
        runtime.errors.BadSettings: a variable cannot be used.
    """
    settings = load_settings(os.environ)
    set_up_logs(sys.stderr, settings, "console.operate", os.environ)
    return settings
