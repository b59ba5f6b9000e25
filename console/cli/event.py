"""`scf-workers event`: prints the COS event of an upload, as a sample for `scf-workers invoke`."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console.cli.client import open_client
from messages.keys import InputKey
from runtime.settings import load_settings
from sandbox.cos.events import Created, created_event
from sandbox.environment import APPID, BUCKET, REGION

__all__ = ["event_of", "upload_photo"]


def upload_photo(photo: Path, user: str, kind: str, params: Mapping[str, Any]) -> str:
    """Buy a task and upload its photo. Returns the task's id.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or a service failed.
    """

    async def buy() -> str:
        async with open_client(load_settings(os.environ)) as client:
            sold = await client.buy(user, kind, params)
            await client.upload(sold, [photo])
            return sold.task_id

    return asyncio.run(buy())


def event_of(photo: Path, user: str, task: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the event that COS sends after the upload of a task's photo.

    Args:
        photo: the photo; its size and ETag are in the event.
        user: user who bought the task.
        task: id of the task; empty for a new one, of which nothing is stored.
        environ: environment with COS_BUCKET and TENCENTCLOUD_REGION; the sandbox's names without them.
    """
    body = photo.read_bytes()
    bucket = environ.get("COS_BUCKET") or BUCKET
    created = Created(
        name="Put",
        bucket=bucket,
        key=f"{InputKey(user, task or secrets.token_hex(16), '').folder}original{photo.suffix.lower()}",
        size=len(body),
        etag=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        headers={"content-type": mimetypes.guess_type(photo.name)[0] or "application/octet-stream"},
        when=time.time(),
        request_id=secrets.token_hex(12),
        client="127.0.0.1",
        authorization="",
    )
    appid = bucket.rpartition("-")[2] or APPID
    return created_event(created, region=environ.get("TENCENTCLOUD_REGION") or REGION, appid=appid)
