"""Signatures of messages: the bytes that they cover, the keys that may make them, and the handling of bad ones."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messages.bodies import BODIES, Body, Clean, Generate, Notify, Stage, Wake
from messages.codec import SCHEMA, Header, Message, decode, encode
from messages.compact import pack_traceparent, unpack_traceparent
from messages.errors import BadSignature, InvalidMessage, NewerMessage, NotSigned
from messages.signing import MessageKey, MessageKeys

SECRET: Final = b"a secret of the workers, 32 bytes"
WORKERS: Final = MessageKey("k1", SECRET)
WEBHOOK: Final = MessageKey("w1", b"another secret, for the webhook...", frozenset({"wake"}))
ALL: Final = MessageKeys([WORKERS, WEBHOOK], accept_unsigned=False)
HOOK: Final = MessageKeys([WEBHOOK], accept_unsigned=False)

GENERATE: Final = Message(Header(SCHEMA, "generate", "u", "t", 0, 0, 0, 0, 1_763_888_400_123), Generate())
WAKE: Final = Message(Header(SCHEMA, "wake", "u", "t", 0, -1, 0, 0, 1_763_888_400_123), Wake("webhook"))


def parts(data: bytes) -> tuple[list[Any], list[Any], str]:
    head, body, signature = msgspec.json.decode(data)
    return head, body, signature


def test_a_signed_message_is_read_with_its_key_and_without_any() -> None:
    data = encode(GENERATE, ALL)
    assert decode(data, ALL) == decode(data) == GENERATE
    assert decode(encode(GENERATE), MessageKeys()) == GENERATE


def test_a_signature_is_an_hmac_over_header_and_body_as_they_travel() -> None:
    """By the standard library alone, as another program would make it."""
    data = encode(GENERATE, ALL)
    head, _, rest = data[1:].partition(b"],")
    body, _, _ = rest.partition(b"],")
    made = hmac.new(SECRET, head + b"]\n" + body + b"]", hashlib.sha256).digest()[:16]
    assert parts(data)[2] == "k1" + urlsafe_b64encode(made).decode().rstrip("=")


@pytest.mark.parametrize("place", ["header", "body", "signature"])
@pytest.mark.parametrize("stage", [stage for stage in Stage if stage in BODIES])
def test_one_changed_byte_is_a_bad_signature(stage: Stage, place: str) -> None:
    body: Body = Generate() if stage is Stage.GENERATE else Clean() if stage is Stage.CLEAN else Notify(5)
    message = Message(msgspec.structs.replace(GENERATE.header, stage=stage.value), body)
    data = encode(message, ALL)
    head, inner, signature = parts(data)
    if place == "header":
        head[6] = 7
    elif place == "body":
        inner.append(1)
    else:
        signature = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    with pytest.raises(BadSignature):
        decode(msgspec.json.encode((head, inner, signature)), ALL)


def test_a_signature_of_one_message_fits_no_other() -> None:
    head, body, _ = parts(encode(GENERATE, ALL))
    _, _, other = parts(encode(msgspec.structs.replace(GENERATE, body=Generate(2)), ALL))
    with pytest.raises(BadSignature):
        decode(msgspec.json.encode((head, body, other)), ALL)


def test_header_and_body_cannot_be_recombined() -> None:
    """The border between header and body is covered too."""
    key = WORKERS
    assert key.mac(b"[1]", b"[2]") != key.mac(b"[1]\n[2]", b"")


def test_a_message_without_a_signature_is_read_only_where_that_is_allowed() -> None:
    data = encode(GENERATE)
    assert decode(data, MessageKeys([WORKERS])) == GENERATE
    with pytest.raises(BadSignature, match="without a signature"):
        decode(data, ALL)


def test_a_key_signs_no_stage_but_its_own() -> None:
    assert decode(encode(WAKE, HOOK), ALL) == WAKE
    with pytest.raises(NotSigned, match=r"w1.*generate"):
        encode(GENERATE, HOOK)
    everything = MessageKeys([MessageKey("w1", b"another secret, for the webhook...")])
    with pytest.raises(BadSignature, match=r"w1.*may not"):
        decode(encode(GENERATE, everything), ALL)


def test_the_first_key_that_may_signs_and_all_verify() -> None:
    new = MessageKey("k2", b"the next secret, of 32 bytes also")
    before, rotated = MessageKeys([WORKERS, new]), MessageKeys([new, WORKERS])
    old, young = encode(GENERATE, before), encode(GENERATE, rotated)
    assert (parts(old)[2][:2], parts(young)[2][:2]) == ("k1", "k2")
    assert decode(old, rotated) == decode(young, before) == GENERATE
    assert parts(encode(WAKE, MessageKeys([WEBHOOK, WORKERS])))[2][:2] == "w1"


def test_a_key_that_is_not_known_may_be_a_newer_ones() -> None:
    with pytest.raises(NewerMessage, match="k9") as caught:
        decode(encode(GENERATE, MessageKeys([MessageKey("k9", SECRET)])), ALL)
    assert caught.value.created == GENERATE.header.created / 1000


@pytest.mark.parametrize("change", [{"stage": "upscale"}, {"version": SCHEMA + 1}])
def test_a_stage_or_schema_that_is_not_known_may_be_a_newer_ones(change: dict[str, Any]) -> None:
    newer = Message(msgspec.structs.replace(GENERATE.header, **change), Clean())
    with pytest.raises(NewerMessage):
        decode(encode(newer, ALL), ALL)
    with pytest.raises(BadSignature):
        decode(encode(newer), ALL)


@given(st.text(max_size=60))
@example("")
@example("x" * 22)
@example("k1" + "é" * 22)
@example("\ud800")
def test_no_text_is_a_signature(signature: str) -> None:
    head, body, true = parts(encode(GENERATE, ALL))
    try:
        data = msgspec.json.encode((head, body, signature))
    except UnicodeEncodeError:
        data = b'[%b,%b,"\\ud800"]' % (msgspec.json.encode(head), msgspec.json.encode(body))
    if signature != true:
        with pytest.raises(InvalidMessage):
            decode(data, ALL)


@pytest.mark.parametrize("odd", [None, 1, ["k1"], {"k": 1}, True])
def test_a_signature_that_is_no_text_is_no_message(odd: object) -> None:
    head, body, _ = parts(encode(GENERATE, ALL))
    with pytest.raises(InvalidMessage):
        decode(msgspec.json.encode((head, body, odd)), ALL)


def test_more_may_be_appended_after_the_signature() -> None:
    head, body, signature = parts(encode(GENERATE, ALL))
    assert decode(msgspec.json.encode((head, body, signature, "more", 1)), ALL) == GENERATE


def test_more_may_be_appended_to_header_and_body_and_is_covered() -> None:
    head, body = msgspec.json.encode([*parts(encode(GENERATE, ALL))[0], "more"]), b'[1,"more"]'
    data = b'[%b,%b,"k1%b"]' % (head, body, WORKERS.mac(head, body).encode())
    assert decode(data, ALL) == GENERATE
    with pytest.raises(BadSignature):
        decode(data.replace(b"more", b"less"), ALL)


def test_a_key_never_shows_its_secret() -> None:
    assert SECRET.decode() not in f"{WORKERS!r} {WORKERS} {vars(ALL)}"


TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_context_travels_in_its_short_form() -> None:
    assert unpack_traceparent(pack_traceparent(TRACE)) == TRACE
    assert len(pack_traceparent(TRACE)) == 34
    message = msgspec.structs.replace(GENERATE, header=msgspec.structs.replace(GENERATE.header, traceparent=TRACE))
    assert decode(encode(message)) == message
    assert TRACE.encode() not in encode(message)


@given(st.binary(min_size=25, max_size=25))
def test_every_trace_context_survives(data: bytes) -> None:
    digits = data.hex()
    trace = f"00-{digits[:32]}-{digits[32:48]}-{digits[48:]}"
    assert unpack_traceparent(pack_traceparent(trace)) == trace


@pytest.mark.parametrize("odd", ["", "x", "00-", TRACE.upper(), "01" + TRACE[2:], TRACE + "-more", "é" * 34, "=" * 34])
def test_other_text_travels_as_it_is(odd: str) -> None:
    assert pack_traceparent(odd) == odd
    assert unpack_traceparent(odd) == odd
