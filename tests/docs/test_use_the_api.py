"""docs/how-to/use-the-api.md, done as it says, through real sockets; and its blocks against the code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from PIL import Image

from messages.keys import RunId
from producer.api.document.openapi import document
from producer.api.routes import OPERATIONS
from producer.api.wire import CreatedTask, Problem, ProgressEvent, StartStep
from recipes.table import RECIPES
from services.sales import Purchase, Sold, read_sale
from tests.api.conftest import PICTURE, TASKS, Door, opened
from tests.docs.pages import blocks_of, text_of
from tests.docs.rights import DATA, LEDGER, Used, allows, note
from tests.docs.test_commands import Reader
from tests.docs.test_deploy import API_ROLE, ROLE

PAGE: Final = "docs/how-to/use-the-api.md"
COMMANDS: Final = [
    line.removeprefix("$ ")
    for block in blocks_of(PAGE)
    if block.language == "console"
    for line in block.text.splitlines()
]
JSON: Final = [block.text for block in blocks_of(PAGE) if block.language == "json"]
FINAL: Final = frozenset({"success", "failed", "cancelled"})


def _read(reader: Reader, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reader.folder / name).read_text(encoding="utf-8"))
    return found


def _ended(http: httpx.Client, created: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a task at its end."""
    for _ in range(10):
        state: dict[str, Any] = http.get(f"{created['statusUrl']}?wait=20").raise_for_status().json()
        if state["state"] in FINAL:
            return state
    raise AssertionError(state)


@pytest.mark.slow
def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with ExitStack() as stack:
        stack.callback(reader.close)
        reader.do('export PATH="$PWD/.venv/bin:$PATH"')
        for command in COMMANDS:
            reader.do(command)
        _look_at(reader)


def _look_at(reader: Reader) -> None:
    said = (reader.folder / "events.txt").read_text(encoding="utf-8")
    stages = re.findall(r'"stage":"(\w+)"', said)
    assert [*dict.fromkeys(stages)] == ["clean", "generate", "poll", "collect", "audit", "notify"]
    assert re.findall(r"^event: (\w+)$", said, re.MULTILINE)[-1] == "end"
    status = _read(reader, "status.json")
    assert (status["state"], len(status["results"]), status["delivered"]) == ("success", 12, True)
    with Image.open(reader.folder / "frame_01.jpg") as picture:
        assert picture.format == "JPEG"
    assert _read(reader, "cancelled.json")["state"] == "cancelled"
    assert len(_read(reader, "list.json")["tasks"]) == 2
    token = reader.do('echo "$TOKEN"').strip()
    base = reader.do('echo "$API_URL"').strip()
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False) as http:
        ends = {
            name: _ended(http, _read(reader, f"{name}.json"))
            for name in ("generate", "preprocess", "generate-prompt", "generate-only", "upload")
        }
        assert {name: end["state"] for name, end in ends.items()} == dict.fromkeys(ends, "success")
        assert {name: len(end["results"]) for name, end in ends.items()} == {
            "generate": 2,
            "preprocess": 1,
            "generate-prompt": 0,
            "generate-only": 2,
            "upload": 1,
        }
        assert ends["generate-prompt"]["text"]
        second = _ended(http, _read(reader, "second.json"))
        assert second["error"]["message"] == "已取消"
    with httpx.Client(timeout=30, trust_env=False) as plain:
        for end in ends.values():
            for result in end["results"]:
                assert len(plain.get(result["url"]).raise_for_status().content) == result["size"]
    account = json.loads(reader.do('curl --silent "$BACKEND_URL/_sandbox/quota"'))
    # Eight tasks, of which one was cancelled.
    assert (account["charged"], account["refunded"]) == (8, 1)
    assert [path.name for path in (reader.folder / "out").rglob("*.jpg")] == ["result_01.jpg"]
    assert all(len({call["status"] for call in task["callbacks"]}) <= 1 for task in account["tasks"])


def test_the_answers_that_are_shown_are_of_the_types_that_travel() -> None:
    shown = [msgspec.json.decode(text, type=kind) for text, kind in zip(JSON, (CreatedTask, Problem), strict=True)]
    for document_, text in zip(shown, JSON, strict=True):
        assert json.loads(msgspec.json.encode(document_)) == json.loads(text)
    (event,) = [block.text for block in blocks_of(PAGE) if block.language == "text"]
    fields = dict(line.partition(": ")[::2] for line in event.splitlines())
    assert msgspec.json.encode(msgspec.json.decode(fields["data"], type=ProgressEvent)).decode() == fields["data"]


def test_every_reason_of_a_wait_and_every_state_is_on_the_page() -> None:
    schemas = document(OPERATIONS, RECIPES)["components"]["schemas"]
    for word in (
        *schemas["Waiting"]["properties"]["why"]["enum"],
        *schemas["TaskStatus"]["properties"]["state"]["enum"],
    ):
        assert f"`{word}`" in text_of(PAGE)


def test_a_sale_is_of_the_form_that_the_backends_page_shows() -> None:
    asked, answered, step = [block.text for block in blocks_of("docs/backend.md") if block.language == "json"][-3:]
    purchase = msgspec.json.decode(asked, type=Purchase)
    assert json.loads(msgspec.json.encode(purchase)) == json.loads(asked)
    assert read_sale(201, answered.encode(), None) == msgspec.json.decode(answered, type=Sold)
    started = msgspec.json.decode(step, type=StartStep)
    assert json.loads(msgspec.json.encode(started)) == json.loads(step)


async def _everything(here: Door) -> None:
    await here.data.put("output/u1/t0/result_01.jpg", PICTURE)
    run = await here.created(inputs=["output/u1/t0/result_01.jpg"])
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "?wait=0")):
        assert (await here.ask(method, f"{TASKS}/{run.task}{path}")).status_code == 200
    assert (await here.ask("GET", TASKS)).status_code == 200
    assert (await here.ask("GET", "/api/v1/ai-generation/stats")).status_code == 200
    asked = {"kind": "basic_clean", "extensions": ["jpg"]}
    assert (await here.ask("POST", "/api/v1/ai-generation/uploads", json=asked)).status_code == 201
    assert (await here.http.get("/health/scf")).status_code == 200


async def test_the_apis_role_may_do_what_it_does_and_no_more() -> None:
    used: set[Used] = set()
    async with opened() as here:
        here.data.faults, here.records.faults = note(used, DATA), note(used, LEDGER)
        await _everything(here)
    # The test's own.
    used -= {Used(DATA, "put", "output/u1/t0/result_01.jpg")}
    assert {one.operation for one in used} >= {"head", "get", "put_new", "list"}
    assert [one for one in sorted(used) if not allows([API_ROLE], one)] == []
    for key in ("output/u-1/t-1/a.jpg", "staging/u-1/t-1/0-0/n/a.jpg"):
        assert not allows([API_ROLE], Used(DATA, "put", key))
    for key in ("dead/2026-11-25/f/i", "done/2026-11-25/1", "status/x"):
        assert not allows([API_ROLE], Used(LEDGER, "put", key))


def test_the_consumers_role_may_fetch_inputs_and_accept_what_the_api_sold() -> None:
    run = RunId("u-1", "t-1")
    for operation, key in (
        ("head", f"source/{run.user}/{run.task}/task.json"),
        ("get", f"source/{run.user}/{run.task}/task.json"),
        ("put", f"source/{run.user}/{run.task}/nonce/input_01.jpg"),
        ("process", f"source/{run.user}/{run.task}/nonce/input_01.jpg"),
    ):
        assert allows([ROLE], Used(DATA, operation, key))
