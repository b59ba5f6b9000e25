"""The table of codes compared with the vendor's list, and lenient reading of answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.codes import Code
from messages.errors import ScfWorkersError
from services.errors import CreateUnknown, UploadFailed, VendorDown, VendorFull, VendorRefused
from services.vendors.http import ApiResponse
from services.vendors.on_create import HTTP_ON_CREATE, OnCreate
from services.vendors.port import JobFile, JobState, JobStatus
from services.vendors.runninghub import answers
from services.vendors.runninghub.codes import CODES, OnQuery
from services.vendors.usage import Usage

# The codes of docs/reference/vendors.md, by what follows from them.
NOT_ACCEPTED = "415 421 814 1003 1011 1520"
KEY_OR_FUNDS = "416 812 801 802 806 811 1002 1014"
SERVER_SIDE = "500 1000 1005 1010 1012"
PERMANENT = "301 380 433 803 810 901 1007 1101 412 435 436 1501 1505"
FILES = "808 809 1008 1013"
WORKING = "804 813"
ENDED = "423 807 1004 805 1006 1504 1015"
UNKNOWN_ON_CREATE = f"{SERVER_SIDE} {WORKING} {ENDED}"


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: a slow example is no fault."""


def reply(content: Any, status: int = 200) -> ApiResponse:
    return ApiResponse(status, content if isinstance(content, bytes) else msgspec.json.encode(content))


def test_every_code_of_the_reference_has_a_row() -> None:
    listed = f"{NOT_ACCEPTED} {KEY_OR_FUNDS} {SERVER_SIDE} {PERMANENT} {FILES} {WORKING} {ENDED}".split()
    assert len(listed) == len(set(listed))
    assert set(CODES) == set(listed)


def test_what_each_code_means_for_money() -> None:
    expected = {
        **dict.fromkeys(f"{NOT_ACCEPTED} {KEY_OR_FUNDS}".split(), OnCreate.FULL),
        **dict.fromkeys(f"{PERMANENT} {FILES}".split(), OnCreate.REFUSED),
        **dict.fromkeys(UNKNOWN_ON_CREATE.split(), OnCreate.UNKNOWN),
    }
    assert {code: meaning.create for code, meaning in CODES.items()} == expected


def test_what_ends_a_job() -> None:
    ended = {code for code, meaning in CODES.items() if meaning.query is OnQuery.ENDED}
    assert ended == {*ENDED.split(), "1501", "1505"}
    assert {code for code, meaning in CODES.items() if meaning.query is OnQuery.WORKING} == set(WORKING.split())


def test_no_status_that_may_have_run_counts_as_a_refusal() -> None:
    assert not [status for status in HTTP_ON_CREATE if not 400 <= status < 500 or status in {408, 409, 425, 499}]


@pytest.mark.parametrize(
    "content",
    [
        {"taskId": "2013508786110730241", "status": "RUNNING", "errorCode": "", "promptTips": "{}"},
        {"taskId": 2013508786110730241, "status": "QUEUED"},
        {"code": 0, "msg": "success", "data": {"taskId": "2013508786110730241", "taskStatus": "QUEUED"}},
        {"code": 0, "msg": "success", "data": {"taskId": 2013508786110730241}},
        {"code": 0, "msg": "success", "data": "2013508786110730241"},
        {"code": 0, "data": 2013508786110730241},
        {"taskId": "2013508786110730241", "status": "FAILED", "errorCode": "1000", "failedReason": None},
        {"taskId": "2013508786110730241", "errorCode": "421", "results": "?", "promptTips": '{"result": false}'},
    ],
)
def test_an_id_is_never_lost(content: dict[str, Any]) -> None:
    assert answers.accepted_id(reply(content)) == "2013508786110730241"
    assert answers.accepted_id(reply(content, 500)) == "2013508786110730241"


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"code": 0, "data": None},
        {"code": 0, "data": {}},
        {"taskId": None, "errorCode": ""},
        {"taskId": ""},
        {"taskId": 0},
        {"taskId": True},
        {"taskId": 1.9e18},
        {"taskId": "not an id\n"},
        {"code": 0, "data": "success"},
        {"code": 1000, "data": "busy"},
        {"code": -1, "msg": "?"},
        b"",
        b"<html>",
        b'{"taskId": "20135087861107',
        b'{"msg": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_a_200_without_an_id_proves_nothing(content: Any) -> None:
    with pytest.raises(CreateUnknown):
        answers.accepted_id(reply(content))


