"""The stand-in itself: how strict it is, its pictures and its faults. Its oddities: `test_oddities.py`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

MODEL = "doubao-seedream-4-0-250828"
PATH = "/api/v3/images/generations"


class Asking:
    """Speaks HTTP without the product's client."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(self, **body: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.http.post(PATH, json={"model": MODEL, "prompt": "x", "size": "1K", **body})
        return answer.status_code, answer.json()

    async def picture(self, **body: Any) -> bytes:
        status, answer = await self(**body)
        assert status == 200, answer
        return (await self.http.get(answer["data"][0]["url"])).content


@pytest.fixture
def asking(standin: Any, key: str) -> Callable[[], AbstractAsyncContextManager[Asking]]:
    @asynccontextmanager
    async def ask() -> AsyncIterator[Asking]:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=standin.url, headers=headers, trust_env=False, timeout=20.0) as http:
            yield Asking(http)

    return ask


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic x"])
async def test_without_its_key_there_is_nothing(header: str, standin: Any) -> None:
    async with httpx.AsyncClient(base_url=standin.url, trust_env=False) as http:
        answer = await http.post(PATH, json={}, headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AuthenticationError")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"n": 2}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"seed": 1}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"output_format": "png"}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"stream": True}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"sequential_image_generation": "auto"}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"sequential_image_generation": "never"}, 400, "InvalidParameter"),
        ({"watermark": "false"}, 400, "InvalidParameter"),
        ({"response_format": "file"}, 400, "InvalidParameter"),
        ({"prompt": ""}, 400, "MissingParameter"),
        ({"model": ""}, 400, "MissingParameter"),
        ({"model": "doubao-seedream"}, 404, "InvalidEndpointOrModel.NotFound"),
        ({"model": "doubao-seedream-3-0-t2i-250415"}, 404, "ModelNotOpen"),
        ({"model": "doubao-seedream-4-5-251128"}, 400, "InvalidParameter"),
        ({"model": "doubao-seedream-5-0-pro-260628", "stream": False}, 400, "InvalidParameter.UnsupportedParameter"),
        ({"size": "900x900"}, 400, "InvalidParameter"),
        ({"size": "8000x400"}, 400, "InvalidParameter"),
        ({"image": [""]}, 400, "InvalidImageURL.EmptyURL"),
        ({"image": "ftp://x"}, 400, "InvalidImageURL.InvalidFormat"),
        ({"image": "data:image/PNG;base64,AAAA"}, 400, "InvalidImageURL.InvalidFormat"),
        ({"image": "data:image/png;base64,A"}, 400, "InvalidImageURL.InvalidFormat"),
        ({"image": "http://127.0.0.1:9/x.jpg"}, 400, "InvalidImageURL"),
        ({"image": ["http://127.0.0.1:9/x.jpg"] * 11}, 400, "InvalidParameter"),
    ],
)
async def test_what_the_vendor_does_not_take(
    body: dict[str, Any], status: int, code: str, asking: Any, standin: Any
) -> None:
    async with asking() as ask:
        answered, said = await ask(**body)
        assert (answered, said["error"]["code"]) == (status, code)
        assert said["error"].keys() == {"code", "message", "param", "type"}
        assert standin.charged == 0


async def test_a_body_that_is_no_object(standin: Any, asking: Any) -> None:
    async with asking() as ask:
        for body in (b"", b"[]", b"\xff"):
            assert (await ask.http.post(PATH, content=body)).json()["error"]["code"] == "InvalidParameter"


async def test_the_same_words_give_the_same_marks_and_others_other_ones(asking: Any, photo: bytes) -> None:
    async with asking() as ask:
        image = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
        url = (await ask(image=image))[1]["data"][0]["url"]
        first, again = [(await ask.http.get(url)).content for _ in range(2)]
        assert first == again
        assert len({first, await ask.picture(image=image), await ask.picture(image=image, prompt="y")}) == 3


async def test_the_watermark_is_seen_and_on_by_default(standin: Any, asking: Any) -> None:
    async with asking() as ask:
        await ask()
        await ask(watermark=False)
        assert [paid["watermark"] for paid in standin.core.stats()["pictures"]] == [True, False]


async def test_what_is_in_an_answer(standin: Any, asking: Any) -> None:
    async with asking() as ask:
        _, answer = await ask(size="1760x2368")
        assert answer["data"][0]["size"] == "1760x2368"
        assert answer["usage"] == {"generated_images": 1, "output_tokens": 16280, "total_tokens": 16280}
        assert "X-Tos-Expires=86400" in answer["data"][0]["url"]
        assert "b64_json" in (await ask(response_format="b64_json"))[1]["data"][0]
        assert standin.charged == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"on": "create", "kind": "answer"},
        {"on": "create", "kind": "cut", "code": "X"},
        {"on": "create", "kind": "missing"},
        {"on": "key", "kind": "empty"},
        {"on": "query"},
        {"on": "create", "kind": "cut", "strange": 1},
    ],
)
async def test_a_fault_that_is_none(fault: dict[str, Any], asking: Any) -> None:
    async with asking() as ask:
        assert (await ask.http.post("/_sandbox/faults", json=fault)).status_code == 422


async def test_faults_of_a_time_and_the_end_of_all(standin: Any, asking: Any) -> None:
    async with asking() as ask:
        fault = {"on": "create", "code": "ServerOverloaded", "seconds": 30}
        assert (await ask.http.post("/_sandbox/faults", json=fault)).status_code == 204
        assert [(await ask())[0] for _ in range(2)] == [429, 429]
        standin.clock.now += 31
        assert (await ask())[0] == 200
        await ask.http.post("/_sandbox/faults", json={**fault, "seconds": 0, "times": 9})
        assert (await ask.http.delete("/_sandbox/faults")).status_code == 204
        assert (await ask())[0] == 200
        assert (await ask.http.get("/_sandbox/stats")).json()["charged"] == 2


@pytest.mark.parametrize(
    ("kind", "status"), [("missing", 404), ("expired", 403), ("error", 500), ("html", 200), ("cut", 0)]
)
async def test_faults_of_files(kind: str, status: int, standin: Any, asking: Any) -> None:
    async with asking() as ask:
        url = (await ask())[1]["data"][0]["url"]
        standin.arm("file", kind)
        try:
            answer = await ask.http.get(url)
            assert answer.status_code == status
            assert not answer.content.startswith(b"\xff\xd8")
        except httpx.RemoteProtocolError:
            assert kind == "cut"
        assert (await ask.http.get(url)).content.startswith(b"\xff\xd8")
        assert (await ask.http.get(f"{standin.url}/{MODEL}/0.jpeg")).status_code == 404
