"""The small decisions: addresses, ranges, conditions, parts, picture operations, verdicts, faults."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cos.ci.audit import AuditRules, judge
from sandbox.cos.ci.pictures import Examined
from sandbox.cos.ci.requests import read_operations
from sandbox.cos.errors import Refused
from sandbox.cos.faults import Fault, FaultKind, Faults
from sandbox.cos.http.address import Resolver, split_absolute
from sandbox.cos.http.xml import parse, render, text_of
from sandbox.cos.multipart import MIN_PART_BYTES, choose_parts
from sandbox.cos.objects import check_conditions, parse_range
from sandbox.cos.store import Entry, Part

RESOLVER = Resolver(["demo-1250000000"], "ap-guangzhou")


@pytest.mark.parametrize(
    ("host", "path", "key", "paths"),
    [
        ("demo-1250000000.cos.ap-guangzhou.myqcloud.com", "/a/b.png", "a/b.png", ("/a/b.png",)),
        ("demo-1250000000.ci.ap-guangzhou.myqcloud.com", "/image/auditing", "image/auditing", ("/image/auditing",)),
        ("demo-1250000000.cos-internal.ap-guangzhou.tencentcos.cn", "/", "", ("/",)),
        ("DEMO-1250000000.cos.ap-guangzhou.myqcloud.com:80", "/a", "a", ("/a",)),
        ("demo-1250000000.localhost:9000", "/a", "a", ("/a",)),
        ("demo-1250000000.cos.localhost:9000", "/%E4%B8%AD%20%2B+", "中 ++", ("/中 ++",)),
        ("127.0.0.1:9000", "/demo-1250000000/a/b", "a/b", ("/a/b", "/demo-1250000000/a/b")),
        ("localhost", "/demo-1250000000", "", ("/", "/demo-1250000000")),
        ("127.0.0.1:9000", "/demo-1250000000//a/../b", "/a/../b", ("//a/../b", "/demo-1250000000//a/../b")),
    ],
)
def test_an_address_is_found(host: str, path: str, key: str, paths: tuple[str, ...]) -> None:
    address = RESOLVER.resolve(host, path)
    assert (address.bucket, address.key, address.paths) == ("demo-1250000000", key, paths)
    assert address.hosts[0] == host
    assert all(":" not in spelled for spelled in address.hosts[1:])


@pytest.mark.parametrize(
    ("host", "path", "code"),
    [
        ("other-1250000000.cos.ap-guangzhou.myqcloud.com", "/a", "NoSuchBucket"),
        ("demo-1250000000.cos.ap-shanghai.myqcloud.com", "/a", "NoSuchBucket"),
        ("demo-1250000000.example.com", "/a", "NoSuchBucket"),
        ("127.0.0.1", "/", "NoSuchBucket"),
        ("127.0.0.1", "/other/a", "NoSuchBucket"),
        ("", "/demo-1250000000/a", "NoSuchBucket"),
        ("demo-1250000000.localhost", "/%ff", "InvalidURI"),
        ("demo-1250000000.localhost", "*", "InvalidURI"),
        ("demo-1250000000.localhost", "/" + "%E4%B8%AD" * 284, "KeyTooLong"),
    ],
)
def test_other_addresses_are_refused(host: str, path: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        RESOLVER.resolve(host, path)
    assert caught.value.code == code


def test_control_endpoints_are_on_the_loopback_host_only() -> None:
    assert RESOLVER.is_control("127.0.0.1:9000", "/_sandbox/health")
    assert RESOLVER.is_control("localhost", "/_sandbox/health")
    assert not RESOLVER.is_control("127.0.0.1:9000", "/demo-1250000000/_sandbox/health")
    assert not RESOLVER.is_control("demo-1250000000.localhost", "/_sandbox/health")
    assert not RESOLVER.is_control("evil.example.com", "/_sandbox/health")


def test_absolute_targets_are_taken_apart() -> None:
    assert split_absolute("http://host:80/a/b") == ("host:80", "/a/b")
    assert split_absolute("HTTP://host") == ("host", "/")
    assert split_absolute("/http://host/a") is None


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=50-999", (50, 100)),
        ("bytes=-500", (0, 100)),
    ],
)
def test_a_range_is_cut_to_the_object(header: str, span: tuple[int, int]) -> None:
    assert parse_range(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=0-1,5-6", "lines=0-9", ""])
def test_other_ranges_are_refused(header: str) -> None:
    with pytest.raises(Refused, match="416"):
        parse_range(header, 100)


@given(first=st.integers(0, 50), last=st.integers(0, 50), size=st.integers(0, 40))
def test_a_range_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    body = bytes(range(size))
    wanted = body[first : last + 1]
    if not wanted:
        with pytest.raises(Refused):
            parse_range(f"bytes={first}-{last}", size)
        return
    start, end = parse_range(f"bytes={first}-{last}", size)
    assert body[start:end] == wanted


ENTRY = Entry("a", "abc", 3, 1_800_000_000.7, {}, "")
THEN, LATER = formatdate(1_800_000_000, usegmt=True), formatdate(1_800_000_060, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, True),
        ({"if-match": '"abc"'}, True),
        ({"if-match": "abc"}, True),
        ({"if-match": "*"}, True),
        ({"if-match": '"x", "abc"'}, True),
        ({"if-match": '"x"'}, None),
        ({"if-none-match": '"abc"'}, False),
        ({"if-none-match": 'W/"abc"'}, False),
        ({"if-none-match": '"x"'}, True),
        ({"if-modified-since": THEN}, False),
        ({"if-modified-since": formatdate(1_799_999_999, usegmt=True)}, True),
        ({"if-modified-since": "yesterday"}, True),
        ({"if-unmodified-since": LATER}, True),
        ({"if-unmodified-since": formatdate(1_799_999_999, usegmt=True)}, None),
        ({"if-match": '"abc"', "if-unmodified-since": formatdate(0, usegmt=True)}, True),
        ({"if-none-match": '"x"', "if-modified-since": LATER}, True),
    ],
)
def test_conditions(headers: dict[str, str], outcome: bool | None) -> None:  # noqa: FBT001 - a table's column
    if outcome is None:
        with pytest.raises(Refused, match="412 PreconditionFailed"):
            check_conditions(ENTRY, headers)
    else:
        assert check_conditions(ENTRY, headers) is outcome


def part(number: int, size: int = MIN_PART_BYTES) -> Part:
    return Part(number, f"etag{number}", size, 0.0, "")


STORED = [part(1), part(2), part(5, 10), part(7)]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ([], "MalformedXML"),
        ([("one", "etag1")], "MalformedXML"),
        ([("2", "etag2"), ("1", "etag1")], "InvalidPartOrder"),
        ([("1", "etag1"), ("1", "etag1")], "InvalidPartOrder"),
        ([("1", "etag2")], "InvalidPart"),
        ([("3", "etag3")], "InvalidPart"),
        ([("5", "etag5"), ("7", "etag7")], "EntityTooSmall"),
    ],
)
def test_a_wrong_completion_is_refused(wanted: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(Refused) as caught:
        choose_parts(wanted, STORED)
    assert caught.value.code == code


def test_a_completion_takes_the_parts_it_names_and_a_short_last_one() -> None:
    assert choose_parts([("1", "etag1"), ("5", "etag5")], STORED) == [STORED[0], STORED[2]]


def test_picture_operations_are_read() -> None:
    header = (
        '{"is_pic_info":1,"rules":[{"fileid":"/out/a.png","rule":"r"},{"fileid":"b.png","rule":"s","bucket":"x-1"}]}'
    )
    assert read_operations(header, bucket="x-1", key="in/p.png") == (True, [("out/a.png", "r"), ("in/b.png", "s")])
    assert read_operations("{}", bucket="x-1", key="p.png") == (False, [])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[]",
        "{",
        '{"rule":[]}',
        '{"is_pic_info":2}',
        '{"rules":{}}',
        '{"rules":[{"fileid":"a"}]}',
        '{"rules":[{"fileid":"/","rule":"r"}]}',
        '{"rules":[{"fileid":"a","rule":""}]}',
        '{"rules":[{"fileid":"a","rule":"r","bucket":"other-1"}]}',
        '{"rules":[{"fileid":"a","rule":"r","quality":1}]}',
        '{"rules":[' + ",".join(['{"fileid":"a","rule":"r"}'] * 6) + "]}",
    ],
)
def test_unknown_picture_operations_are_refused(header: str) -> None:
    with pytest.raises(Refused, match="400 InvalidArgument"):
        read_operations(header, bucket="x-1", key="in/p.png")


PICTURE = Examined("jpeg", 10, 10, 90, "0xfa0af0", 1)


@pytest.mark.parametrize(
    ("rules", "change", "result"),
    [
        (AuditRules(), {}, 0),
        (AuditRules(), {"key": "input/Violation.png"}, 1),
        (AuditRules(), {"headers": {"x-cos-meta-note": "a violation"}}, 1),
        (AuditRules(), {"headers": {"content-type": "violation"}}, 0),
        (AuditRules(), {"key": "input/suspect.png"}, 2),
        (AuditRules(violating_etags={"e1"}), {}, 1),
        (AuditRules(violating_colour="0xff00ff"), {}, 0),
        (AuditRules(violating_colour="0xff00fa"), {}, 1),
        (AuditRules(violating_words=()), {"key": "violation"}, 0),
    ],
)
def test_verdicts_follow_the_rules(rules: AuditRules, change: dict[str, Any], result: int) -> None:
    asked: dict[str, Any] = {"key": "input/a.png", "etag": "e1", "headers": {}, **change}
    verdict = judge(rules, picture=PICTURE, **asked)
    assert verdict.result == result
    assert (verdict.label == "Normal") == (result == 0)
    assert {0: verdict.score <= 60, 2: 60 < verdict.score <= 90, 1: verdict.score > 90}[result]


def test_a_fault_strikes_what_it_names_as_often_as_it_says() -> None:
    faults = Faults()
    faults.arm(Fault(FaultKind.UNAVAILABLE, "PUT", r"^output/", times=2))
    assert faults.take(FaultKind.UNAVAILABLE, "GET", "output/a") is None
    assert faults.take(FaultKind.UNAVAILABLE, "PUT", "input/output/a") is None
    assert faults.take(FaultKind.CUT_AFTER, "PUT", "output/a") is None
    assert faults.take(FaultKind.UNAVAILABLE, "PUT", "output/a") is not None
    assert faults.take(FaultKind.UNAVAILABLE, "PUT", "output/b") is not None
    assert faults.take(FaultKind.UNAVAILABLE, "PUT", "output/c") is None
    assert faults.armed() == []


def test_documents_are_escaped_and_read_back() -> None:
    body = render("R", [("A", '<&">'), ("B", [("C", 1), ("C", 2)])])
    root = parse(body, "R")
    assert text_of(root, "A") == '<&">'
    assert [child.text for child in root.findall("B/C")] == ["1", "2"]


@pytest.mark.parametrize("body", [b"", b"<R", b"<S/>", b'<!DOCTYPE R [<!ENTITY a "b">]><R>&a;</R>'])
def test_other_documents_are_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="MalformedXML"):
        parse(body, "R")
