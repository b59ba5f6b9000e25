"""The stand-in itself: as strict as the vendor, and its pictures come from the inputs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image, ImageStat

from sandbox.vod.model import IMAGE, SCENE, Fault, Job, Refusal, Wanted
from sandbox.vod.pictures import Pictures
from sandbox.vod.reading import wanted_of
from services.vendors.tc3 import signed_headers
from tests.contract.vod.conftest import APPLICATION, ROLE

FILE = {"Type": "Url", "Url": "https://a.example/b.jpg"}
PLAIN = {"ModelName": "GG", "ModelVersion": "3.1", "Prompt": "海边"}
DRESS = {
    "SceneInfo": {"Type": "ai_try_on", "AiTryOnConfig": {"Model": "WAND-tryon-1.0-pro", "ClothesFileInfos": [FILE]}},
    "FileInfos": [FILE],
}

STRICT: dict[str, tuple[dict[str, Any], str]] = {
    "a field that it does not have": ({**PLAIN, "Strength": 1}, "UnknownParameter"),
    "a model of another maker": ({**PLAIN, "ModelName": "OG"}, "InvalidParameterValue"),
    "a size that the model does not have": ({**PLAIN, "OutputConfig": {"Resolution": "8K"}}, "InvalidParameterValue"),
    "several pictures": ({**PLAIN, "OutputConfig": {"OutputImageCount": 2}}, "InvalidParameterValue"),
    "fifteen pictures": ({**PLAIN, "FileInfos": [FILE] * 15}, "InvalidParameterValue"),
    "no prompt": ({**PLAIN, "Prompt": ""}, "MissingParameter"),
    "a forbidden prompt": ({**PLAIN, "Prompt": "违禁"}, "InvalidParameter.VoilationContent"),
    "a long SessionId": ({**PLAIN, "SessionId": "x" * 51}, "InvalidParameterValue.SessionIdTooLong"),
    "two persons": ({**DRESS, "FileInfos": [FILE, FILE]}, "InvalidParameterValue"),
    "another scene": ({**DRESS, "SceneInfo": {"Type": "change_clothes"}}, "InvalidParameterValue"),
}


@pytest.mark.parametrize("name", STRICT)
def test_it_is_as_strict_as_the_vendor(name: str) -> None:
    body, code = STRICT[name]
    with pytest.raises(Refusal, match=code.replace(".", r"\.")):
        wanted_of(body, SCENE if "SceneInfo" in body else IMAGE)


@pytest.mark.parametrize(
    ("action", "version", "code"),
    [("CreateAigcVideo", "2018-07-17", "InvalidAction"), ("DescribeTasks", "2024-07-18", "NoSuchVersion")],
)
def test_calls_that_it_does_not_have(action: str, version: str, code: str, standin: Any) -> None:
    body = msgspec.json.encode({"SubAppId": APPLICATION})
    headers = signed_headers(
        ROLE,
        host=standin.url.removeprefix("http://"),
        service="vod",
        action=action,
        version=version,
        body=body,
        now=standin.clock.now,
    )
    with httpx.Client(trust_env=False) as client:
        answer = client.post(standin.url, content=body, headers=headers).json()
        assert answer["Response"]["Error"]["Code"] == code
        headers["Authorization"] = "Bearer x"
        answer = client.post(standin.url, content=body, headers=headers).json()
        assert answer["Response"]["Error"]["Code"] == "AuthFailure.InvalidAuthorization"


def test_a_body_that_was_changed_on_the_way_is_refused(standin: Any) -> None:
    body = msgspec.json.encode({"SubAppId": APPLICATION})
    headers = signed_headers(
        ROLE,
        host=standin.url.removeprefix("http://"),
        service="vod",
        action="DescribeTasks",
        version="2018-07-17",
        body=body,
        now=standin.clock.now,
    )
    with httpx.Client(trust_env=False) as client:
        answer = client.post(standin.url, content=body + b" ", headers=headers).json()
    assert answer["Response"]["Error"]["Code"] == "AuthFailure.SignatureFailure"


def test_faults_are_armed_over_http(standin: Any) -> None:
    with httpx.Client(trust_env=False) as client:
        for good in ({"on": "create", "kind": "cut"}, {"on": "list", "kind": "lags"}):
            assert client.post(f"{standin.url}/_sandbox/faults", json=good).status_code == 204
        for bad in ({"on": "list", "kind": "more"}, {"on": "create"}, {"on": "query", "kind": "cut", "code": "x"}):
            assert client.post(f"{standin.url}/_sandbox/faults", json=bad).status_code == 422
        assert client.delete(f"{standin.url}/_sandbox/faults").status_code == 204
    assert standin.core.faults.take("create") is None
    assert Fault(on="create", kind="cut").replaces


def _job(kind: str, references: tuple[str, ...], **wanted: Any) -> Job:
    said = {"model": "M", "prompt": "p", "size": "1K", "ratio": "", "format": "png", "count": 1} | wanted
    return Job(
        id="1",
        number=1,
        account="a",
        wanted=Wanted(type=kind, references=(), session="", context="", **said),
        created=0.0,
        duration=1.0,
        references=references,
    )


def _coloured(folder: Path, *colours: str) -> tuple[str, ...]:
    pictures = Pictures(folder, 7)
    paths: list[str] = []
    for colour in colours:
        out = io.BytesIO()
        Image.new("RGB", (300, 400), colour).save(out, "PNG")
        paths.append(pictures.keep(out.getvalue()))
    return tuple(paths)


def _mean(picture: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, ...]:
    return tuple(round(value) for value in ImageStat.Stat(picture.crop(box)).mean)


def test_a_try_on_shows_the_person_and_every_garment(tmp_path: Path) -> None:
    paths = _coloured(tmp_path, "white", "red", "blue")
    with Image.open(io.BytesIO(Pictures(tmp_path, 7).draw(_job(SCENE, paths), 0))) as picture:
        assert picture.size == (768, 1024)
        shown = picture.convert("RGB")
    assert _mean(shown, (100, 100, 400, 300)) == (255, 255, 255)
    red, blue = _mean(shown, (80, 600, 240, 800)), _mean(shown, (350, 600, 500, 800))
    assert red[0] > 240 > red[2]
    assert blue[2] > 240 > blue[0]
    assert _mean(shown, (600, 60, 700, 200)) == (255, 0, 0)
    assert _mean(shown, (600, 290, 700, 420)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("wanted", "size"),
    [({"ratio": "16:9", "size": "2K"}, (2048, 1152)), ({"size": ""}, (1024, 1024)), ({"format": "jpeg"}, (1024, 1024))],
)
def test_a_picture_has_the_size_and_format_that_were_asked_for(
    wanted: dict[str, str], size: tuple[int, int], tmp_path: Path
) -> None:
    paths = _coloured(tmp_path, "teal") if wanted.get("size") else ()
    with Image.open(io.BytesIO(Pictures(tmp_path, 7).draw(_job(IMAGE, paths, **wanted), 0))) as picture:
        assert (picture.size, picture.format) == (size, wanted.get("format", "png").upper())
