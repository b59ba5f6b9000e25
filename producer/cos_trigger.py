"""The COS trigger: it accepts an upload as a task.

The platform calls `main_handler(event, context)` asynchronously and repeats a call that raised, so every step may run
twice. All records of an event are handled before an error is raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from messages.errors import Rejected, ScfWorkersError
from messages.keys import InputKey, parse_input_key
from producer.cos_event import Upload, uploads_in
from runtime.scf import instance
from runtime.wiring import open_trigger
from tasks.accepting.accept import take_in
from tasks.context import TriggerServices
from telemetry import logs
from telemetry.events import Event

__all__ = ["main_handler", "take_event"]

_SERVICE: Final = "producer.cos_trigger"

log = logs.get(__name__)


def main_handler(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, int]:
    """Handle an event of the platform.

    Returns:
        Number of the event's records for each result: `ignored`, and those of `tasks.accepting.accept.Taken`.

    Raises:
        messages.errors.ScfWorkersError: another service failed; the platform calls again.
    """
    with logs.context(request_id=str(context.get("request_id", ""))):
        return instance(_SERVICE, open_trigger).call(lambda services: take_event(event, services))


async def take_event(event: Mapping[str, Any], services: TriggerServices) -> dict[str, int]:
    """Accept every upload of an event."""
    uploads, others = uploads_in(event)
    if others or not uploads:
        log.info(Event.OBJECT_IGNORED, records=others, why="no record of an upload")
    counts: Counter[str] = Counter(ignored=others)
    failed: Exception | None = None
    for upload in uploads:
        try:
            counts[await _take(upload, services, apart=len(uploads) > 1)] += 1
        except ScfWorkersError as error:
            log.warning(Event.UPLOAD_FAILED, error=error, key=upload.key)
            failed = error
        except Exception as error:  # noqa: BLE001 - a defect that one upload shows must not stop the others
            log.error(Event.UPLOAD_FAILED, error=error, key=upload.key)
            failed = error
    if failed is not None:
        raise failed
    return dict(counts)


async def _take(upload: Upload, services: TriggerServices, *, apart: bool) -> str:
    if upload.bucket != services.bucket:
        log.info(Event.OBJECT_IGNORED, bucket=upload.bucket, why="another bucket")
        return "ignored"
    try:
        found = _parse(upload.key)
    except Rejected as rejected:
        # The key names no task, so no verdict can be written.
        log.warning(Event.OBJECT_REJECTED, error=rejected)
        return "rejected"
    if found is None:
        log.info(Event.OBJECT_IGNORED, key=upload.key, why="starts no task")
        return "ignored"
    return await take_in(found, services, apart=apart)


def _parse(key: str) -> InputKey | None:
    """Return the task of a key. Real events hold raw or percent-encoded keys; ids never hold a `%`."""
    return parse_input_key(unquote(key) if "%" in key else key)
