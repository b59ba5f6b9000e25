"""`scf-workers submit --direct`: submits one task as a client with the keys of a deployment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from console.cli.client import Client, Sold, open_client
from console.cli.ending import describe_ending
from console.cli.live_view import Row, RowState
from console.cli.show import show_progress
from console.cli.terminal import say
from runtime.settings import load_settings
from telemetry.tracing import trace_id

__all__ = ["submit_photos"]

_POLL_EVERY_S = 0.5


def submit_photos(
    photos: Sequence[Path], kind: str, params: Mapping[str, Any], *, user: str, out: Path, wait_s: float
) -> bool:
    """Submit one task with its photos and show its progress. Returns True if it succeeded, or was not waited for."""
    return asyncio.run(_submit(photos, kind, params, user=user, out=out, wait_s=wait_s))


async def _submit(
    photos: Sequence[Path], kind: str, params: Mapping[str, Any], *, user: str, out: Path, wait_s: float
) -> bool:
    async with open_client(load_settings(os.environ)) as client:
        sold = await client.buy(user, kind, params, len(photos))
        key = await client.upload(sold, photos)
        say(f"task {sold.task_id}: uploaded {key}")
        if not wait_s:
            return True
        status = await _wait(client, sold, wait_s)
        view = await client.view(sold)
        if status == "success":
            files = await client.download(sold, out)
            if view.verdict and view.verdict.text:
                say(view.verdict.text)
            else:
                say(f"success: {len(files)} files in {out / sold.task_id}")
            if view.verdict and view.verdict.degraded:
                say(f"degraded: {', '.join(view.verdict.degraded)}")
        else:
            ending, remedy = describe_ending(status, view.verdict, await client.progress(sold), wait_s)
            say(f"{ending}\n-> {remedy}")
        if view.accepted:
            say(f"trace {trace_id(view.accepted.traceparent)}")
        return status == "success"


async def _wait(client: Client, sold: Sold, wait_s: float) -> str:
    status = "pending"
    with show_progress(1) as shown:
        try:
            async with asyncio.timeout(wait_s):
                while (status := await client.status(sold)) == "pending":
                    shown.update(0, Row(sold.task_id, await client.progress(sold), RowState.RUNNING))
                    await asyncio.sleep(_POLL_EVERY_S)
        except TimeoutError:
            return status
        shown.update(0, Row(sold.task_id, status, RowState.SUCCESS if status == "success" else RowState.FAILED))
    return status
