"""Any answer, whatever its bytes, gives a value or an error of the tree."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import CreateUnknown, VendorDown, VendorFull, VendorRefused
from services.vendors.http import ApiResponse
from services.vendors.port import JobState
from services.vendors.vod import answers
from services.vendors.vod.codes import CODES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["TaskId", "Status", "AigcImageTask", "TaskSet", "Error", "Code", "Output", "FileInfos", "FileUrl", "ErrCodeExt"]
)
ANSWERS = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=12
)


def reply(response: Any, status: int = 200) -> ApiResponse:
    return ApiResponse(status, msgspec.json.encode({"Response": response}))


@given(ANSWERS, st.sampled_from([200, 400, 403, 429, 500, 502]))
def test_any_answer_has_a_meaning(response: Any, status: int) -> None:
    said = reply(response, status)
    for read, errors in (
        (answers.job_of, (VendorFull, VendorRefused, CreateUnknown)),
        (answers.status_of, (VendorDown,)),
        (answers.page_of, (VendorDown,)),
        (answers.check_key, (VendorDown, VendorFull)),
        (answers.check_answered, (VendorDown,)),
    ):
        with contextlib.suppress(*errors):
            read(said)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_answer_prove_nothing(body: bytes) -> None:
    with pytest.raises(CreateUnknown):
        answers.job_of(ApiResponse(200, body))
    with pytest.raises(VendorDown):
        answers.status_of(ApiResponse(200, body))


def test_an_id_is_an_id_whatever_stands_beside_it() -> None:
    said = reply({"TaskId": "1-AigcImageTask-2t", "Error": {"Code": "InternalError", "Message": "x"}}, 500)
    assert answers.job_of(said) == "1-AigcImageTask-2t"


@pytest.mark.parametrize("code", CODES)
def test_a_code_with_a_suffix_is_its_first_part(code: str) -> None:
    said = answers.account_fault(reply({"Error": {"Code": f"{code.partition('.')[0]}.Curious", "Message": ""}}))
    first = CODES.get(code.partition(".")[0])
    assert bool(said) is bool(first and first.alarm)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://251000800.vod2.myqcloud.com/a/b/aigcImageGenFile.png", 1),
        ("http://1500039689.vod-qcloud.com/a/aigcImageGenFile.png?t=1", 1),
        ("http://127.0.0.1:80/aigcImageGenFile.png", 0),
        ("http://vod2.myqcloud.com.example/aigcImageGenFile.png", 0),
        ("http://[aigcImageGenFile.png", 0),
    ],
)
def test_links_of_the_vendors_own_domains_are_opened_encrypted(url: str, own: int) -> None:
    block = {"Status": "FINISH", "ErrCode": 0, "Output": {"FileInfos": [{"FileUrl": url}]}}
    status = answers.status_of(reply({"Status": "FINISH", "AigcImageTask": block}))
    assert status.state is JobState.SUCCESS
    assert status.files[0].url == (url.replace("http:", "https:") if own else url)
    assert status.files[0].type == "png"


def test_words_of_the_vendor_come_without_urls() -> None:
    block = {"Status": "FINISH", "ErrCode": 70000, "ErrCodeExt": "InternalError", "Message": "see https://a.b/c?d=e"}
    assert "a.b" not in answers.status_of(reply({"Status": "FINISH", "SceneAigcImageTask": block})).reason
