"""One odd record does not harm the others of its batch; a document that is no JSON object is a client's error."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.runners.cloud_event import records_in
from messages.bodies import Clean, Stage
from messages.codec import Message, encode, new_header
from messages.keys import RunId
from runtime.errors import BadBody
from runtime.event_json import decode_event

DEEP: Final = b"[" * 20_000 + b"]" * 20_000
GOOD: Final = encode(Message(new_header(RunId("u", "t"), Stage.CLEAN, 1.0), Clean()))
ODD: Final = {
    "half a surrogate pair": b'{"data": {"msgBody": "\\ud800"}}',
    "an infinite number": b'{"data": {"msgBody": 1e400}}',
    "20,000 levels": b'{"data": {"msgBody": ' + DEEP + b"}}",
    "no UTF-8": b'{"data": {"msgBody": "\xff"}}',
    "a number of 5,000 digits": b'{"data": {"msgBody": ' + b"9" * 5000 + b"}}",
    "a word": b"NaN",
    "brackets in a text": b'"]}, [{\\"\\\\"',
}

JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def record(payload: bytes) -> bytes:
    return json.dumps(
        {"id": "e-1", "data": {"topic": "clean-normal", "msgId": "m-1", "msgBody": payload.decode()}}
    ).encode()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_record_takes_no_other_along(name: str, place: int) -> None:
    batch = [record(GOOD), record(GOOD)]
    batch.insert(place, ODD[name])
    body = b'{"a": "EventList", "EventList": [' + b" , ".join(batch) + b'], "more": [1]}'
    found = records_in(decode_event(body))
    assert [one.delivery.payload for one in found if one.delivery.payload == GOOD] == [GOOD, GOOD]
    assert len(found) == 3


def test_the_text_of_what_cannot_be_read_is_kept() -> None:
    found = records_in(decode_event(b'{"EventList": [' + DEEP + b"]}"))
    assert [(one.readable, one.delivery.payload) for one in found] == [(False, b'"' + DEEP + b'"')]


@pytest.mark.parametrize(
    "odd", ["\ud800", math.inf, 10**400, float("nan"), {"data": {"msgBody": "x", "msgId": "\ud800"}}]
)
def test_an_odd_value_that_a_platform_decoded_by_itself_is_a_record_too(odd: Any) -> None:
    found = records_in({"EventList": [odd, json.loads(record(GOOD))]})
    assert len(found) == 2
    assert found[1].delivery.payload == GOOD
    found[0].delivery.message_id.encode("ascii")


def test_a_value_nested_without_a_bound_is_a_record_too() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    found = records_in({"EventList": [deep, {"data": {"msgBody": deep, "msgId": deep}}, json.loads(record(GOOD))]})
    assert [one.delivery.payload == GOOD for one in found] == [False, False, True]


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null", b"", b"{", b'{"EventList": [1', b"\xff", DEEP])
def test_what_is_no_object_is_the_callers_error(body: bytes) -> None:
    with pytest.raises(BadBody):
        decode_event(body)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_an_event_is_what_it_says(event: dict[str, Any]) -> None:
    assert decode_event(json.dumps(event).encode()) == event


@given(st.lists(JSON, max_size=6), st.integers(0, 20))
def test_records_beside_an_odd_one_are_what_they_say(records: list[Any], place: int) -> None:
    texts = [json.dumps(one, ensure_ascii=False).encode() for one in records]
    texts.insert(place, DEEP)
    found = decode_event(b'{"EventList": [' + b",".join(texts) + b"]}")["EventList"]
    assert [one for one in found if one != DEEP.decode()] == records
