"""Work of the commands for operators with the services of the environment. They only read."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from console.cli.arguments import BadUsage
from messages.errors import InvalidKey, ScfWorkersError
from messages.keys import RunId, check_id
from runtime.settings import Settings, load_settings
from runtime.wiring import open_backlogs, open_ledger, set_up_logs
from tasks.ledger.ledger import Ledger
from tasks.ledger.status import ProcessStatus
from tasks.lists.backlogs import TopicBacklog, read_backlogs
from tasks.lists.pages import Condition, Listed, find_tasks, users_of
from tasks.lists.processes import read_processes
from tasks.lists.statistics import Statistics, statistics_of
from tasks.topics import TOPICS
from tasks.view import View, current_number, read_records, view_of

__all__ = ["NotFound", "list_of", "processes", "statistics", "task_of", "topics"]

_NO_LIMIT: Final = 10_000


class NotFound(ScfWorkersError):
    """No such task; the message names the remedy."""


def task_of(task: str, user: str, step: int, number: int) -> tuple[View, list[int], float]:
    """Read a run of a task.

    Args:
        task: its id.
        user: its user; empty to look the user up.
        step: step of the pipeline.
        number: of the run; -1 for the one that counts.

    Returns:
        The view of the run, the numbers of all runs of the step, and the store's time.

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

    async def read() -> tuple[View, list[int], float]:
        async with open_ledger(_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            owner = user or await _user_of(task, ledger)
            runs = await ledger.trail(RunId(owner, task, step))
            run = RunId(owner, task, step, current_number(runs) if number < 0 else number)
            if run.run not in runs:
                what = f"run {step}-{run.run} of task {task}" if runs else f"step {step} of task {task} of user {owner}"
                raise NotFound(f"the ledger has no record of {what}")
            trail = runs[run.run]
            return view_of(run, trail, await read_records(run, trail, ledger)), sorted(runs), ledger.now()

    return asyncio.run(read())


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
        async with open_ledger(_settings(), lambda: os.environ) as services:
            listed = await find_tasks(wanted, limit or _NO_LIMIT, services.ledger, step=step)
            return listed, services.ledger.now()

    return asyncio.run(read())


def topics() -> list[TopicBacklog]:
    """Ask the broker for the backlog of every topic.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the broker failed.
    """

    async def read() -> list[TopicBacklog]:
        async with open_backlogs(_settings(), lambda: os.environ) as broker:
            return await read_backlogs(TOPICS, broker)

    return asyncio.run(read())


def statistics(user: str, since: float) -> Statistics:
    """Count the tasks that ended since a time, of one user or (with an empty one) of all.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> Statistics:
        async with open_ledger(_settings(), lambda: os.environ) as services:
            ledger = services.ledger
            # A verdict's time has whole seconds, rounded by the store.
            return await statistics_of(user, since, await ledger.ask_time() + 1, ledger.objects)

    return asyncio.run(read())


def processes() -> tuple[list[ProcessStatus], float]:
    """Read the statuses of the processes. Returns them, and the store's time.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> tuple[list[ProcessStatus], float]:
        async with open_ledger(_settings(), lambda: os.environ) as services:
            return await read_processes(services.ledger), services.ledger.now()

    return asyncio.run(read())


def _settings() -> Settings:
    settings = load_settings(os.environ)
    set_up_logs(sys.stderr, settings, "console.operate", os.environ)
    return settings
