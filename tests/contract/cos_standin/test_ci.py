"""CI through the real SDK: processing and audit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from qcloud_cos import CosServiceError

KEY = "input/p.jpg"


def refused(status: int, code: str, call: Any, **named: Any) -> None:
    with pytest.raises(CosServiceError) as caught:
        call(**named)
    assert (caught.value.get_status_code(), caught.value.get_error_code()) == (status, code)


def operations(*rules: tuple[str, str]) -> str:
    return json.dumps({"is_pic_info": 1, "rules": [{"fileid": fileid, "rule": rule} for fileid, rule in rules]})


def picture(client: Any, bucket: str, key: str) -> Image.Image:
    body = b"".join(client.get_object(Bucket=bucket, Key=key)["Body"].get_stream(1 << 20))
    return Image.open(io.BytesIO(body))


@pytest.fixture
def client(standin: Any, portrait: bytes) -> Any:
    found = standin.client()
    found.put_object(Bucket=standin.bucket, Key=KEY, Body=portrait)
    return found


def test_a_stored_picture_is_processed_in_place(standin: Any, client: Any) -> None:
    rules = operations(
        ("/output/t.webp", "imageMogr2/auto-orient/thumbnail/32x/format/webp/quality/80"),
        ("beside.png", "ci-process=GoodsMatting"),
    )
    headers, answer = client.ci_image_process(Bucket=standin.bucket, Key=KEY, PicOperations=rules)
    original, results = answer["OriginalInfo"], answer["ProcessResults"]["Object"]
    assert headers["ETag"] == original["ETag"] == client.head_object(Bucket=standin.bucket, Key=KEY)["ETag"]
    assert original["Key"] == KEY
    assert original["Location"] == f"{standin.bucket}.cos.{standin.region}.myqcloud.com/{KEY}"
    assert {**original["ImageInfo"], "Ave": ""} == {
        "Format": "JPEG",
        "Width": "512",
        "Height": "512",
        "Quality": "90",
        "Ave": "",
        "Orientation": "1",
    }
    assert [(found["Key"], found["Format"], found["Width"], found["Height"]) for found in results] == [
        ("output/t.webp", "WEBP", "32", "32"),
        ("input/beside.png", "PNG", "512", "512"),
    ]
    for found in results:
        head = client.head_object(Bucket=standin.bucket, Key=found["Key"])
        assert (head["ETag"], head["Content-Length"]) == (found["ETag"], found["Size"])
    with picture(client, standin.bucket, "input/beside.png") as cut:
        assert cut.getchannel("A").getextrema() == (0, 255)


def test_one_rule_gives_one_object_and_no_list(standin: Any, client: Any) -> None:
    rules = operations(("/output/t.png", "imageMogr2/thumbnail/!50p/format/png"))
    _, answer = client.ci_image_process(Bucket=standin.bucket, Key=KEY, PicOperations=rules)
    assert answer["ProcessResults"]["Object"]["Key"] == "output/t.png"


def test_a_picture_is_processed_as_it_is_uploaded(standin: Any, portrait: bytes) -> None:
    client = standin.client("proxy")
    rules = operations(("/output/t.jpg", "imageMogr2/thumbnail/100x"))
    put = client.ci_put_object
    _, answer = put(Bucket=standin.bucket, Body=portrait, Key="up.jpg", PicOperations=rules)
    assert answer["OriginalInfo"]["Key"] == "up.jpg"
    assert standin.keys() == ["output/t.jpg", "up.jpg"]


def test_a_picture_is_processed_as_it_is_downloaded(standin: Any, client: Any, tmp_path: Path) -> None:
    target = tmp_path / "half.png"
    rule = "imageMogr2/thumbnail/!50p/format/png"
    client.ci_get_object(Bucket=standin.bucket, Key=KEY, DestImagePath=str(target), Rule=rule)
    with Image.open(target) as found:
        assert (found.format, found.size) == ("PNG", (256, 256))


@pytest.mark.parametrize("name", ["cos_goods_matting", "cos_ai_pic_matting", "cos_ai_portrait_matting"])
def test_a_cut_out_comes_as_a_png_with_alpha(standin: Any, client: Any, name: str) -> None:
    layout = {"CenterLayout": 1, "PaddingLayout": "20x10"}
    headers, body = getattr(client, name)(Bucket=standin.bucket, ObjectKey=KEY, **layout)
    with Image.open(io.BytesIO(b"".join(body.get_stream(1 << 20)))) as found:
        assert (headers["Content-Type"], found.mode, found.size) == ("image/png", "RGBA", (450, 430))


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (operations(("/o.jpg", "imageMogr2/rotate/90")), "InvalidArgument"),
        (operations(("/o.jpg", "imageMogr2/ignore-error/1")), "InvalidArgument"),
        (operations(*[(f"/o{number}.jpg", "imageMogr2/strip") for number in range(6)]), "InvalidArgument"),
        (operations(("/o.jpg", "imageMogr2/strip"), ("/p.jpg", "nonsense")), "InvalidArgument"),
        ("not json", "InvalidArgument"),
    ],
)
def test_rules_it_does_not_know_store_nothing(standin: Any, client: Any, rules: str, code: str) -> None:
    refused(400, code, client.ci_image_process, Bucket=standin.bucket, Key=KEY, PicOperations=rules)
    assert standin.keys() == [KEY]


def test_what_is_no_picture_is_not_processed(standin: Any, client: Any, portrait: bytes) -> None:
    rules = operations(("/o.jpg", "imageMogr2/strip"))
    client.put_object(Bucket=standin.bucket, Key="a.txt", Body=b"just text")
    client.put_object(Bucket=standin.bucket, Key="cut.jpg", Body=portrait[:-1000])
    for key in ("a.txt", "cut.jpg"):
        call = client.ci_image_process
        refused(400, "InvalidImageFormat", call, Bucket=standin.bucket, Key=key, PicOperations=rules)
    refused(404, "NoSuchKey", client.ci_image_process, Bucket=standin.bucket, Key="none", PicOperations=rules)
    assert standin.keys() == ["a.txt", "cut.jpg", KEY]


def test_an_upload_stays_stored_when_its_rules_fail(standin: Any) -> None:
    rules = operations(("/o.jpg", "imageMogr2/strip"))
    call = standin.client().ci_put_object
    refused(400, "InvalidImageFormat", call, Bucket=standin.bucket, Body=b"text", Key="a.txt", PicOperations=rules)
    assert standin.keys() == ["a.txt"]


def test_the_audit_of_one_picture(standin: Any, client: Any, portrait: bytes) -> None:
    ask = client.get_object_sensitive_content_recognition
    clean = ask(Bucket=standin.bucket, Key=KEY, DetectType=3, DataId="t1")
    assert (clean["Result"], clean["Label"], clean["Score"], clean["DataId"]) == ("0", "Normal", "0", "t1")
    client.put_object(Bucket=standin.bucket, Key="violation.jpg", Body=portrait)
    found = ask(Bucket=standin.bucket, Key="violation.jpg", DetectType=3)
    assert (found["Result"], found["Label"], found["Score"]) == ("1", "Porn", "95")
    assert found["PornInfo"]["HitFlag"] == "1"
    refused(404, "NoSuchKey", ask, Bucket=standin.bucket, Key="none", DetectType=3)


def test_a_batch_is_answered_in_order_and_an_element_fails_alone(standin: Any, client: Any, portrait: bytes) -> None:
    client.put_object(Bucket=standin.bucket, Key="suspect.jpg", Body=portrait)
    client.put_object(Bucket=standin.bucket, Key="a.txt", Body=b"text")
    keys = [KEY, "none.jpg", "suspect.jpg", "a.txt"]
    asked = [{"Object": key, "DataId": f"d{number}"} for number, key in enumerate(keys)]
    answer = client.ci_auditing_image_batch(Bucket=standin.bucket, Input=asked, BizType="biz")
    found = answer["JobsDetail"]
    assert [item["Object"] for item in found] == keys
    assert [item["DataId"] for item in found] == ["d0", "d1", "d2", "d3"]
    assert [item.get("Result") for item in found] == ["0", None, "2", None]
    assert [item.get("Code") for item in found] == [None, "NoSuchKey", None, "InvalidImageFormat"]
    assert answer["RequestId"]


def test_verdicts_can_be_ordered_while_it_runs(standin: Any, client: Any) -> None:
    etag = client.head_object(Bucket=standin.bucket, Key=KEY)["ETag"].strip('"')
    standin.control("PUT", "audit", json={"violating_etags": [etag], "label": "Ads"})
    answer = client.ci_auditing_image_batch(Bucket=standin.bucket, Input=[{"Object": KEY}])
    assert (answer["JobsDetail"][0]["Result"], answer["JobsDetail"][0]["Label"]) == ("1", "Ads")


def test_a_large_picture_needs_large_image_detect(standin: Any, client: Any) -> None:
    noise = io.BytesIO()
    Image.effect_noise((1400, 1400), 120).convert("RGB").save(noise, "bmp")
    client.put_object(Bucket=standin.bucket, Key="large.bmp", Body=noise.getvalue())
    ask = client.ci_auditing_image_batch
    found = ask(Bucket=standin.bucket, Input=[{"Object": "large.bmp"}])["JobsDetail"][0]
    assert (found["Code"], "Result" in found) == ("ImageTooLarge", False)
    found = ask(Bucket=standin.bucket, Input=[{"Object": "large.bmp", "LargeImageDetect": 1}])["JobsDetail"][0]
    assert found["Result"] == "0"


def test_batches_it_cannot_take_are_refused_as_a_whole(standin: Any, client: Any) -> None:
    ask = client.ci_auditing_image_batch
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Input=[{"Object": KEY}] * 101)
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Input=[{"Url": "http://x/y.png"}])
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Input=[{"Object": KEY}], Callback="http://x")


def test_a_text_is_audited_at_once(standin: Any, client: Any) -> None:
    ask = client.ci_auditing_text_submit
    found = [
        ask(Bucket=standin.bucket, Content=text.encode(), DataId="t1", BizType="biz")["JobsDetail"]
        for text in ("白色连衣裙", "VIOLATION", "suspect")
    ]
    assert [one["Result"] for one in found] == ["0", "1", "2"]
    assert {(one["State"], one["DataId"]) for one in found} == {("Success", "t1")}
    assert found[1]["PornInfo"]["HitFlag"] == "1"


def test_texts_it_cannot_take_are_refused(standin: Any, client: Any) -> None:
    ask = client.ci_auditing_text_submit
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Content=b"x" * 10_001)
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Content=b"\xff\xfe")
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket)
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Key="a.txt")
    refused(400, "InvalidArgument", ask, Bucket=standin.bucket, Content=b"x", Callback="http://x")
