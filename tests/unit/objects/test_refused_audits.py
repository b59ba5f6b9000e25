"""Refused audits and labels of paid results: an outage, whatever the reason of the refusal."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import ScfWorkersError
from services.errors import AuditDown, LabelDown
from services.objects.cos import CosObjects
from services.objects.port import VideoLabel


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda objects: objects.audit(["a"]), AuditDown),
        (lambda objects: objects.submit_video_audit("a"), AuditDown),
        (lambda objects: objects.video_audit("av1"), AuditDown),
        (lambda objects: objects.submit_video_label("a", "b", VideoLabel("AI", 10, 3.0)), LabelDown),
        (lambda objects: objects.video_label("j1"), LabelDown),
    ],
)
@pytest.mark.parametrize(("status", "code"), [(400, "InvalidArgument"), (404, "NoSuchJob"), (405, "MethodNotAllowed")])
async def test_a_refusal_does_not_give_up_what_is_paid_for(
    cos: Any, objects: CosObjects, call: Any, error: type[ScfWorkersError], status: int, code: str
) -> None:
    cos.say(status, f"<Error><Code>{code}</Code></Error>".encode())
    with pytest.raises(error, match=f"{status} {code}"):
        await call(objects)
