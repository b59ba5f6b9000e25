"""The samples of docs/backend.md, in Python and JavaScript, on what the product really sends."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpcore  # noqa: F401 - httpx would import it late, inside a running loop
import httpx
import msgspec
import pytest

from services.backend import Backend, Callback, Form
from telemetry.secrets import Secret
from tests.docs.pages import blocks_of

SECRET: Final = "the-secret-of-callbacks-and-questions-0123"
CALLBACKS: Final = (
    Callback(task="t-1", status="success", outputs=("output/u/t-1/frame_01.jpg",), vendor_task_id="v"),
    Callback(task="t-1", step=2, run=3, status="failed", message="生成超时", code="timeout"),
    Callback(task="t-1", status="success", text="白色连衣裙，自然光", degraded=("prompt_template",)),
)


class Call(msgspec.Struct, frozen=True):
    """A request as a backend gets it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str


def sent(prefix: str = "") -> list[Call]:
    """Every sort of call that the product makes."""
    calls: list[Call] = []

    def answer(request: httpx.Request) -> httpx.Response:
        target = request.url.raw_path.decode().removeprefix(prefix)
        calls.append(Call(request.method, target, dict(request.headers), request.content.decode()))
        return httpx.Response(200, json={"rows": [], "cursor": None, "status": "pending"})

    async def make(form: Form) -> None:
        backend = Backend(
            base_url=f"https://backend.example{prefix}",
            secret=Secret(SECRET),
            clock=time.time,
            form=form,
            transport=httpx.MockTransport(answer),
        )
        for callback in CALLBACKS:
            await backend.deliver(callback)
        await backend.unfinished(600, "a b/ü&=")
        await backend.reopen("t-1", 0, 1)
        await backend.close()

    for form in ("steps", "task_update"):
        asyncio.run(make(form))
    return calls


def in_python(calls: list[Call]) -> list[bool]:
    (sample,) = [block.text for block in blocks_of("docs/backend.md") if block.language == "python"]
    names: dict[str, Any] = {}
    exec(sample, names)  # noqa: S102 - that is what the page is for
    check: Callable[..., bool] = names["is_from_workers"]
    return [check(SECRET, one.method, one.target, dict(one.headers), one.body.encode()) for one in calls]


def in_javascript(calls: list[Call]) -> list[bool]:
    (sample,) = [block.text for block in blocks_of("docs/backend.md") if block.language == "js"]
    loop = """
    const { secret, calls } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    const seen = calls.map((one) => isFromWorkers(secret, one.method, one.target, one.headers, Buffer.from(one.body)));
    console.log(JSON.stringify(seen));
    """
    given = msgspec.json.encode({"secret": SECRET, "calls": calls})
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run([node, "-e", sample + loop], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen: list[bool] = json.loads(done.stdout)
    return seen


NODE: Final = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js here")
SAMPLES: Final = [pytest.param(in_python, id="python"), pytest.param(in_javascript, id="javascript", marks=NODE)]


@pytest.mark.parametrize("checked", SAMPLES)
@pytest.mark.parametrize("prefix", ["", "/gateway/v1"])
def test_a_sample_takes_what_the_product_sends(checked: Callable[[list[Call]], list[bool]], prefix: str) -> None:
    calls = sent(prefix)
    assert len(calls) == 10
    assert checked(calls) == [True] * 10


@pytest.mark.parametrize("checked", SAMPLES)
def test_a_sample_takes_nothing_that_was_changed_or_recombined(checked: Callable[[list[Call]], list[bool]]) -> None:
    first, second = sent()[:2]

    def with_header(name: str, value: str) -> Call:
        return msgspec.structs.replace(first, headers={**first.headers, name: value})

    changed = [
        msgspec.structs.replace(first, method="PUT"),
        msgspec.structs.replace(first, target=second.target),
        msgspec.structs.replace(first, target=f"{first.target}?x=1"),
        msgspec.structs.replace(first, body=second.body),
        with_header("x-internal-run", "1"),
        with_header("x-timestamp", str(int(time.time()) - 1000)),
        with_header("x-timestamp", str(int(first.headers["x-timestamp"]) + 1)),
        with_header("x-timestamp", "soon"),
        with_header("x-internal-signature-v2", second.headers["x-internal-signature-v2"]),
        with_header("x-internal-signature-v2", ""),
    ]
    assert checked(changed) == [False] * len(changed)
