"""`scf-workers submit --direct`: submits tasks as a client with the keys of a deployment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from console.cli.client import Client, Sold, open_client
from console.cli.ending import describe_ending
from console.cli.live_view import Row, RowState
from console.cli.show import show_progress
from console.cli.submit.outcome import AT_ONCE, Attempt, Outcome, Submission
from runtime.settings import load_settings
from services.concurrency import Together
from telemetry.tracing import trace_id

__all__ = ["submit_photos"]

_POLL_EVERY_S: Final = 0.5

_Show = Callable[[Row], None]


def submit_photos(inputs: Sequence[Sequence[Path]], submission: Submission) -> list[Outcome]:
    """Submit a task for each set of inputs, and show their progress. Returns their outcomes.

    Raises:
        runtime.errors.BadSettings: the environment cannot be used.
    """
    return asyncio.run(_submit(inputs, submission))


async def _submit(inputs: Sequence[Sequence[Path]], submission: Submission) -> list[Outcome]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with open_client(load_settings(os.environ)) as client:
        with show_progress(len(inputs)) as shown:

            async def one(attempt: Attempt) -> Outcome:
                async with gate:
                    sold = await client.buy(
                        submission.user, submission.kind, submission.params, len(attempt.inputs), submission.priority
                    )
                    attempt.task_id = sold.task_id
                    key = await client.upload(sold, attempt.inputs)
                submission.say(f"task {sold.task_id}: uploaded {key}")
                if not submission.wait_s:
                    return Outcome(sold.task_id, "submitted")
                status = await _wait(client, sold, submission.wait_s, attempt.show)
                return await _outcome(client, sold, status, submission)

            attempts = [Attempt(photos, partial(shown.update, number)) for number, photos in enumerate(inputs)]
            async with Together() as group:
                running = [group.create_task(attempt.run(one)) for attempt in attempts]
    return [task.result() for task in running]


async def _wait(client: Client, sold: Sold, wait_s: float, show: _Show) -> str:
    status = "pending"
    try:
        async with asyncio.timeout(wait_s):
            while (status := await client.status(sold)) == "pending":
                show(Row(sold.task_id, await client.progress(sold), RowState.RUNNING))
                await asyncio.sleep(_POLL_EVERY_S)
    except TimeoutError:
        return status
    show(Row(sold.task_id, status, RowState.SUCCESS if status == "success" else RowState.FAILED))
    return status


async def _outcome(client: Client, sold: Sold, status: str, submission: Submission) -> Outcome:
    view = await client.view(sold)
    verdict = view.verdict
    trace = trace_id(view.accepted.traceparent) if view.accepted else ""
    if status != "success":
        ending, remedy = describe_ending(status, verdict, await client.progress(sold), submission.wait_s)
        return Outcome(sold.task_id, status, ending=ending, remedy=remedy, trace_id=trace)
    files = tuple(str(path) for path in await client.download(sold, submission.out))
    text, degraded = (verdict.text, verdict.degraded) if verdict else ("", ())
    return Outcome(sold.task_id, status, files, text, degraded, trace_id=trace)
