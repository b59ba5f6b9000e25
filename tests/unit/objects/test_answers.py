from __future__ import annotations

from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from messages.errors import Transient
from services.errors import AuditDown
from services.objects._answers import audits_of, failed_keys, info_of, page_of, processed_of, time_of, versioned_of
from services.objects.port import ObjectInfo, PictureInfo, PictureRule

HALF_PAST = 1_795_345_200.0
DATE = "Sun, 22 Nov 2026 11:00:00 GMT"
RULES = [PictureRule("output/t.webp", "imageMogr2/format/webp"), PictureRule("output/u.png", "imageMogr2/format/png")]
ORIGINAL = {
    "Key": "input/p.png",
    "ETag": '"31c5"',
    "ImageInfo": {"Format": "JPG", "Width": "64", "Height": "48", "Quality": "90"},
}


def stored(key: str, **changed: Any) -> dict[str, Any]:
    return {"Key": key, "Format": "WEBP", "Width": "32", "Height": "24", "Size": "84", "ETag": '"61a9"', **changed}


def test_an_object_is_read_from_headers_in_any_case() -> None:
    headers = CaseInsensitiveDict(
        {
            "etag": '"abc"',
            "content-length": "5",
            "last-modified": "Sun, 22 Nov 2026 11:00:00 GMT",
            "DATE": "Sun, 22 Nov 2026 11:00:01 GMT",
            "content-type": "image/png",
            "X-Cos-Meta-Ticket": "t1",
            "x-cos-meta-name": "上衣".encode().decode("latin-1"),
            "x-cos-hash-crc64ecma": "1",
        }
    )
    assert info_of("a", headers) == ObjectInfo(
        key="a",
        etag="abc",
        size=5,
        modified=HALF_PAST,
        content_type="image/png",
        meta={"ticket": "t1", "name": "上衣"},
        date=HALF_PAST + 1,
    )


def test_an_answer_to_a_put_is_as_old_as_its_date() -> None:
    assert info_of("a", CaseInsensitiveDict({"Date": "Sun, 22 Nov 2026 11:00:00 GMT"})).modified == HALF_PAST


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T11:00:00.000Z", HALF_PAST),
        ("2026-11-22T19:00:00+08:00", HALF_PAST),
        ("Sun, 22 Nov 2026 11:00:00 GMT", HALF_PAST),
        ("", 0.0),
        (None, 0.0),
        ("yesterday", 0.0),
    ],
)
def test_times_come_as_http_dates_and_as_iso(text: str | None, seconds: float) -> None:
    assert time_of(text) == seconds


@pytest.mark.parametrize("truncated", ["true", "false"])
def test_a_page_knows_whether_more_follows(truncated: str) -> None:
    row = {"Key": "a/中", "ETag": '"e"', "Size": "3", "LastModified": "2026-11-22T11:00:00.000Z"}
    page = page_of({"Contents": [row, {**row, "Key": "b"}], "IsTruncated": truncated}, {"Date": DATE})
    assert page.items[0] == ObjectInfo(key="a/中", etag="e", size=3, modified=HALF_PAST, date=HALF_PAST)
    assert page.next_after == ("b" if truncated == "true" else "")
    assert page.date == HALF_PAST


def test_an_empty_page_is_the_last() -> None:
    assert page_of({"Contents": None, "IsTruncated": "true"}, {}).next_after == ""


def test_failed_deletes_come_as_one_or_several() -> None:
    one = {"Key": "a", "Code": "AccessDenied"}
    assert failed_keys({"DeleteResult": None}) == ()
    assert failed_keys({"Error": one}) == (("a", "AccessDenied"),)
    assert failed_keys({"Error": [one, {"Key": "b", "Code": None}]}) == (("a", "AccessDenied"), ("b", ""))


@pytest.mark.parametrize("understand", [failed_keys, versioned_of, lambda result: page_of(result, {})])
def test_an_answer_about_something_else_is_not_understood(understand: Any) -> None:
    with pytest.raises(KeyError):
        understand({"body": "welcome"})


def test_one_output_comes_as_a_dict() -> None:
    answer = {"OriginalInfo": ORIGINAL, "ProcessResults": {"Object": stored("/output/t.webp")}}
    done = processed_of("input/p.png", RULES[:1], answer)
    assert done.original == PictureInfo("input/p.png", "31c5", "jpeg", 64, 48)
    assert done.outputs == (PictureInfo("output/t.webp", "61a9", "webp", 32, 24, 84),)


def test_several_outputs_are_told_in_the_order_of_the_rules() -> None:
    rows = [stored("output/u.png", Format="png"), stored("output/t.webp")]
    done = processed_of("input/p.png", RULES, {"OriginalInfo": ORIGINAL, "ProcessResults": {"Object": rows}})
    assert [output.key for output in done.outputs] == ["output/t.webp", "output/u.png"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"OriginalInfo": ORIGINAL, "ProcessResults": None},
        {"OriginalInfo": None, "ProcessResults": {"Object": [stored(rule.key) for rule in RULES]}},
        {"OriginalInfo": ORIGINAL, "ProcessResults": {"Object": stored("output/t.webp")}},
        {"OriginalInfo": ORIGINAL, "ProcessResults": {"Object": [stored("output/t.webp"), stored("output/x.png")]}},
        {
            "OriginalInfo": ORIGINAL,
            "ProcessResults": {"Object": [*(stored(rule.key) for rule in RULES), stored("output/more.png")]},
        },
        {"OriginalInfo": ORIGINAL, "ProcessResults": {"Object": [stored(rule.key, Width="wide") for rule in RULES]}},
    ],
)
def test_outputs_that_were_not_asked_for_or_are_missing_are_no_success(answer: dict[str, Any]) -> None:
    with pytest.raises(Transient):
        processed_of("input/p.png", RULES, answer)


def finding(**changed: Any) -> dict[str, Any]:
    return {"State": "Success", "Result": "0", "Label": "Normal", "Score": "3", **changed}


def test_findings_are_told_in_the_order_of_the_keys() -> None:
    rows = [
        finding(DataId="2", Result="2", Label="Ads", Score="70"),
        finding(Object="/b", Result="1", Label="Porn", Score="99"),
        finding(DataId="0", Score=None, Label=None),
    ]
    audits = audits_of(["a", "b", "c"], {"JobsDetail": rows})
    assert [audit.key for audit in audits] == ["a", "b", "c"]
    assert [(audit.result.violation, audit.result.suspect) for audit in audits] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert [(audit.result.label, audit.result.score) for audit in audits] == [("", 0), ("Porn", 99), ("Ads", 70)]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"JobsDetail": finding(DataId="0")},
        {"JobsDetail": [finding(DataId="0"), {"DataId": "1", "Code": "-65007", "Message": "decoding failed"}]},
        {"JobsDetail": [finding(DataId="0"), finding(DataId="1", Result=None)]},
        {"JobsDetail": [finding(DataId="0"), finding(DataId="1", Result="7")]},
        {"JobsDetail": [finding(DataId="0"), finding(DataId="9", Object="elsewhere")]},
    ],
)
def test_a_picture_without_a_finding_is_not_clean(answer: dict[str, Any]) -> None:
    with pytest.raises(AuditDown):
        audits_of(["a", "b"], answer)
