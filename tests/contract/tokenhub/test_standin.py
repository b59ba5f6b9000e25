"""The stand-in itself: it accepts the same requests as the vendor, and no others."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

USER = {"role": "user", "content": "x"}
GOOD = {"model": "hy4", "messages": [USER]}


async def test_a_plain_question_is_answered(post: Any) -> None:
    status, answer = await post(GOOD)
    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "400001"),
        ({**GOOD, "response_format": {"type": "json_object"}}, "400001"),
        ({**GOOD, "max_token": 5}, "400001"),
        ({**GOOD, "stream": True}, "400001"),
        ({**GOOD, "max_tokens": 0}, "400001"),
        ({**GOOD, "messages": []}, "400001"),
        ({**GOOD, "messages": [{**USER, "name": "me"}]}, "400001"),
        (
            {**GOOD, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://a"}]}]},
            "400001",
        ),
        ({**GOOD, "messages": [{"role": "system", "content": "x"}]}, "400002"),
        ({**GOOD, "messages": [USER, USER]}, "400002"),
        ({**GOOD, "messages": [USER, {"role": "assistant", "content": "y"}]}, "400002"),
        ({**GOOD, "model": "gpt"}, "400004"),
    ],
)
async def test_another_form_is_refused(body: Any, code: str, post: Any, standin: Any) -> None:
    status, answer = await post(body)
    assert status == 400
    assert answer["error"]["code"] == code
    assert standin.asked == []


async def test_a_wrong_key_is_refused(post: Any) -> None:
    status, answer = await post(GOOD, key="sk-wrong")
    assert (status, answer["error"]["type"]) == (401, "authentication_error")


async def test_faults_are_armed_disarmed_and_checked_over_http(standin: Any, post: Any) -> None:
    base = standin.url.removesuffix("/v1")
    async with httpx.AsyncClient(trust_env=False, base_url=base) as http:
        for wrong in (
            {"kind": "nonsense"},
            {"kind": "error"},
            {"kind": "hang", "code": "400001"},
            {"kind": "error", "code": "1"},
        ):
            assert (await http.post("/_sandbox/faults", json=wrong)).status_code == 422
        await http.post("/_sandbox/faults", json={"kind": "status", "status": 500, "times": 2})
        assert (await http.post("/v1/chat/completions", json=GOOD)).status_code == 401, "the key is looked at first"
        with pytest.raises(ValueError):  # noqa: PT011 - a page is no JSON
            await post(GOOD)
        await http.delete("/_sandbox/faults")
        assert (await post(GOOD))[0] == 200
        assert (await http.get("/_sandbox/stats")).json()["answered"] == 1


async def test_a_fault_with_a_duration(standin: Any, post: Any) -> None:
    now = [100.0]
    standin.core.clock = lambda: now[0]
    standin.arm(code="502001", seconds=10)
    assert [(await post(GOOD))[0] for _ in range(3)] == [502, 502, 502]
    now[0] += 11
    assert (await post(GOOD))[0] == 200
