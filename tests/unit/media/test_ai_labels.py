"""The metadata label: its fields, its integrity code, and the two ways in which it gets into a file."""

from __future__ import annotations

import hashlib
import hmac
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sandbox.cos.ci.pictures import process
from services.media.ai_labels import RULE_FORMATS, AiLabels
from services.media.labels import aigc_of, completed, label_of, packet_of
from services.media.strip import strip
from telemetry.secrets import Secret
from tests.support.ai_label import label_in

SECRET = Secret("a secret of the labels in tests, long")
LABELS = AiLabels("示例公司", "platform & co", SECRET, visible=True)
TEXT = st.text(st.characters(exclude_characters="{}", exclude_categories=("Cs", "Cc")), max_size=40)


def encoded(form: str, **options: object) -> bytes:
    saved = io.BytesIO()
    Image.linear_gradient("L").resize((60, 90)).convert("RGB").save(saved, form, **options)
    return saved.getvalue()


def put_in(body: bytes, content_type: str, packet: bytes) -> bytes:
    return b"".join(
        piece if isinstance(piece, bytes) else body[slice(*piece)] for piece in strip(body, content_type, packet).pieces
    )


def test_a_label_names_provider_file_and_propagator_and_nothing_empty() -> None:
    fields = dict(LABELS.of("t1-0-0-frame_01.jpg").fields)
    assert len(fields.pop("ReservedCode1")) == 64
    assert fields == {
        "Label": "1",
        "ContentProducer": "示例公司",
        "ProduceID": "t1-0-0-frame_01.jpg",
        "ContentPropagator": "platform & co",
        "PropagateID": "t1-0-0-frame_01.jpg",
    }
    assert set(AiLabels("", "", SECRET, visible=True).of("n").fields) == {"Label", "ProduceID", "ReservedCode1"}


@given(TEXT, TEXT, TEXT)
def test_a_label_is_read_back_as_it_is_and_verifies(producer: str, propagator: str, number: str) -> None:
    labels = AiLabels(producer, propagator, SECRET, visible=False)
    label = labels.of(number)
    assert aigc_of(label.packet) == label.fields
    assert labels.is_ours(aigc_of(label.packet))


@given(st.sampled_from(["ContentProducer", "ProduceID", "PropagateID", "ContentPropagator", "ReservedCode1"]), TEXT)
def test_an_altered_label_does_not_verify(name: str, value: str) -> None:
    fields = {**LABELS.of("n1").fields}
    if fields[name] != value:
        assert not LABELS.is_ours({**fields, name: value})


def test_neither_does_one_of_another_key_nor_what_is_no_label() -> None:
    other = AiLabels("示例公司", "platform & co", Secret("another secret of labels, long enough"), visible=True)
    assert not LABELS.is_ours(other.of("n1").fields)
    assert not LABELS.is_ours({})
    assert not LABELS.is_ours({"Label": "1"})


def test_the_key_does_not_serve_for_anything_else_that_the_secret_signs() -> None:
    label = LABELS.of("n1")
    signed = json.dumps({name: value for name, value in label.fields.items() if name != "ReservedCode1"})
    plain = hmac.new(SECRET.reveal().encode(), signed.encode(), hashlib.sha256).hexdigest()
    assert plain != label.code
    assert SECRET.reveal() not in label.packet.decode()


@pytest.mark.parametrize("extension", sorted(RULE_FORMATS))
def test_the_picture_service_takes_the_rule_and_others_read_it(extension: str) -> None:
    label = LABELS.of("n1")
    made = process(encoded("PNG"), f"imageMogr2/format/{extension}|{label.rule}")
    assert label_in(made.body) == label.fields
    assert aigc_of(made.body) == label.fields


@pytest.mark.parametrize(
    ("form", "content_type", "options"),
    [
        ("JPEG", "image/jpeg", {}),
        ("PNG", "image/png", {}),
        ("WEBP", "image/webp", {}),
        ("WEBP", "image/webp", {"lossless": True}),
        ("WEBP", "image/webp", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
def test_our_own_packet_leaves_the_pixels_alone_in_every_format(
    form: str, content_type: str, options: dict[str, object]
) -> None:
    body, label = encoded(form, **options), LABELS.of("n1")
    labelled = put_in(body, content_type, label.packet)
    assert label_in(labelled) == label.fields
    with Image.open(io.BytesIO(body)) as before, Image.open(io.BytesIO(labelled)) as after:
        assert before.convert("RGBA").tobytes() == after.convert("RGBA").tobytes()
    assert strip(body, content_type).short_side == strip(labelled, content_type).short_side == 60


def test_a_webp_with_alpha_says_so_in_its_new_head() -> None:
    saved = io.BytesIO()
    Image.new("RGBA", (9, 7), (200, 10, 10, 90)).save(saved, "WEBP", lossless=True)
    labelled = put_in(saved.getvalue(), "image/webp", LABELS.of("n1").packet)
    with Image.open(io.BytesIO(labelled)) as picture:
        assert (picture.mode, picture.size, picture.getpixel((3, 3))[3]) == ("RGBA", (9, 7), 90)  # type: ignore[index]


def test_a_vendor_s_own_label_stays_and_a_source_alone_is_completed() -> None:
    ours = LABELS.of("n1")
    theirs = packet_of('{"Label":"1","ContentProducer":"vendor"}')
    assert completed(theirs, ours.packet) == theirs
    source = label_of(b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    both = completed(source, ours.packet)
    assert aigc_of(both) == ours.fields
    assert b"trainedAlgorithmicMedia" in both
    assert completed(b"", b"") == b""
    assert aigc_of(b"") == {}
