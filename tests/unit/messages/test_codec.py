"""Messages and their bytes: decoding reverses encoding, and hostile bytes raise only one type of error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messages.bodies import (
    BODIES,
    Audit,
    Body,
    Clean,
    Collect,
    Dead,
    Generate,
    Job,
    Notify,
    Poll,
    Prompt,
    Reason,
    Stage,
    Wake,
)
from messages.codec import MAX_MESSAGE_BYTES, SCHEMA, Header, Message, Priority, decode, encode
from messages.errors import InvalidMessage, MessageTooLarge
from messages.signing import MessageKey, MessageKeys

IDS = st.text("ABCXYZabcxyz0189_-", min_size=1, max_size=64)
COUNTS = st.integers(0, 1_000_000)
MILLIS = st.integers(0, 1 << 52)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
JOBS = st.builds(Job, n=COUNTS, id=TEXTS)

BODY_OF: dict[Stage, st.SearchStrategy[Body]] = {
    Stage.CLEAN: st.just(Clean()),
    Stage.PROMPT: st.just(Prompt()),
    Stage.AUDIT: st.just(Audit()),
    Stage.GENERATE: st.just(Generate()),
    Stage.POLL: st.builds(Poll, jobs=st.lists(JOBS, max_size=4).map(tuple), since=MILLIS),
    Stage.COLLECT: st.builds(Collect, job=st.none() | JOBS),
    Stage.WAKE: st.builds(Wake, why=TEXTS, job=st.none() | JOBS, since=MILLIS),
    Stage.NOTIFY: st.builds(Notify, since=MILLIS),
    Stage.DEAD: st.builds(
        Dead,
        reason=st.sampled_from(Reason),
        topic=TEXTS,
        message_id=TEXTS,
        stage=TEXTS,
        code=TEXTS,
        error=TEXTS,
        fingerprint=TEXTS,
        original=TEXTS,
        encoding=TEXTS,
        n=COUNTS,
    ),
}


def headers(stage: Stage) -> st.SearchStrategy[Header]:
    return st.builds(
        Header,
        version=st.just(SCHEMA),
        stage=st.just(stage.value),
        user=IDS,
        task=IDS,
        step=COUNTS,
        run=st.integers(-1, 1_000_000),
        seq=COUNTS,
        attempt=COUNTS,
        created=MILLIS,
        not_before=MILLIS,
        deadline=MILLIS,
        priority=st.sampled_from(Priority),
        kind=st.text(st.characters(codec="utf-8"), max_size=20),
        traceparent=st.text(st.characters(codec="utf-8"), max_size=20),
        isolated=st.booleans(),
    )


def _of_stage(stage: Stage) -> st.SearchStrategy[Message]:
    return st.builds(Message, headers(stage), BODY_OF[stage])


MESSAGES = st.sampled_from(Stage).flatmap(_of_stage)


def header(stage: str = "generate", **changes: Any) -> Header:
    plain = Header(
        version=SCHEMA,
        stage=stage,
        user="u1",
        task="t1",
        step=0,
        run=0,
        seq=0,
        attempt=0,
        created=1_763_888_400_000,
    )
    return msgspec.structs.replace(plain, **changes)


def wire(head: Any, body: Any) -> bytes:
    return msgspec.json.encode((head, body))


def test_every_stage_has_a_body_and_a_strategy_here() -> None:
    assert set(BODIES) == set(Stage) == set(BODY_OF)


@settings(deadline=None)
@given(MESSAGES)
def test_what_goes_in_comes_out(message: Message) -> None:
    data = encode(message)
    assert decode(data) == message
    # Text, because EventBridge carries nothing else.
    head, body = msgspec.json.decode(data.decode("utf-8"))
    assert isinstance(head, list)
    assert isinstance(body, list)


def only_a_message_or_the_one_error(data: bytes) -> Message | None:
    try:
        message = decode(data)
    except InvalidMessage:
        return None
    assert isinstance(message, Message)
    assert isinstance(message.body, BODIES[message.header.stage])
    # A message that was read can be written again: a copy of it must be publishable.
    if len(data) < MAX_MESSAGE_BYTES // 2:
        assert decode(encode(message)) == message
    return message


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"[[],[]]")
@example(b"\xff\xfe")
@example(b'"\xed\xa0\x80"')
def test_random_bytes(data: bytes) -> None:
    only_a_message_or_the_one_error(data)


@settings(deadline=None, max_examples=50)
@given(MESSAGES, st.data())
def test_flipped_bits(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    for place in data.draw(st.lists(st.integers(0, len(raw) * 8 - 1), min_size=1, max_size=3)):
        raw[place // 8] ^= 1 << (place % 8)
    only_a_message_or_the_one_error(bytes(raw))


@settings(deadline=None, max_examples=50)
@given(MESSAGES, st.data())
def test_a_message_cut_off_is_none(message: Message, data: st.DataObject) -> None:
    raw = encode(message)
    assert only_a_message_or_the_one_error(raw[: data.draw(st.integers(0, len(raw) - 1))]) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(MESSAGES, JSON, st.data())
def test_a_field_of_another_type(message: Message, value: Any, data: st.DataObject) -> None:
    head, body = msgspec.json.decode(encode(message))
    part = data.draw(st.sampled_from([part for part in (head, body) if part]))
    part[data.draw(st.integers(0, len(part) - 1))] = value
    only_a_message_or_the_one_error(wire(head, body))


HOSTILE = {
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep array in the header": b'[[1,"clean",' + b"[" * 100_000,
    "deep array in the body": encode(Message(header("clean"), Clean()))[:-3] + b"[" * 50_000 + b"]" * 50_000 + b"]",
    "deep array behind the known fields": encode(Message(header("clean"), Clean()))[:-1] + b"," + b"[" * 100_000,
    "huge integer": b"[[" + b"9" * 400 + b',"clean","u","t",0,0,0,0,0],[]]',
    "integer beyond any limit": b"[[" + b"9" * 5000 + b',"clean","u","t",0,0,0,0,0],[]]',
    "huge exponent": b'[[1,"clean","u","t",0,0,0,0,1e999],[]]',
    "negative count": b'[[1,"clean","u","t",0,0,-1,0,0],[]]',
    "run below a wake's": b'[[1,"clean","u","t",0,-2,0,0,0],[]]',
    "lone high surrogate": b'[[1,"clean","u","t",0,0,0,0,0,0,0,1,"\\ud800"],[]]',
    "lone low surrogate": b'[[1,"clean","u","t",0,0,0,0,0,0,0,1,"\\udc00x"],[]]',
    "surrogate as bytes": b'[[1,"clean","u","t",0,0,0,0,0,0,0,1,"\xed\xa0\x80"],[]]',
    # A dead letter repeats the header beside the original, and both have to fit.
    "a kind without end": b'[[1,"clean","u","t",0,0,0,0,0,0,0,1,"' + b"k" * 65 + b'"],[]]',
    "a traceparent without end": b'[[1,"clean","u","t",0,0,0,0,0,0,0,1,"","' + b"0" * 129 + b'"],[]]',
    "no body": b'[[1,"clean","u","t",0,0,0,0,0]]',
    "an object": b'{"header":[1],"body":[]}',
    "a body of another shape": b'[[1,"clean","u","t",0,0,0,0,0],{}]',
    "header too short": b'[[1,"clean","u","t",0,0,0,0],[]]',
    "unknown priority": b'[[1,"clean","u","t",0,0,0,0,0,0,0,7],[]]',
    "trailing text": encode(Message(header("clean"), Clean())) + b"x",
    "a body that lacks a field": b'[[1,"notify","u","t",0,0,0,0,0],[]]',
    "a byte-order mark": b"\xef\xbb\xbf" + encode(Message(header("clean"), Clean())),
    "UTF-16": encode(Message(header("clean"), Clean())).decode().encode("utf-16"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_no_message(name: str) -> None:
    with pytest.raises(InvalidMessage):
        decode(HOSTILE[name])


def test_an_error_does_not_repeat_what_it_was_given() -> None:
    with pytest.raises(InvalidMessage) as raised:
        decode(wire((1, "x" * 5000, "u", "t", 0, 0, 0, 0, 0), []))
    assert len(str(raised.value)) < 200
    with pytest.raises(InvalidMessage) as raised:
        decode(wire((1, "clean", "https://secret.example/?sign=abc", "t", 0, 0, 0, 0, 0), []))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a" * 65, "user\n", "用户", "a b", "a.b"])
@pytest.mark.parametrize("place", [2, 3])
def test_ids_in_a_message_are_as_safe_as_in_a_key(bad: str, place: int) -> None:
    head: list[Any] = [1, "clean", "u", "t", 0, 0, 0, 0, 0]
    head[place] = bad
    with pytest.raises(InvalidMessage):
        decode(wire(head, []))


def test_an_unknown_stage_or_schema_is_no_message_of_this_build() -> None:
    with pytest.raises(InvalidMessage, match="upscale"):
        decode(wire((1, "upscale", "u", "t", 0, 0, 0, 0, 0), ["anything", {"at": "all"}]))
    with pytest.raises(InvalidMessage, match="schema 2"):
        decode(wire((2, "clean", "u", "t", 0, 0, 0, 0, 0), []))


# ---- builds that differ by fields appended --------------------------------------------------------------------------


class NewHeader(msgspec.Struct, frozen=True, array_like=True):
    """A message of a later build: today's fields, and more."""

    version: int
    stage: str
    user: str
    task: str
    step: int
    run: int
    seq: int
    attempt: int
    created: int
    not_before: int = 0
    deadline: int = 0
    priority: int = 1
    kind: str = ""
    traceparent: str = ""
    isolated: bool = False
    shard: str = "s7"
    weights: dict[str, float] = {}


