"""The audit of texts as it goes over the wire."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from services.errors import AuditDown
from services.objects.cos import CosObjects


async def test_the_audit_of_a_text_says_its_own_policy(cos: Any, keys: Any) -> None:
    more = {"audit_biz_type": "pictures", "audit_text_biz_type": "texts"}
    objects = CosObjects(bucket="b-1", region="r", credentials=keys, endpoint=cos.url, **more)
    cos.say(
        200, b"<Response><JobsDetail><State>Success</State><Label>Ads</Label><Result>2</Result></JobsDetail></Response>"
    )
    found = await objects.audit_text("<红>&")
    assert (found.violation, found.suspect, found.label, found.score) == (False, True, "Ads", 0)
    body = cos.requests[0].body
    assert b"<BizType>texts</BizType>" in body
    assert base64.b64encode("<红>&".encode()) in body


@pytest.mark.parametrize(
    "detail",
    [
        b"<State>Submitted</State>",
        b"<Code>InvalidArgument</Code><Message>no such policy</Message>",
        b"<State>Success</State><Result>7</Result>",
        b"",
    ],
)
async def test_an_audit_of_a_text_without_a_finding_is_no_audit(detail: bytes, cos: Any, keys: Any) -> None:
    objects = CosObjects(bucket="b-1", region="r", credentials=keys, endpoint=cos.url)
    cos.say(200, b"<Response><JobsDetail>" + detail + b"</JobsDetail></Response>")
    with pytest.raises(AuditDown, match="text"):
        await objects.audit_text("x")
