"""Purchases of clients that upload themselves: presigned URLs for the files and, last, for `task.json`."""

from __future__ import annotations

from typing import Final

import msgspec

from messages.keys import InputKey, RunId
from producer.api.context import Api
from producer.api.http.problems import unusable
from producer.api.progress import moment
from producer.api.submissions import Submission, check, sell
from producer.api.wire import CreateUpload, UploadPart, UploadTicket
from recipes.recipe import Recipe
from tasks.accepting.inputs import unsupported_format
from tasks.accepting.request import TASK_FILE

__all__ = ["UPLOAD_S", "buy_upload"]

UPLOAD_S: Final = 900
"""Seconds for which a URL accepts its upload."""


async def buy_upload(user: str, asked: CreateUpload, key: str, api: Api) -> UploadTicket:
    """Buy a task and return the uploads that start it.

    Args:
        user: the user.
        asked: the request.
        key: names the purchase.
        api: of this process.

    Raises:
        producer.api.http.problems.Failure: it was refused, and is not sold.
        messages.errors.ScfWorkersError: a service is away; the same request may be sent again with the same key.
    """
    services = api.services
    names = tuple(f"input_{n:02d}.{extension.lower()}" for n, extension in enumerate(asked.extensions, 1))
    for n, name in enumerate(names):
        if code := unsupported_format(name, videos=True):
            raise unusable("this format is not taken", f"extensions[{n}]", code)
    # As keys, the names pass the checks of inputs.
    folder = InputKey(user, "new", "").folder
    submission = Submission(
        user=user,
        kind=asked.kind,
        params=asked.params,
        inputs=tuple(folder + name for name in names),
        field="extensions",
    )
    recipe: Recipe = check(submission, services.recipes, services.policy.sources)
    sold = await sell(msgspec.structs.replace(submission, inputs=names), key, len(names), services)
    run = RunId(user, sold.task_id)
    document = {"kind": recipe.kind, "params": asked.params, "inputs": names, "ticket": sold.ticket}
    parts = [await _part(run, name, "", "application/octet-stream", api) for name in names]
    parts.append(await _part(run, TASK_FILE, msgspec.json.encode(document).decode(), "application/json", api))
    return UploadTicket(
        task_id=sold.task_id,
        kind=recipe.kind,
        uploads=tuple(parts),
        expires_at=moment(services.ledger.now() + UPLOAD_S),
        status_url=f"/api/v1/ai-generation/tasks/{sold.task_id}",
    )


async def _part(run: RunId, name: str, body: str, content_type: str, api: Api) -> UploadPart:
    key = InputKey(run.user, run.task, name)
    url = await api.services.objects.presign(key.folder + key.name, expires=UPLOAD_S, method="PUT")
    return UploadPart(url=url, headers={"Content-Type": content_type}, body=body)