class NewPoll(msgspec.Struct, frozen=True, array_like=True):
    jobs: tuple[tuple[int, str, int, str, str, str], ...]
    since: int
    unsaved: bool = False
    slot: int = 1
    short_since: int = 0
    region: str = "gz"


class OldHeader(msgspec.Struct, frozen=True, array_like=True):
    """A message of a build that knew no optional field."""

    version: int
    stage: str
    user: str
    task: str
    step: int
    run: int
    seq: int
    attempt: int
    created: int


class OldWake(msgspec.Struct, frozen=True, array_like=True):
    why: str


class OldDead(msgspec.Struct, frozen=True, array_like=True):
    reason: str
    topic: str
    message_id: str
    stage: str
    code: str
    error: str
    fingerprint: str
    original: str


def test_an_old_reader_skips_what_a_newer_build_appended() -> None:
    head = NewHeader(1, "poll", "u1", "t1", 0, 0, 3, 1, 5_000, 10, 20, 0, "model_pose12", weights={"a": 0.5})
    message = decode(wire(head, NewPoll(((1, "job-1", 1, "main", "v", "extra"),), 99)))
    assert message.header == header(
        "poll", seq=3, attempt=1, created=5_000, not_before=10, deadline=20, priority=Priority.HIGH, kind="model_pose12"
    )
    assert message.body == Poll((Job(1, "job-1", 1, "main", "v"),), 99)


