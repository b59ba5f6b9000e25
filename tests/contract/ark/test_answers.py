"""The table of codes, and lenient reading of answers: there are three outcomes, and no fourth."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code
from services.errors import CreateUnknown, VendorDown, VendorFull, VendorRefused
from services.vendors.ark import answers
from services.vendors.ark.codes import CODES, CONTENT, QUEUE_FULL, meaning_of
from services.vendors.http import ApiResponse
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.port import JobFile, Results
from services.vendors.usage import Usage

URL = "https://ark-acg-cn-beijing.tos-cn-beijing.volces.com/a.jpeg?X-Tos-Signature=1"
RAISED = {OnCreate.FULL: VendorFull, OnCreate.REFUSED: VendorRefused, OnCreate.UNKNOWN: CreateUnknown}


def reply(content: Any, status: int = 200, retry_after: float | None = None) -> ApiResponse:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return ApiResponse(status, body, retry_after)


def error(code: str, message: str = "m", status: int = 400, **more: Any) -> ApiResponse:
    return reply({"error": {"code": code, "message": message, "param": "", "type": "BadRequest"}}, status, **more)


@pytest.mark.parametrize("code", CODES)
def test_each_code_of_the_table(code: str) -> None:
    for status in (200, 400, 429, 500):
        with pytest.raises(RAISED[CODES[code].create]) as caught:
            answers.results_of(error(code, status=status))
        assert code in str(caught.value)
        assert answers.account_fault(error(code, status=status)) == (code if CODES[code].alarm else "")


@pytest.mark.parametrize("status", [100, 201, 302, 408, 409, 418, 500, 502, 503, 504, *HTTP_ON_CREATE])
def test_a_code_without_a_row_leaves_it_to_the_status(status: int) -> None:
    for answer in (error("Strange", status=status), reply({}, status), reply(b"<html>", status)):
        with pytest.raises(RAISED[HTTP_ON_CREATE.get(status, OnCreate.UNKNOWN)]):
            answers.results_of(answer)


@pytest.mark.parametrize(
    ("code", "message", "meaning"),
    [
        ("InvalidParameter.size", "", CODES["InvalidParameter"]),
        ("RateLimitExceeded.EndpointTPMExceeded", "", CODES["RateLimitExceeded"]),
        ("InvalidEndpointOrModel.NotFound", "", CODES["InvalidEndpointOrModel"]),
        ("OutputVideoSensitiveContentDetected.PolicyViolation", "", CONTENT),
        ("InputTextPolicyViolation", "", None),
        ("QuotaExceeded", "Request was queued, and the queue is full", QUEUE_FULL),
        ("QuotaExceeded", "排队任务数超限", QUEUE_FULL),
        ("QuotaExceeded", "the free quota is used up", CODES["QuotaExceeded"]),
        ("QuotaExceeded", "", CODES["QuotaExceeded"]),
        ("SetLimitExceeded", "queue", CODES["SetLimitExceeded"]),
        ("OperationDenied.Strange", "", None),
        ("Strange", "", None),
    ],
)
def test_families_and_messages(code: str, message: str, meaning: Any) -> None:
    assert meaning_of(code, message) is meaning


def test_retry_after_comes_before_the_table() -> None:
    for answer, wait in (
        (error("ServerOverloaded", status=429, retry_after=77.0), 77.0),
        (error("ServerOverloaded", status=429), CODES["ServerOverloaded"].wait),
        (error("Strange", status=429, retry_after=3.0), 3.0),
        (error("Strange", status=429), None),
    ):
        with pytest.raises(VendorFull) as full:
            answers.results_of(answer)
        assert full.value.retry_after == wait


@pytest.mark.parametrize(
    ("content", "results"),
    [
        ({"data": [{"url": URL}]}, Results((JobFile(URL, "jpeg"),), Usage(pictures=1))),
        (
            {"data": [{"url": URL, "output_format": "PNG"}], "usage": {"generated_images": "1", "output_tokens": 9.0}},
            Results((JobFile(URL, "png"),), Usage(pictures=1, tokens_out=9)),
        ),
        ({"data": [None, 3, {"url": 7}, {"url": ""}, {"url": URL}]}, None),
        ({"data": [{"error": {"code": "x"}}, {"url": URL}], "error": {"code": "y"}}, None),
        ({"data": [{"url": URL}], "usage": {"generated_images": -3, "output_tokens": "nan"}}, None),
    ],
)
def test_a_picture_is_a_picture_whatever_stands_beside_it(content: Any, results: Results | None) -> None:
    for status in (200, 500):
        found = answers.results_of(reply(content, status))
        assert found.files[-1].url == URL
        assert results is None or found == results


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ({"data": [], "usage": {"generated_images": 0}}, VendorRefused),
        ({"data": [{}], "usage": {"generated_images": "0"}}, VendorRefused),
        ({"data": [], "usage": {"generated_images": 1}}, CreateUnknown),
        ({"data": [], "usage": {"generated_images": False}}, CreateUnknown),
        ({"data": []}, CreateUnknown),
        ({"data": None, "usage": None}, CreateUnknown),
        ({"data": [{"b64_json": "AAAA"}], "usage": {"generated_images": 0}}, CreateUnknown),
        ({"data": [{"b64_json": "AAAA", "error": {"code": "SensitiveContentDetected"}}]}, CreateUnknown),
        ({"data": [{"error": {"code": "InternalServiceError"}}], "usage": {"generated_images": 0}}, VendorRefused),
        ({"data": [{"error": {"code": "InternalServiceError"}}], "usage": {"generated_images": 1}}, CreateUnknown),
        ({"error": {"code": "InternalServiceError"}}, CreateUnknown),
    ],
)
def test_without_a_picture_only_a_count_of_none_proves_that_nothing_is_charged(content: Any, outcome: Any) -> None:
    with pytest.raises(outcome) as caught:
        answers.results_of(reply(content))
    assert outcome is CreateUnknown or caught.value.code is Code.VENDOR_FAILED


def test_base64_is_named() -> None:
    with pytest.raises(CreateUnknown, match="base64, though a URL was asked for"):
        answers.results_of(reply({"data": [{"b64_json": "AAAA"}]}))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (error("MissingParameter"), None),
        (error("InvalidParameter.model"), None),
        (error("InvalidEndpointOrModel.NotFound", status=404), None),
        (error("AuthenticationError", status=401), VendorDown),
        (error("AccountOverdueError", status=403), VendorDown),
        (error("ServerOverloaded", status=429), VendorFull),
        (error("InternalServiceError", status=500), VendorDown),
        (error("Strange"), VendorDown),
        (reply({}, 400), VendorDown),
        (reply({"data": [{"url": URL}]}), VendorDown),
        (reply(b"", 404), VendorDown),
    ],
)
def test_the_key_is_taken_only_where_the_request_is_complained_of(answer: ApiResponse, outcome: Any) -> None:
    if outcome is None:
        answers.check_key(answer)
        return
    with pytest.raises(outcome):
        answers.check_key(answer)


@pytest.mark.parametrize("status", [401, 402, 403, 400, 429, 500])
def test_a_refused_key_without_a_code_is_an_alarm_too(status: int) -> None:
    assert answers.account_fault(reply(b"", status)) == (str(status) if status in {401, 402, 403} else "")


def test_what_the_vendor_quotes_is_not_told() -> None:
    words = f"key sk0f1e2d3c4b5a69788796a5b4c3d2e1f0 at {URL} {'A' * 9000}"
    with pytest.raises(VendorRefused) as caught:
        answers.results_of(error("InvalidParameter", words))
    assert "0f1e2d3c" not in str(caught.value)
    assert "X-Tos" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_hostile_code_takes_no_time() -> None:
    for code in ("a" * 1_000_000, "SensitiveContentDetected" * 40_000, "." * 1_000_000, "x." * 400_000):
        began = time.process_time()
        with pytest.raises(VendorRefused):
            answers.results_of(error(code, code))
        assert time.process_time() - began < 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "url", "error", "code", "message", "usage", "generated_images", "b64_json"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=64) | JSON.map(msgspec.json.encode), st.integers(100, 599))
def test_whatever_comes_is_a_picture_or_one_of_three_errors(body: bytes, status: int) -> None:
    answer = ApiResponse(status, body)
    try:
        assert answers.results_of(answer).files
    except (VendorFull, VendorRefused, CreateUnknown) as caught:
        assert str(caught)  # noqa: PT017 - which of them is of no matter
    with suppress(VendorFull, VendorDown):
        answers.check_key(answer)
    answers.account_fault(answer)
