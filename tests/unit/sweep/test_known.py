"""The vendor's knowledge of a job, on which a hint depends."""

from __future__ import annotations

import json

import pytest

from services.vendors.http import ApiResponse
from services.vendors.port import JobState, JobStatus
from services.vendors.runninghub.answers import job_status
from services.vendors.runninghub.codes import CODES

UNKNOWN = {"423", "807", "1004"}


def status(**answer: object) -> JobStatus:
    return job_status(ApiResponse(200, json.dumps(answer).encode()), frozenset())


@pytest.mark.parametrize("code", sorted(UNKNOWN))
def test_task_not_found_is_a_job_that_the_vendor_does_not_know(code: str) -> None:
    for answer in ({"errorCode": code}, {"code": int(code), "msg": "APIKEY_TASK_NOT_FOUND", "data": None}):
        found = status(**answer)
        assert (found.state, found.known) == (JobState.FAILED, False)


def test_no_other_code_says_so() -> None:
    assert {code for code, meaning in CODES.items() if not meaning.known} == UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "FAILED", "errorCode": "805"},
        {"status": "CANCEL", "errorCode": ""},
        {"status": "RUNNING", "errorCode": ""},
        {"status": "SUCCESS", "errorCode": "", "results": []},
    ],
)
def test_any_state_of_a_job_is_knowledge(answer: dict[str, object]) -> None:
    assert status(**answer).known
