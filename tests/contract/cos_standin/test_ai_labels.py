"""CI's metadata labels of AI-made content: the rule, and the query that reads one back."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image
from qcloud_cos import CosServiceError

from tests.support.ai_label import label_in

KEY = "input/p.jpg"
RULE = "imageMogr2/AIGCMetadata/Label/MQ/ContentProducer/56S65L6L/ProduceID/dDE"
LABEL = {"Label": "1", "ContentProducer": "示例", "ProduceID": "t1"}


@pytest.fixture
def client(standin: Any, portrait: bytes) -> Any:
    found = standin.client()
    found.put_object(Bucket=standin.bucket, Key=KEY, Body=portrait)
    return found


def process(standin: Any, client: Any, rule: str, target: str = "o.jpg") -> bytes:
    rules = json.dumps({"rules": [{"fileid": f"/{target}", "rule": rule}]})
    client.ci_image_process(Bucket=standin.bucket, Key=KEY, PicOperations=rules)
    body: bytes = client.get_object(Bucket=standin.bucket, Key=target)["Body"].get_raw_stream().read()
    return body


def ask(standin: Any, client: Any, key: str) -> Any:
    url = client.get_presigned_url(
        Bucket=standin.bucket, Key=key, Method="GET", Params={"ci-process": "ImageAIGCMetadata"}
    )
    return standin.session().get(url, timeout=10)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_label_is_written_and_asked_for(standin: Any, client: Any, extension: str) -> None:
    target = f"o.{extension}"
    body = process(standin, client, f"imageMogr2/format/{extension}/strip|{RULE}", target)
    assert label_in(body) == LABEL
    answer = ask(standin, client, target)
    assert (answer.status_code, answer.json()) == (200, {"AIGC": LABEL})


def test_the_label_leaves_the_pixels_alone_and_replaces_an_earlier_one(
    standin: Any, client: Any, portrait: bytes
) -> None:
    body = process(standin, client, f"imageMogr2/AIGCMetadata/Label/Mg|{RULE}")
    assert (label_in(body), body.count(b"TC260:AIGC>{")) == (LABEL, 1)
    with Image.open(io.BytesIO(body)) as made, Image.open(io.BytesIO(portrait)) as original:
        assert made.tobytes() == original.tobytes()


def test_a_picture_without_a_label_answers_an_empty_object(standin: Any, client: Any) -> None:
    assert ask(standin, client, KEY).json() == {}
    # Any later step drops it.
    process(standin, client, f"{RULE}|imageMogr2/strip")
    assert ask(standin, client, "o.jpg").json() == {}


@pytest.mark.parametrize(
    "rule",
    [
        "imageMogr2/AIGCMetadata",
        "imageMogr2/AIGCMetadata/Label",
        "imageMogr2/AIGCMetadata/Label/MQ==",
        "imageMogr2/AIGCMetadata/Label/NA",
        "imageMogr2/AIGCMetadata/Label/MQ/Label/MQ",
        "imageMogr2/AIGCMetadata/ContentProducer/eA",
        "imageMogr2/AIGCMetadata/Label/MQ/Producer/eA",
        "imageMogr2/AIGCMetadata/Label/MQ/ProduceID/_w",
        "imageMogr2/strip/AIGCMetadata/Label/MQ",
        f"imageMogr2/format/webp|{RULE}",
        f"imageMogr2/format/gif|{RULE}",
    ],
)
def test_what_ci_does_not_take_is_refused(standin: Any, client: Any, rule: str) -> None:
    with pytest.raises(CosServiceError) as caught:
        process(standin, client, rule)
    assert caught.value.get_error_code() == "InvalidArgument"


def test_neither_is_a_webp_asked_about(standin: Any, client: Any) -> None:
    process(standin, client, "imageMogr2/format/webp", "o.webp")
    assert ask(standin, client, "o.webp").status_code == 400
