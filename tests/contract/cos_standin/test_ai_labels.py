"""CI's metadata labels of AI-made content: the rule, and the query that reads one back."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from qcloud_cos import CosServiceError

from sandbox.video import encode
from services.media.ai_labels import AiLabel
from services.media.mp4_labels import LabelledVideo
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


def ask(standin: Any, client: Any, key: str, process: str = "ImageAIGCMetadata") -> Any:
    url = client.get_presigned_url(Bucket=standin.bucket, Key=key, Method="GET", Params={"ci-process": process})
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


def test_the_label_of_a_video_is_asked_for_too(standin: Any, client: Any, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    encode([Image.new("RGB", (64, 48), "teal")] * 3, path)

    async def labelled() -> bytes:
        return b"".join([part async for part in LabelledVideo(Source(path.read_bytes()), AiLabel("1", "示例"))])

    for key, body in {"plain.mp4": path.read_bytes(), "labelled.mp4": asyncio.run(labelled())}.items():
        client.put_object(Bucket=standin.bucket, Key=key, Body=body)
    assert ask(standin, client, "plain.mp4", "MediaAIGCMetadata").json() == {}
    answer = ask(standin, client, "labelled.mp4", "MediaAIGCMetadata")
    assert answer.json() == {"AIGC": {"Label": "1", "ContentProducer": "示例"}}
    client.put_object(Bucket=standin.bucket, Key="text.mp4", Body=b"no video")
    assert ask(standin, client, "text.mp4", "MediaAIGCMetadata").status_code == 400


class Source:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = len(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def test_neither_is_a_webp_asked_about(standin: Any, client: Any) -> None:
    process(standin, client, "imageMogr2/format/webp", "o.webp")
    assert ask(standin, client, "o.webp").status_code == 400
