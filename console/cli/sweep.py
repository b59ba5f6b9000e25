"""`scf-workers sweep` and `scf-workers cancel`: manual versions of the timer's and the backend's calls."""

from __future__ import annotations

import asyncio
import os
import sys

from console.cli.terminal import warn
from messages.keys import InputKey, RunId, check_id
from producer.sweep import Swept, Wake, sweep
from runtime.settings import load_settings
from runtime.wiring import open_services, set_up_logs
from tasks.accepting.inputs import find_upload
from tasks.context import Services
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Verdict
from tasks.wakes import LATEST, Why, current_run

__all__ = ["NoSuchTask", "cancel_by_hand", "cancel_known", "sweep_by_hand"]


class NoSuchTask(LookupError):
    """The task is unknown, so its ids may be mistyped; the message names them and the remedy."""


def sweep_by_hand(older_than: float, cursor: str, *, dry_run: bool = False) -> Swept:
    """Sweep once without a time limit, and log to standard error.

    Args:
        older_than: least age, in seconds, of the tasks and records that are checked.
        cursor: cursor of the first page; empty for the oldest task.
        dry_run: name the stalled tasks on standard error, and wake none.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the backend's list cannot be read.
    """
    return asyncio.run(_sweep(older_than, cursor, _name if dry_run else None))


def cancel_by_hand(user: str, task: str, step: int, *, not_uploaded: bool) -> Verdict:
    """Cancel a task's current run. Returns its verdict, which may be another one.

    Raises:
        NoSuchTask: the task is unknown, and `not_uploaded` is not set.
        messages.errors.InvalidKey: an id is not valid.
        messages.errors.ScfWorkersError: the environment cannot be used, or a service failed.
    """
    run = RunId(check_id(user, "user"), check_id(task, "task"), step, LATEST)
    return asyncio.run(_cancel(run, not_uploaded=not_uploaded))


async def cancel_known(run: RunId, services: Services, *, not_uploaded: bool) -> Verdict:
    """Cancel a run of a known task. A verdict under mistyped ids could refund a task that goes on under its true ids.

    Args:
        run: the run; its number may be `LATEST`.
        services: the bundle of services.
        not_uploaded: cancel an unknown task too, because its upload is still to come.

    Raises:
        NoSuchTask: the task is unknown.
        messages.errors.ScfWorkersError: a service failed; cancelling again is harmless.
    """
    run = await current_run(run, services.ledger)
    if not not_uploaded and not await _is_known(run, services):
        raise NoSuchTask(
            f"user {run.user} has no task {run.task}{_why_unknown(run)}; check both ids, or give --not-uploaded if its "
            "upload is still to come"
        )
    return await cancel_task(run, services)


async def _is_known(run: RunId, services: Services) -> bool:
    """Return True if the step has an upload (step 0 only), an acceptance or a verdict."""
    if await services.ledger.accepted(run) or await services.ledger.verdict(run):
        return True
    return run.step == 0 and await find_upload(run.user, run.task, services.objects) is not None


def _why_unknown(run: RunId) -> str:
    if run.step:
        return f" whose step {run.step} was accepted"
    return f": none was accepted, and nothing was uploaded under {InputKey(run.user, run.task, '').folder}"


async def _name(run: RunId, why: Why, _since: float) -> None:
    warn(f"stalled: task {run.task} of user {run.user}, step {run.step} ({why})")


async def _sweep(older_than: float, cursor: str, wake: Wake | None) -> Swept:
    settings = load_settings(os.environ)
    set_up_logs(sys.stderr, settings, "console.cli.sweep", os.environ)
    async with open_services(settings, lambda: os.environ, vendors=False, tickets=False) as services:
        return await sweep(services, older_than=older_than, cursor=cursor, wake=wake)


async def _cancel(run: RunId, *, not_uploaded: bool) -> Verdict:
    settings = load_settings(os.environ)
    set_up_logs(sys.stderr, settings, "console.cancel", os.environ)
    async with open_services(settings, lambda: os.environ, vendors=False, tickets=False) as services:
        return await cancel_known(run, services, not_uploaded=not_uploaded)
