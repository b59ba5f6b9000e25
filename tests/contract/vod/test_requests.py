"""Requests of the client: one picture, kept for seven days; a request that its model does not take is never sent."""

from __future__ import annotations

from typing import Any

import pytest

from messages.codes import Code
from services.errors import VendorRefused
from services.vendors.port import JobRequest
from services.vendors.vod.models import MODELS, Action, rules_of
from services.vendors.vod.request_body import paid_request_of
from tests.contract.runninghub.calls import Bytes
from tests.contract.vod.calls import IDENTITY, create, failed, opened, order

PERSON, SHIRT, SHOES = (
    f"https://photos-1250000000.cos.ap-guangzhou.myqcloud.com/{name}.jpg?q-sign=1" for name in "abc"
)


def wanted(model: str, *urls: str, **values: str) -> JobRequest:
    inputs = {f"picture{number}": url for number, url in enumerate(urls, 1)}
    return JobRequest("fitting", inputs, {"model": model, **values}, identity=IDENTITY)


def test_a_try_on() -> None:
    made = paid_request_of(
        wanted("wand-TRYON-1.0-pro", PERSON, SHIRT, SHOES, size="2k", prompt=" 塞进裤子里 "), model=""
    )
    assert made.action is Action.SCENE
    assert made.body == {
        "SceneInfo": {
            "Type": "ai_try_on",
            "AiTryOnConfig": {
                "Model": "WAND-tryon-1.0-pro",
                "ClothesFileInfos": [{"Type": "Url", "Url": SHIRT}, {"Type": "Url", "Url": SHOES}],
                "Prompt": "塞进裤子里",
            },
        },
        "FileInfos": [{"Type": "Url", "Url": PERSON}],
        "OutputConfig": {"StorageMode": "Temporary", "Resolution": "2K"},
        "SessionId": IDENTITY,
    }


def test_a_picture() -> None:
    made = paid_request_of(
        wanted("Kling-3.0-Omni", PERSON, prompt="海边", size="2K", ratio="3:4", format="jpeg"), model=""
    )
    assert made.action is Action.IMAGE
    assert made.body == {
        "ModelName": "Kling",
        "ModelVersion": "3.0-Omni",
        "Prompt": "海边",
        "EnhancePrompt": "Disabled",
        "FileInfos": [{"Type": "Url", "Url": PERSON}],
        "OutputConfig": {
            "StorageMode": "Temporary",
            "Resolution": "2k",
            "AspectRatio": "3:4",
            "OutputFormat": "jpeg",
            "OutputImageCount": 1,
        },
        "SessionId": IDENTITY,
    }


BAD = {
    "no such model": wanted("GG-9", prompt="x"),
    "no prompt": wanted("GG-3.1", PERSON),
    "too many pictures": wanted("Kling-3.0", PERSON, SHIRT, prompt="x"),
    "no clothes": wanted("WAND-tryon-1.0-lite", PERSON),
    "too many clothes": wanted("WAND-tryon-1.0-lite", *[PERSON] * 6),
    "a size of another model": wanted("Kling-2.1", prompt="x", size="4K"),
    "a size where there is none": wanted("Hunyuan-3.0", prompt="x", size="1K"),
    "strange proportions": wanted("GG-3.0", prompt="x", ratio="1:8"),
    "proportions of a try-on": wanted("WAND-tryon-1.0-lite", PERSON, SHIRT, ratio="1:1"),
    "a strange format": wanted("GG-3.0", prompt="x", format="webp"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_a_model_does_not_take_is_never_sent(name: str, client_for: Any, standin: Any) -> None:
    async with opened(client_for()) as client:
        refused = await failed(client, VendorRefused, BAD[name])
    assert refused.code is Code.BAD_PARAMETERS
    assert "q-sign" not in str(refused)
    assert standin.core.stats()["creates"] == 0


@pytest.mark.parametrize(
    "request_",
    [
        wanted("GG-3.1", "data:image/png;base64,AAAA", prompt="x"),
        wanted("GG-3.1", prompt="x", seed="1"),
        JobRequest("fitting", {}, {"model": "GG-3.1", "prompt": "x"}, identity="x" * 51),
    ],
    ids=["no URL", "a value without a field", "an identity that is too long"],
)
def test_what_cannot_be_said(request_: JobRequest) -> None:
    with pytest.raises(VendorRefused):
        paid_request_of(request_, model="")


@pytest.mark.parametrize("code", MODELS)
async def test_every_model_is_taken_by_the_stand_in_at_its_bounds(
    code: str, client_for: Any, standin: Any, store: str
) -> None:
    rules = rules_of(code)
    assert rules is not None
    values = {"model": code, "prompt": "海边的模特"}
    if rules.sizes:
        values["size"] = rules.sizes[-1]
    if rules.ratios:
        values["ratio"] = rules.ratios[-1]
    async with opened(client_for()) as client:
        assert await create(client, order(store, *["person"] * rules.most_inputs, **values))
    (job,) = standin.core.stats()["jobs"]
    assert (job["references"], job["failure"], job["session"]) == (rules.most_inputs, "", IDENTITY)


async def test_the_model_of_the_deployment_draws_where_the_task_names_none(
    client_for: Any, standin: Any, store: str
) -> None:
    async with opened(client_for(model="WAND-tryon-1.0-lite")) as client:
        await create(client, order(store, "person", "shirt"))
    assert standin.core.stats()["jobs"][0]["model"] == "WAND-tryon-1.0-lite"


async def test_inputs_go_by_url_alone(client_for: Any) -> None:
    async with opened(client_for()) as client:
        assert client.upload_limit == 0
        with pytest.raises(VendorRefused):
            await client.upload(Bytes(b"x"), filename="input.jpg", content_type="image/jpeg")


async def test_it_shows_no_webhook(client_for: Any) -> None:
    async with opened(client_for()) as client:
        assert await client.made_for("1-AigcImageTask-0t") == ""