def test_a_code_in_words_of_the_gateway() -> None:
    with pytest.raises(VendorFull):
        answers.accepted_id(reply({"code": -1, "msg": "ApiKey verification failed"}, 401))
    with pytest.raises(VendorFull):
        answers.accepted_id(reply({"code": 421, "msg": "TASK_QUEUE_MAXED", "data": None}))
    with pytest.raises(VendorFull):
        answers.accepted_id(reply({"taskId": "", "errorCode": "421", "errorMessage": "api queue limit reached"}, 400))


def test_the_wait_the_vendor_asks_for() -> None:
    body = msgspec.json.encode({"errorCode": "415"})
    for header, seconds in ((None, 60.0), (7.0, 7.0)):
        with pytest.raises(VendorFull) as caught:
            answers.accepted_id(ApiResponse(200, body, header))
        assert caught.value.retry_after == seconds


FILES_ANSWER = {
    "taskId": "1",
    "status": "SUCCESS",
    "errorCode": "",
    "usage": {"consumeMoney": None, "consumeCoins": "17", "taskCostTime": 83},
    "results": [
        {"url": "https://x.example/p.png", "nodeId": "21", "outputType": "png", "text": None},
        {"url": "https://x.example/b.MP4?sign=a.b", "nodeId": 9, "outputType": ""},
        {"url": None, "nodeId": "9", "outputType": "txt", "text": "only text"},
        {"fileUrl": "https://x.example/a", "nodeId": "9", "fileType": ".JPG"},
        {"url": "https://x.example/c", "nodeId": "9"},
        "not an object",
    ],
}


def test_results_keep_their_order_and_only_files_of_output_nodes_count() -> None:
    status = answers.job_status(reply(FILES_ANSWER), frozenset({"9"}))
    assert status == JobStatus(
        JobState.SUCCESS,
        files=(
            JobFile("https://x.example/b.MP4?sign=a.b", "mp4"),
            JobFile("https://x.example/a", "jpg"),
            JobFile("https://x.example/c", ""),
        ),
        usage=Usage(coins=17, seconds=83),
    )
    assert len(answers.job_status(reply(FILES_ANSWER), frozenset()).files) == 4


@pytest.mark.parametrize(
    ("said", "usage", "line"),
    [
        ({"consumeMoney": "1.25", "thirdPartyConsumeMoney": 0.5}, Usage(money=1.75), "money=1.75"),
        ({"consumeCoins": 17, "taskCostTime": "83"}, Usage(coins=17, seconds=83), "coins=17 seconds=83"),
        ({"consumeCoins": "many", "taskCostTime": "1e99", "consumeMoney": True}, Usage(), ""),
        ({"consumeCoins": "nan", "taskCostTime": "-1", "consumeMoney": []}, Usage(), ""),
        (None, Usage(), ""),
    ],
)
def test_what_a_job_has_cost_is_read_where_it_is_a_number(said: Any, usage: Usage, line: str) -> None:
    status = answers.job_status(reply({"status": "SUCCESS", "usage": said}), frozenset())
    assert status.usage == usage
    assert str(status.usage) == line


@pytest.mark.parametrize("results", [None, [], {}, "x"])
def test_success_without_results_has_none(results: Any) -> None:
    status = answers.job_status(reply({"status": "SUCCESS", "results": results}), frozenset({"9"}))
    assert status == JobStatus(JobState.SUCCESS)


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING", "CREATE", "running"])
def test_a_job_that_goes_on(status: str) -> None:
    assert answers.job_status(reply({"status": status}), frozenset()).state is JobState.WORKING


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (
            {"status": "FAILED", "errorCode": "1000", "failedReason": {"exception_type": "TypeError"}},
            Code.VENDOR_FAILED,
        ),
        ({"status": "CANCEL"}, Code.VENDOR_FAILED),
        ({"status": "CANCELLED", "errorCode": ""}, Code.VENDOR_FAILED),
        ({"status": "FAILED", "errorCode": "9999"}, Code.VENDOR_FAILED),
        ({"status": "FAILED", "errorCode": 1504, "failedReason": []}, Code.TIMEOUT),
        ({"code": 805, "msg": "APIKEY_TASK_STATUS_ERROR", "data": {"failedReason": {}}}, Code.VENDOR_FAILED),
        ({"status": "FAILED", "errorCode": "1501"}, Code.CONTENT_VIOLATION),
        ({"status": "FAILED", "errorCode": "809"}, Code.PICTURE_TOO_LARGE),
    ],
)
def test_a_job_that_has_failed(content: dict[str, Any], code: Code) -> None:
    status = answers.job_status(reply(content), frozenset())
    assert (status.state, status.code) == (JobState.FAILED, code)