def test_a_new_reader_fills_in_what_an_old_build_did_not_write() -> None:
    message = decode(wire(OldHeader(1, "wake", "u1", "t1", 0, -1, 0, 0, 5_000), OldWake("sweep")))
    assert message == Message(header("wake", run=-1, created=5_000), Wake("sweep", None, 0))
    assert message.header.priority is Priority.NORMAL
    assert message.header.deadline_at is None
    old = OldDead("vendor", "poll", "m1", "poll", "vendor_failed", "VendorFailed", "abc", "text")
    dead = decode(wire(OldHeader(1, "dead", "u1", "t1", 0, 0, 0, 0, 5_000), old)).body
    assert dead == Dead(Reason.VENDOR, "poll", "m1", "poll", "vendor_failed", "VendorFailed", "abc", "text", "text", 0)


@given(MESSAGES, st.lists(JSON, min_size=1, max_size=3), st.lists(JSON, min_size=1, max_size=3))
@settings(deadline=None, max_examples=50)
def test_anything_may_be_appended_to_any_message(message: Message, head_more: list[Any], body_more: list[Any]) -> None:
    head, body = msgspec.json.decode(encode(message))
    assert decode(wire([*head, *head_more], [*body, *body_more])) == message


# ---- sizes and times ------------------------------------------------------------------------------------------------

KEYS = MessageKeys([MessageKey("k1", bytes(32))])
REALISTIC = [("1234567890", "9876543210"), ("user_20250101", "7f3c2a9e-5b1d-4c8e-9a6f-0d2b4e6f8a1c")]


@pytest.mark.parametrize(("user", "task"), REALISTIC)
def test_a_generate_message_stays_under_200_bytes(user: str, task: str) -> None:
    full = header(
        user=user,
        task=task,
        seq=12,
        attempt=4,
        not_before=36_000,
        deadline=1_800_000,
        kind="model_pose12",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        isolated=True,
    )
    assert len(encode(Message(full, Generate()), KEYS)) < 200


def test_a_message_that_is_too_large_is_refused_when_written() -> None:
    room = MAX_MESSAGE_BYTES - len(encode(Message(header("wake"), Wake(""))))
    fits = Message(header("wake"), Wake("x" * room))
    assert len(encode(fits)) == MAX_MESSAGE_BYTES
    assert decode(encode(fits)) == fits
    with pytest.raises(MessageTooLarge, match=r"wake.*8193.*8192"):
        encode(Message(header("wake"), Wake("x" * (room + 1))))


@given(MILLIS, MILLIS, st.integers(1, 1 << 52))
def test_times_of_a_header(created: int, not_before: int, deadline: int) -> None:
    timed = header(created=created, not_before=not_before, deadline=deadline)
    assert timed.due_at == (created + not_before) / 1000
    assert timed.deadline_at == (created + deadline) / 1000
    assert header(created=created).deadline_at is None
