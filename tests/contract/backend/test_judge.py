from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backend import Judgement, judge
from services.signatures import sign
from telemetry.secrets import Secret

SAYS_SUCCESS = b'{"status": "success"}'
SAYS_DONE = b'{"status": "done", "taskId": "t"}'
SAYS_FAILED = b'{"status": "failed"}'
SAYS_CANCELLED = b'{"status": "cancelled"}'


@pytest.mark.parametrize(
    ("http_status", "body", "sent", "judgement"),
    [
        (200, b"", "success", Judgement.DELIVERED),
        (200, SAYS_FAILED, "success", Judgement.DELIVERED),
        (201, b"not json", "failed", Judgement.DELIVERED),
        (204, b"", "failed", Judgement.DELIVERED),
        (299, b"", "failed", Judgement.DELIVERED),
        (409, SAYS_SUCCESS, "success", Judgement.DELIVERED),
        (409, SAYS_DONE, "success", Judgement.DELIVERED),
        (409, SAYS_FAILED, "failed", Judgement.DELIVERED),
        (409, SAYS_CANCELLED, "failed", Judgement.DELIVERED),
        (409, SAYS_SUCCESS, "failed", Judgement.CONFLICT),
        (409, SAYS_DONE, "failed", Judgement.CONFLICT),
        (409, SAYS_FAILED, "success", Judgement.CONFLICT),
        (409, SAYS_CANCELLED, "success", Judgement.CONFLICT),
        (409, b'{"status": "pending"}', "success", Judgement.CONFLICT),
        (409, b'{"status": 5}', "failed", Judgement.CONFLICT),
        (409, b"{}", "failed", Judgement.CONFLICT),
        (409, b"<html>", "failed", Judgement.CONFLICT),
        (409, b"\xff\xfe", "failed", Judgement.CONFLICT),
        (409, b"[" * 100_000, "failed", Judgement.CONFLICT),
        (401, b"", "failed", Judgement.REFUSED),
        (403, SAYS_FAILED, "failed", Judgement.REFUSED),
        (100, b"", "failed", Judgement.RETRY),
        (301, b"", "failed", Judgement.RETRY),
        (400, SAYS_FAILED, "failed", Judgement.RETRY),
        (404, b"", "failed", Judgement.RETRY),
        (410, b"", "failed", Judgement.RETRY),
        (422, b"", "failed", Judgement.RETRY),
        (429, b"", "failed", Judgement.RETRY),
        (500, SAYS_FAILED, "failed", Judgement.RETRY),
        (503, b"", "failed", Judgement.RETRY),
    ],
)
def test_every_answer_has_one_meaning(
    http_status: int, body: bytes, sent: Literal["success", "failed"], judgement: Judgement
) -> None:
    assert judge(http_status, body, sent) is judgement


@given(st.integers(100, 599), st.binary(), st.sampled_from(["success", "failed"]))
def test_only_2xx_and_an_agreeing_409_count_as_delivered(http_status: int, body: bytes, sent: str) -> None:
    found = judge(http_status, body, sent)
    if found is Judgement.DELIVERED:
        assert http_status // 100 == 2 or http_status == 409
    if found is Judgement.CONFLICT:
        assert http_status == 409


def test_the_signature_is_the_one_that_the_backend_makes() -> None:
    """Output of `printf t101700000000 | openssl dgst -sha256 -hmac secret`."""
    expected = "3b3aa9af83d61c64f8d728bf71dc6f0420e1263414db06c5397b40afb1cb951c"
    assert sign(Secret("secret"), "t1", 0, 1700000000) == expected
    assert sign(Secret("secret"), 1700000000, b"body") == sign(Secret("secret"), "1700000000body")
