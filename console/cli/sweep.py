"""`scf-workers sweep` and `scf-workers cancel`: what the timer and the backend start, done by hand."""

from __future__ import annotations

import asyncio
import os
import sys

from messages.keys import InputKey, RunId, check_id
from producer.sweep import Swept, sweep
from runtime.settings import load_settings
from runtime.wiring import open_services
from tasks.accepting.inputs import find_upload
from tasks.context import Services
from tasks.ending.cancel import cancel_task
from tasks.ledger.records import Verdict
from tasks.wakes import LATEST, current_run
from telemetry import logs

__all__ = ["NoSuchTask", "cancel_by_hand", "cancel_known", "sweep_by_hand"]


class NoSuchTask(LookupError):
    """Nothing is known of a task, so that its ids may be mistyped; the text names them and the remedy."""


def sweep_by_hand(older_than: float, cursor: str) -> Swept:
    """Sweep once, without a limit of time, and log to standard error.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the backend's list cannot be read.
    """
    return asyncio.run(_sweep(older_than, cursor))


def cancel_by_hand(user: str, task: str, step: int, *, not_uploaded: bool) -> Verdict:
    """Cancel a task's current run. Returns the verdict that stands.

    Raises:
        NoSuchTask: nothing is known of it, and `not_uploaded` does not say that this is right.
        messages.errors.InvalidKey: an id that can be none.
        messages.errors.ScfWorkersError: the environment cannot be used, or something outside did not work.
    """
    run = RunId(check_id(user, "user"), check_id(task, "task"), step, LATEST)
    return asyncio.run(_cancel(run, not_uploaded=not_uploaded))


async def cancel_known(run: RunId, services: Services, *, not_uploaded: bool) -> Verdict:
    """Cancel a run of a task that is known here: any other one's verdict would refund what goes on under its true ids.

    Args:
        run: which; its number may be `LATEST`.
        services: the bundle of services.
        not_uploaded: cancel an unknown task too: its upload is still to come.

    Raises:
        NoSuchTask: nothing is known of it.
        messages.errors.ScfWorkersError: something outside did not work; cancelling again is harmless.
    """
    run = await current_run(run, services.ledger)
    if not not_uploaded and not await _is_known(run, services):
        raise NoSuchTask(
            f"user {run.user} has no task {run.task}{_why_unknown(run)}; check both ids, or give --not-uploaded if its "
            "upload is still to come"
        )
    return await cancel_task(run, services)


async def _is_known(run: RunId, services: Services) -> bool:
    """Whether there is an upload, which starts step 0 only, or a record that every run has sooner or later."""
    if await services.ledger.accepted(run) or await services.ledger.verdict(run):
        return True
    return run.step == 0 and await find_upload(run.user, run.task, services.objects) is not None


def _why_unknown(run: RunId) -> str:
    if run.step:
        return f" whose step {run.step} was accepted"
    return f": none was accepted, and nothing was uploaded under {InputKey(run.user, run.task, '').folder}"


async def _sweep(older_than: float, cursor: str) -> Swept:
    settings = load_settings(os.environ)
    logs.setup(sys.stderr, settings.log_level, "console.cli.sweep")
    async with open_services(settings, lambda: os.environ, vendors=False, tickets=False) as services:
        return await sweep(services, older_than=older_than, cursor=cursor)


async def _cancel(run: RunId, *, not_uploaded: bool) -> Verdict:
    settings = load_settings(os.environ)
    logs.setup(sys.stderr, settings.log_level, "console.cancel")
    async with open_services(settings, lambda: os.environ, vendors=False, tickets=False) as services:
        return await cancel_known(run, services, not_uploaded=not_uploaded)
