"""The vendor's webhook: a hint that a job has ended, and the only source of a job's id after a lost create answer.

The platform calls `main_handler(event, context)` for each request to the Function URL. The path proves the caller (see
`tasks.calls.webhook_paths`). Of the body only the job's id is read; the wake that is published here later asks the
vendor for that job, with our own key. The webhook writes no record and calls no vendor, so it answers fast (a vendor
repeats calls to a slow receiver: docs/reference/vendors.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from messages.bodies import Job
from messages.errors import Outage
from runtime.errors import BadBody
from runtime.function_url import Request, read_json, read_request, respond
from runtime.scf import instance
from runtime.vendors import parse_webhook
from runtime.wiring import open_webhook
from tasks.calls.webhook_paths import WebhookPath, parse_path
from tasks.context import WebhookServices
from tasks.wakes import WEBHOOK, publish_wake
from telemetry import logs
from telemetry.events import Event

__all__ = ["MAX_BODY_BYTES", "main_handler", "take_call"]

MAX_BODY_BYTES: Final = 1 << 20
"""Largest body in bytes: the event of a failed job holds a traceback and the inputs, and is smaller."""

_SERVICE: Final = "producer.webhook"
_RETRY_AFTER_S: Final = 10

log = logs.get(__name__)


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one HTTP request, in the form of a Function URL's response."""
    with logs.context(request_id=str(context.get("request_id", ""))):
        return instance(_SERVICE, open_webhook).call(lambda services: take_call(event, services))


async def take_call(event: Mapping[str, Any], services: WebhookServices) -> dict[str, Any]:
    """Answer one call: 200 once its wake is published, 503 if that failed, else 400, 403, 404, 405 or 413.

    The path ends with a secret, so neither the log nor an answer contains it.
    """
    try:
        request = read_request(event)
    except BadBody:
        return _no(400, "body")
    path = parse_path(request.path)
    if path is None:
        return _no(404, "path")
    run = path.run
    with logs.context(
        client=request.client,
        vendor=path.vendor,
        user_id=run.user,
        task_id=run.task,
        step=run.step,
        run=run.run,
        slot=path.slot,
        n=path.n,
    ):
        return await _take(path, request, services)


async def _take(path: WebhookPath, request: Request, services: WebhookServices) -> dict[str, Any]:
    if not services.webhooks.verify(path):
        return _no(403, "token")
    if request.method != "POST":
        return _no(405, "method", {"Allow": "POST"})
    if len(request.body) > MAX_BODY_BYTES:
        return _no(413, "size")
    try:
        job_id = parse_webhook(path.vendor, read_json(request.body))
        if job_id is None:
            return _no(400, "body")
        job = Job(path.n, job_id, path.slot)
        await publish_wake(path.run, WEBHOOK, services.broker, services.clock(), keys=services.keys, job=job)
    except BadBody:
        return _no(400, "body")
    except Outage:
        # The vendor repeats a call that is not answered with 2xx.
        return _no(503, "broker", {"Retry-After": str(_RETRY_AFTER_S)})
    log.info(Event.WEBHOOK_RECEIVED, job=job_id)
    return respond(200, {"ok": True})


def _no(status: int, why: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    log.warning(Event.WEBHOOK_REJECTED, status=status, why=why)
    return respond(status, {"error": why}, headers)
