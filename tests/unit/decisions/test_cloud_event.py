"""EventBridge's envelopes, in every known form, and malformed ones."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.runners.cloud_event import records_in
from messages.bodies import Clean, Stage
from messages.codec import Message, Priority, encode, new_header
from messages.keys import RunId

PAYLOAD = encode(Message(new_header(RunId("u-1", "t-1"), Stage.CLEAN, time.time()), Clean()))


def envelope(**data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "13a3f42d-7258-4ada-da6d-023a333b4662",
        "type": "connector:tdmq",
        "source": "tdmq.cloud.tencent",
        "subject": "qcs::tdmq:$region:$account:topicName/pulsar-1/default/clean-high/workers",
        "time": "1615430559146",
        "region": "ap-guangzhou",
        "datacontenttype": "application/json;charset=utf-8",
        "data": {
            "topic": "persistent://pulsar-1/default/clean-high",
            "tags": "testtopic",
            "TopicType": "0",
            "subscriptionName": "workers",
            "toTimestamp": "1603352765001",
            "partitions": "0",
            "msgId": "123345346",
            "msgBody": PAYLOAD.decode(),
            **data,
        },
    }


def one(event: Any) -> tuple[str, str, bytes, bool]:
    (record,) = records_in(event)
    return record.delivery.message_id, record.delivery.topic, record.delivery.payload, record.readable


def test_a_single_event() -> None:
    assert one(envelope()) == ("123345346", "clean-high", PAYLOAD, True)


def test_a_batch_keeps_its_order() -> None:
    records = records_in({"EventList": [envelope(msgId=str(n)) for n in range(10)]})
    assert [record.delivery.message_id for record in records] == [str(n) for n in range(10)]
    assert records_in({"EventList": []}) == ()


def test_older_spellings_and_types() -> None:
    old = envelope(TopicType=0, partitions=0)
    old["subjuect"] = old.pop("subject")
    old["specversion"] = "0"
    assert one(old) == ("123345346", "clean-high", PAYLOAD, True)
    assert one(envelope(msgId=7))[0] == "7"


def test_a_body_in_base64_or_parsed_already() -> None:
    assert one(envelope(msgBody=base64.b64encode(PAYLOAD).decode()))[2] == PAYLOAD
    assert json.loads(one(envelope(msgBody=json.loads(PAYLOAD)))[2]) == json.loads(PAYLOAD)


def test_what_is_no_message_inside_an_envelope_is_left_as_it_is() -> None:
    assert one(envelope(msgBody="Hello from TDMQ!"))[2:] == (b"Hello from TDMQ!", True)
    assert one(envelope(msgBody="aGVsbG8="))[2] == b"aGVsbG8="


@pytest.mark.parametrize(
    ("named", "topic"),
    [
        ("persistent://appid/namespace/poll", "poll"),
        ("poll", "poll"),
        ("persistent://a/n/poll-partition-3", "poll"),
        ("persistent://a/n/poll-workers-DLQ", "poll-workers-DLQ"),
        # A topic that is not ours, and none: the message's own topic counts.
        ("persistent://a/n/topic-1", "clean-normal"),
        (None, "clean-normal"),
    ],
)
def test_the_topic_is_the_last_part_of_its_name(named: str | None, topic: str) -> None:
    assert one(envelope(topic=named))[1] == topic


def test_a_topic_that_is_not_ours_and_no_message_has_a_home_too() -> None:
    assert one(envelope(topic="topic-1", msgBody="Hello"))[1] == "wake"


def test_the_priority_finds_the_topic() -> None:
    header = new_header(RunId("u", "t"), Stage.CLEAN, 0.0)
    low = json.loads(encode(Message(header, Clean())))
    low[0][11] = Priority.LOW.value
    assert one(envelope(topic="", msgBody=json.dumps(low)))[1] == "clean-low"


def test_an_id_is_found_and_stays_the_same() -> None:
    nameless = envelope(msgId="")
    assert one(nameless)[0] == nameless["id"]
    del nameless["id"]
    assert one(nameless)[0] == one(nameless)[0] != ""


@pytest.mark.parametrize(
    "entry", [None, 3, "text", [], {}, {"data": None}, {"data": {}}, envelope(msgBody=""), envelope(msgBody=7)]
)
def test_what_is_no_envelope_is_a_record_that_cannot_be_read(entry: Any) -> None:
    message_id, topic, payload, readable = one({"EventList": [entry]})
    assert (topic, readable, json.loads(payload)) == ("wake", False, entry)
    assert message_id.startswith("sha256-")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.lists(
        JSON | st.fixed_dictionaries({"data": st.dictionaries(st.sampled_from(["topic", "msgBody", "msgId"]), JSON)})
    )
)
def test_nothing_is_left_out_whatever_comes(entries: list[Any]) -> None:
    records = records_in({"EventList": entries})
    assert len(records) == len(entries)
    assert all(record.delivery.message_id and record.delivery.topic for record in records)
