"""The vendor's webhook: a hint that a job has ended, and the only news of a job whose create answer was lost.

The platform calls `main_handler(event, context)` for each request to the Function URL. What proves a call is its path
(see `tasks.calls.webhook_paths`); of the body only the job's id is read, and only to be asked for with our own key,
later, by the wake that is published here. Nothing else is done: no record is written and no vendor called, so the
answer is fast (a slow receiver is called again: docs/reference/vendors.md).
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
from tasks.calls.webhook_paths import WebhookPath, parse_path
from tasks.context import Services
from tasks.wakes import publish_wake
from telemetry import logs
from telemetry.events import Event

__all__ = ["MAX_BODY_BYTES", "main_handler", "take_call"]

MAX_BODY_BYTES: Final = 1 << 20
"""A failed job's event carries a traceback and its inputs; nothing true is longer."""

_SERVICE: Final = "producer.webhook"
_RETRY_AFTER_S: Final = 10

log = logs.get(__name__)


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Entry of the function: answers one HTTP request, in the shape of a Function URL's response."""
    with logs.context(request_id=str(context.get("request_id", ""))):
        return instance(_SERVICE, webhooks=True).call(lambda services: take_call(event, services))


async def take_call(event: Mapping[str, Any], services: Services) -> dict[str, Any]:
    """Answer one call: 200 once its wake is published, 503 when it could not be, else 400, 403, 404, 405 or 413.

    Neither the log nor an answer has the path, because its end is a secret.
    """
    try:
        request = read_request(event)
    except BadBody:
        return _no(400, "body")
    claim = parse_path(request.path)
    if claim is None:
        return _no(404, "path")
    run = claim.run
    with logs.context(
        client=request.client,
        vendor=claim.vendor,
        user_id=run.user,
        task_id=run.task,
        step=run.step,
        run=run.run,
        slot=claim.slot,
        n=claim.n,
    ):
        return await _take(claim, request, services)


async def _take(claim: WebhookPath, request: Request, services: Services) -> dict[str, Any]:
    if not services.webhooks.verify(claim):
        return _no(403, "token")
    if request.method != "POST":
        return _no(405, "method", {"Allow": "POST"})
    if len(request.body) > MAX_BODY_BYTES:
        return _no(413, "size")
    try:
        job_id = parse_webhook(claim.vendor, read_json(request.body))
        if job_id is None:
            return _no(400, "body")
        await publish_wake(claim.run, "webhook", services, job=Job(claim.n, job_id, claim.slot))
    except BadBody:
        return _no(400, "body")
    except Outage:
        # The vendor calls again when it hears no.
        return _no(503, "broker", {"Retry-After": str(_RETRY_AFTER_S)})
    log.info(Event.WEBHOOK_RECEIVED, job=job_id)
    return respond(200, {"ok": True})


def _no(status: int, why: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    log.warning(Event.WEBHOOK_REFUSED, status=status, why=why)
    return respond(status, {"error": why}, headers)
