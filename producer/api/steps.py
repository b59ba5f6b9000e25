"""Start of the next step of a pipeline, by the backend: its call is signed like ours to it (docs/backend.md)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

from messages.keys import RunId, check_id
from producer.api.context import Api
from producer.api.http.problems import Failure
from producer.api.submissions import Submission, accept, check, check_ticket, store
from producer.api.wire import StartStep
from services.signatures import sign_v2
from telemetry.secrets import Secret

__all__ = ["MAX_AGE_S", "start_step", "verify_backend"]

MAX_AGE_S: Final = 300.0
"""Greatest distance of a signature's timestamp from now, in seconds."""


def verify_backend(
    secret: Secret, method: str, target: str, headers: Mapping[str, str], body: bytes, *, now: float
) -> None:
    """Check that a call is the backend's.

    Args:
        secret: shared with the backend.
        method: in capitals.
        target: path and query as received.
        headers: names in any case.
        body: as received.
        now: seconds since the epoch.

    Raises:
        producer.api.http.problems.Failure: 401: it is not, or it is old.
    """
    timestamp = headers.get("x-timestamp", "")
    fresh = re.fullmatch("[0-9]{1,12}", timestamp) and abs(now - int(timestamp)) <= MAX_AGE_S
    expected = sign_v2(secret, method, target, int(timestamp) if fresh else 0, "", body)
    claimed = headers.get("x-internal-signature-v2", "")
    if not fresh or not hmac.compare_digest(expected.encode(), claimed.encode(errors="replace")):
        raise Failure(401, "the call is not signed by the backend", code="unauthorized")


async def start_step(asked: StartStep, api: Api) -> None:
    """Check and store a step that the backend has sold, and begin its acceptance. Doing it again is harmless.

    Raises:
        producer.api.http.problems.Failure: 422: an input.
        messages.errors.Rejected: kind, parameters or ticket.
        messages.errors.ScfWorkersError: a service is away; the same call may be sent again.
    """
    services = api.services
    run = RunId(check_id(asked.user_id, "userId"), check_id(asked.task_id, "taskId"), asked.step)
    submission = Submission(user=run.user, kind=asked.kind, params=asked.params, inputs=asked.inputs)
    check(submission, services.recipes, services.policy.sources)
    check_ticket(asked.ticket, run, submission, len(asked.inputs), services)
    await store(run, submission, asked.ticket, services)
    await api.background.run(accept(run, services), api.options.respond_within_s)