@pytest.mark.parametrize("code", ["804", 813])
def test_working_codes_are_no_failure_whatever_stands_beside(code: Any) -> None:
    content = {"status": "FAILED", "errorCode": code}
    assert answers.job_status(reply(content), frozenset()).state is JobState.WORKING


@pytest.mark.parametrize("code", ["811", "802", "1003", "421"])
@pytest.mark.parametrize("status", ["FAILED", "SUCCESS", "RUNNING", ""])
def test_a_refused_key_or_rate_says_nothing_about_the_job(code: str, status: str) -> None:
    with pytest.raises(VendorDown):
        answers.job_status(reply({"status": status, "errorCode": code}), frozenset())


@pytest.mark.parametrize(
    "answer",
    [
        reply({"status": "SUCCESS", "results": []}, 500),
        reply({"code": 807}, 404),
        reply({"status": "SOMETHING"}),
        reply({"errorCode": "1000"}),
        reply({"errorCode": "9999"}),
        reply({}),
        reply([]),
        reply(b"<html>"),
        reply(b""),
    ],
)
def test_a_look_that_says_nothing(answer: ApiResponse) -> None:
    with pytest.raises(VendorDown):
        answers.job_status(answer, frozenset())


NOT_FINISHED = ({"code": 0, "data": None}, {"code": 0, "msg": "RUNNING", "data": {}}, {"code": 0, "data": "QUEUED"})
UNDECIDED = ({"code": 1000, "data": None}, {"code": 9999, "data": [{"fileUrl": "https://x.example/a.png"}]})


@pytest.mark.parametrize("reported", [*NOT_FINISHED, *UNDECIDED], ids=str)
def test_outputs_of_v1_that_leave_it_to_status(reported: dict[str, Any]) -> None:
    first = reply(reported)
    assert answers.job_outputs(first, frozenset()) is None
    for word in ("QUEUED", "RUNNING", "running"):
        assert answers.job_state(first, reply({"code": 0, "data": word})).state is JobState.WORKING
    assert answers.job_state(first, reply({"code": 0, "data": "FAILED"})).state is JobState.FAILED
    assert answers.job_state(first, reply({"code": 807, "data": None})).known is False
    done = reply({"code": 0, "data": "SUCCESS"})
    if reported in NOT_FINISHED:
        assert answers.job_state(first, done) == JobStatus(JobState.SUCCESS)
    else:
        with pytest.raises(VendorDown):
            answers.job_state(first, done)


def test_outputs_of_v1_without_any_file() -> None:
    assert answers.job_outputs(reply({"code": 0, "data": []}), frozenset()) == JobStatus(JobState.SUCCESS)


def test_what_operators_read_holds_no_url_and_no_key() -> None:
    words = "see https://x.example/a.png?sign=1 for 0f1e2d3c4b5a69788796a5b4c3d2e1f0 in node_not_found_in_workflow 1"
    status = answers.job_status(reply({"status": "FAILED", "errorCode": "805", "errorMessage": words}), frozenset())
    with pytest.raises(VendorRefused) as caught:
        answers.accepted_id(reply({"errorCode": "803", "errorMessage": words}))
    for said in (status.reason, str(caught.value)):
        assert "sign=" not in said
        assert "0f1e2d" not in said
        assert "node_not_found_in_workflow" in said


