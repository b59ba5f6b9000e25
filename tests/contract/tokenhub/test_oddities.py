"""The oddities of docs/reference/tokenhub.md that the stand-in has, and the client's handling of each: a test each."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest

from messages.codes import Code
from messages.errors import Permanent
from sandbox.tokenhub.model import ERRORS
from services.errors import AnswerUnfit, VendorDown, VendorFull, VendorRefused
from services.vendors.chat import ChatRequest
from services.vendors.tokenhub.client import TokenHub
from services.vendors.tokenhub.codes import CODES, OnAsk
from telemetry.events import Event
from telemetry.secrets import Secret
from tests.contract.tokenhub.conftest import Words

CLASSES = {
    OnAsk.FULL: VendorFull,
    OnAsk.DOWN: VendorDown,
    OnAsk.ACCOUNT: VendorDown,
    OnAsk.REFUSED: VendorRefused,
    OnAsk.CONTENT: VendorRefused,
}


async def test_an_answer_describes_the_pictures_and_counts_their_tokens(standin: Any) -> None:
    answer = await standin.ask("夏日海滩", images=("red.png", "blue.png"))
    prompt = answer.value.prompt
    assert "图1主色为红色" in prompt
    assert "30×60" in prompt
    assert "图2主色为蓝色" in prompt
    assert "夏日海滩" in prompt
    assert answer.usage.tokens_in > 2000
    assert answer.usage.tokens_out > 0
    assert answer.model == "hy4"
    (asked,) = standin.asked
    assert [row[1:] for row in asked["pictures"]] == [[30, 60], [60, 30]]
    assert (await standin.ask("夏日海滩", images=("red.png", "blue.png"))).value == answer.value


async def test_a_question_without_pictures(standin: Any) -> None:
    assert "无参考图" in (await standin.ask("一只猫")).value.prompt


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_each_code(code: str, standin: Any, caplog: pytest.LogCaptureFixture) -> None:
    standin.arm(code=code, retry_after=7)
    meaning = CODES.get(code, OnAsk.DOWN)
    with pytest.raises(CLASSES[meaning], match=code) as caught:
        await standin.ask()
    assert (caught.value.code is Code.CONTENT_VIOLATION) == (meaning is OnAsk.CONTENT)
    assert caught.value.retry_after == (7.0 if meaning in {OnAsk.FULL, OnAsk.DOWN, OnAsk.ACCOUNT} else None)
    assert standin.asked == []
    alarms = [record for record in caplog.records if record.msg == Event.VENDOR_ACCOUNT]
    assert len(alarms) == (meaning is OnAsk.ACCOUNT)


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_each_code_inside_a_200(code: str, standin: Any) -> None:
    standin.arm("inside", code=code)
    with pytest.raises(CLASSES[CODES.get(code, OnAsk.DOWN)], match=code):
        await standin.ask()


async def test_429_without_retry_after(standin: Any) -> None:
    standin.arm(code="429001")
    with pytest.raises(VendorFull) as caught:
        await standin.ask()
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, VendorDown),
        (402, VendorDown),
        (403, VendorDown),
        (404, VendorRefused),
        (408, VendorDown),
        (413, VendorRefused),
        (429, VendorFull),
        (451, VendorRefused),
        (500, VendorDown),
        (502, VendorDown),
        (503, VendorDown),
        (504, VendorDown),
    ],
)
async def test_a_status_with_a_page(status: int, error: type[Exception], standin: Any) -> None:
    standin.arm("status", status=status)
    with pytest.raises(error, match=str(status)):
        await standin.ask()


async def test_a_200_that_is_no_json(standin: Any) -> None:
    standin.arm("not_json")
    with pytest.raises(VendorDown):
        await standin.ask()


async def test_a_200_without_a_choice(standin: Any) -> None:
    standin.arm("no_choices")
    with pytest.raises(VendorDown, match="no choice"):
        await standin.ask()


async def test_an_answer_that_is_cut(standin: Any) -> None:
    standin.arm("cut")
    with pytest.raises(VendorDown):
        await standin.ask()


async def test_no_answer_within_the_time(standin: Any) -> None:
    standin.arm("hang")
    standin.skip_limits()
    with pytest.raises(VendorDown):
        await standin.ask()


@pytest.mark.parametrize("kind", ["fence", "chatty", "parts"])
async def test_json_in_a_fence_with_words_around_or_in_parts_is_read_at_once(kind: str, standin: Any) -> None:
    standin.arm(kind)
    assert "一只猫" in (await standin.ask("一只猫")).value.prompt
    assert len(standin.asked) == 1


@pytest.mark.parametrize("kind", ["empty", "prose", "wrong", "long"])
async def test_an_answer_that_does_not_fit_is_asked_for_once_more(kind: str, standin: Any) -> None:
    standin.arm(kind)
    answer = await standin.ask()
    assert answer.value.prompt
    assert [asked["turns"] for asked in standin.asked] == [1, 1 if kind == "empty" else 3]
    assert answer.usage.tokens_in > 1.5 * len(standin.asked[0]["system"]) / 2, "both questions are counted"


@pytest.mark.parametrize("kind", ["empty", "prose", "wrong", "long"])
async def test_a_second_one_that_does_not_fit_is_the_last(kind: str, standin: Any) -> None:
    standin.arm(kind, times=5)
    with pytest.raises(AnswerUnfit):
        await standin.ask()
    assert len(standin.asked) == 2


@pytest.mark.parametrize("kind", ["filtered", "sensitive", "refusal"])
async def test_a_refusal_of_the_contents_is_not_asked_again(kind: str, standin: Any) -> None:
    standin.arm(kind)
    with pytest.raises(VendorRefused) as caught:
        await standin.ask()
    assert caught.value.code is Code.CONTENT_VIOLATION
    assert len(standin.asked) == 1


@pytest.mark.parametrize(("name", "why"), [("gone.png", "fetched"), ("none.png", "read"), ("large.png", "10 MB")])
async def test_a_picture_that_the_vendor_cannot_use(name: str, why: str, standin: Any) -> None:
    with pytest.raises(VendorRefused, match=why):
        await standin.ask(images=(name,))


async def test_more_than_20_pictures_are_refused_before_anything_is_sent(standin: Any) -> None:
    with pytest.raises(VendorRefused, match="21 pictures"):
        await standin.ask(images=("red.png",) * 21)
    assert standin.core.refused == 0


async def test_a_wrong_key(standin: Any) -> None:
    with pytest.raises(VendorDown, match="401002"):
        await standin.ask(api_key=Secret("sk-another-key-that-is-none"))


async def test_a_model_that_the_key_does_not_have(standin: Any) -> None:
    with pytest.raises(VendorRefused, match="400004"):
        await standin.ask(model="hy99")


async def test_the_check_knows_key_and_model(standin: Any) -> None:
    client = standin.client()
    await client.check()
    await client.close()
    for more, error in (
        ({"model": "hy99"}, VendorRefused),
        ({"api_key": Secret("sk-wrong-key-of-a-test")}, VendorDown),
    ):
        client = standin.client(**more)
        with pytest.raises(error):
            await client.check()
        await client.close()
    assert standin.asked == []


async def test_the_check_passes_where_no_models_are_listed(standin: Any) -> None:
    client = standin.client(base_url=standin.url.replace("/v1", "/other"))
    await client.check()
    await client.close()
    assert standin.asked == []


@pytest.mark.parametrize(
    "more",
    [
        {"api_key": Secret("")},
        {"api_key": Secret("with a blank")},
        {"base_url": "ftp://a.example"},
        {"base_url": "https://a.example?x=1"},
        {"model": ""},
    ],
)
async def test_settings_that_no_client_can_have(more: dict[str, Any], standin: Any) -> None:
    with pytest.raises(Permanent):
        standin.client(**more)


async def test_neither_key_nor_urls_are_in_an_error(standin: Any) -> None:
    secret = "Zq8-" + "k3" * 20
    for kind, code in (("error", "400001"), ("inside", "403001"), ("status", ""), ("cut", ""), ("not_json", "")):
        standin.arm(kind, code=code)
        with pytest.raises(Exception, match=r"chat|completions") as caught:
            await standin.ask("?", images=(f"red.png?q-signature={secret}",))
        for error in (caught.value, caught.value.__cause__):
            assert secret not in repr(error)
            assert "sk-0f1e" not in repr(error)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(b"{}" * 10)), VendorDown),
        (httpx.Response(200, content=b" " * (3 << 20)), VendorDown),
        (httpx.Response(302, headers={"Location": "https://evil.example/v1/chat/completions"}), VendorDown),
        (httpx.Response(204), VendorDown),
        (httpx.Response(200, json=[1, 2]), VendorDown),
        (httpx.Response(200, json={"choices": [None]}), VendorDown),
        (httpx.Response(200, json={"choices": [{"message": {"content": {"a": 1}}}]}), AnswerUnfit),
        (httpx.Response(200, content=b'{"choices":' + b"[" * 100_000), VendorDown),
    ],
)
async def test_an_answer_that_no_vendor_would_give(answer: httpx.Response, error: type[Exception]) -> None:
    def say(_: httpx.Request) -> httpx.Response:
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))

    settings: Any = {"base_url": "https://chat.example/v1", "api_key": Secret("sk-of-a-test-that-asks"), "model": "hy4"}
    client = TokenHub(**settings, transport=lambda: httpx.MockTransport(say))
    with pytest.raises(error):
        await client.ask(ChatRequest("s", "t", Words), timeout=20.0)
    await client.close()