@pytest.mark.parametrize("part", ["A", "a-", "http", "Ab_", "a:/"])
def test_an_answer_that_quotes_a_picture_is_not_looked_at_for_minutes(part: str) -> None:
    """A search that began again at each character would take half a minute."""
    words = part * (64_000 // len(part))
    began = time.thread_time()
    status = answers.job_status(reply({"status": "FAILED", "errorCode": "805", "errorMessage": words}), frozenset())
    assert time.thread_time() - began < 1.0
    assert len(status.reason) <= 400


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"code": 0, "message": "success", "data": {"fileName": "openapi/a.png", "size": "3"}}, "openapi/a.png"),
        ({"code": 200, "data": {"fileName": "openapi/a.png"}}, "openapi/a.png"),
        ({"code": "0", "msg": "success", "data": {"fileName": "api/a.png", "fileType": "input"}}, "api/a.png"),
    ],
)  # fmt: skip
def test_uploads_that_went_well(content: dict[str, Any], name: str) -> None:
    assert answers.uploaded_name(reply(content)) == name


@pytest.mark.parametrize(
    "content", [{"code": 0}, {"code": 0, "data": None}, {"code": 0, "data": {"fileName": ""}}, b"x"]
)
def test_an_upload_without_a_name_failed(content: Any) -> None:
    with pytest.raises(UploadFailed):
        answers.uploaded_name(reply(content))


@pytest.mark.parametrize(
    ("data", "full"),
    [
        ({"concurrentLimit": 3, "runningCount": 1, "queuedCount": 1}, False),
        ({"concurrentLimit": "3", "runningCount": "2", "queuedCount": "1"}, True),
        ({"concurrentLimit": 0, "runningCount": 0, "queuedCount": 0}, True),
        ({"concurrentLimit": 2, "runningCount": 7}, True),
        ({"runningCount": 7}, False),
        ({"concurrentLimit": None}, False),
        (None, False),
    ],
)
def test_room(data: Any, *, full: bool) -> None:
    answer = reply({"code": 0, "data": data})
    if not full:
        answers.check_room(answer)
        return
    with pytest.raises(VendorFull):
        answers.check_room(answer)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
ENVELOPE = ["taskId", "status", "errorCode", "errorMessage", "code", "msg", "data"]
NAMES = st.sampled_from([*ENVELOPE, "results", "usage", "failedReason", "fileName", "concurrentLimit", "url", "nodeId"])
BODIES = st.binary(max_size=60) | st.dictionaries(NAMES, ANYTHING | st.sampled_from(sorted(CODES)), max_size=6).map(
    msgspec.json.encode
)
STATUSES = st.sampled_from([200, 201, 204, 301, 400, 401, 404, 413, 429, 500, 502, 503])
CALLS: list[tuple[Callable[[ApiResponse], Any], tuple[type[ScfWorkersError], ...]]] = [
    (answers.accepted_id, (VendorFull, VendorRefused, CreateUnknown)),
    (lambda answer: answers.job_status(answer, frozenset({"9"})), (VendorDown,)),
    (lambda answer: answers.job_outputs(answer, frozenset({"9"})), (VendorDown,)),
    (lambda answer: answers.job_state(answer, answer), (VendorDown,)),
    (answers.uploaded_name, (UploadFailed, VendorDown, VendorRefused)),
    (answers.check_room, (VendorFull, VendorDown)),
    (answers.check_stopped, (VendorDown,)),
]


@pytest.mark.parametrize(
    ("read", "errors"), CALLS, ids=["create", "query", "outputs", "status", "upload", "room", "cancel"]
)
@unhurried
@given(status=STATUSES, body=BODIES)
def test_any_answer_is_a_value_or_an_error_of_the_port(
    read: Callable[[ApiResponse], Any], errors: tuple[type[ScfWorkersError], ...], status: int, body: bytes
) -> None:
    try:
        read(ApiResponse(status, body))
    except errors:
        return


@unhurried
@given(status=STATUSES, body=BODIES)
def test_an_unlisted_answer_to_a_create_is_never_called_a_refusal(status: int, body: bytes) -> None:
    try:
        answers.accepted_id(ApiResponse(status, body))
    except (VendorFull, VendorRefused):
        decoded = msgspec.json.decode(body) if status not in HTTP_ON_CREATE else {}
        reported = {str(decoded.get("errorCode")).strip(), str(decoded.get("code")).strip()} if decoded else set()
        assert status in HTTP_ON_CREATE or reported & set(CODES)
    except CreateUnknown:
        return
