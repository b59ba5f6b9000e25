"""The surface of the API: its description, its health, its problems, pages of other origins, and a Function URL."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.keys import RunId
from producer.api.context import Api, Call
from producer.api.document.openapi import document
from producer.api.document.page import page
from producer.api.http.app import app_of, create_app
from producer.api.http.function import serve
from producer.api.http.limits import RateLimit
from producer.api.http.opening import options_of
from producer.api.http.problems import Failure
from producer.api.routes import OPERATIONS
from recipes.table import RECIPES
from runtime.settings import Settings
from runtime.vendors import CHATS, VENDORS
from services.errors import ObjectsDown
from tests.api.conftest import CREATE, TASKS, URL, opened, token
from tests.api.histories import accept

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tests.api.conftest import Open

DOCUMENT = document(OPERATIONS, RECIPES)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


# ---- its description -------------------------------------------------------------------------------------------------


async def test_the_document_and_its_page_are_served(door: Open) -> None:
    async with door() as here:
        served = (await here.http.get("/openapi.json")).json()
        assert served == json.loads(msgspec.json.encode(DOCUMENT))
        page = await here.http.get("/docs")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        for path in served["paths"]:
            assert path in page.text
        assert "<script" not in page.text
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)


def test_the_document_is_whole() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    schemas = DOCUMENT["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in _references(DOCUMENT)} <= set(schemas)
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            declared = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def _bodies() -> Iterator[dict[str, Any]]:
    """Every JSON schema with properties: of the components, and of the bodies of requests."""
    yield from DOCUMENT["components"]["schemas"].values()
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield content["schema"]


def test_every_field_is_described_in_the_document_and_on_the_page() -> None:
    fields = [field for body in _bodies() for field in body.get("properties", {}).items()]
    assert len(fields) > 100
    assert [name for name, schema in fields if not schema.get("description")] == []
    shown = page(DOCUMENT)
    for row in ("options.size", "inputs", "results[].url", "waiting.why", "uploads[].headers"):
        assert f"<td>{row}</td>" in shown


def test_the_routes_of_the_interface_that_clients_know_are_there() -> None:
    assert {
        "/api/ai-image/generate",
        "/api/ai-image/preprocess",
        "/api/ai-image/generate-prompt",
        "/api/ai-image/generate-only",
        "/api/v1/ai-generation/create",
        "/api/v1/ai-generation/tasks",
        "/api/v1/ai-generation/tasks/{id}",
        "/health",
        "/health/scf",
    } <= set(DOCUMENT["paths"])


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if path.startswith("/api/") and path != TASKS])
async def test_the_example_of_each_request_is_accepted(door: Open, path: str) -> None:
    post = DOCUMENT["paths"][path].get("post")
    async with door() as here:
        if post:
            example = post["requestBody"]["content"]["application/json"]["example"]
            answer = await here.ask("POST", path, json=example)
            status, named = next(iter(post["responses"].items()))
            assert str(answer.status_code) == status, answer.text
            assert all(answer.headers[name] for name in named["headers"])


_TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from([URL, "basic_clean", "model_pose12", "jpg", "input/u1/t/a.jpg"])
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), _TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ["kind", "params", "inputs", "extensions", "images", "imageUrl", "prompt", "options", "clothingImages", "x"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_whatever_is_sent_the_answer_is_one_that_the_document_names(data: st.DataObject) -> None:
    asyncio.run(_send_anything(data))


async def _send_anything(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(OPERATIONS))
    task = data.draw(st.sampled_from(["t1", "unknown", "a%20b", "%2e%2e", "é"]))
    names = [param.name for param in operation.params if param.where == "query"]
    query = data.draw(
        st.dictionaries(st.sampled_from([*names, "y"]), st.text(max_size=10) | st.integers(-2, 30).map(str))
    )
    query.pop("wait", None)
    headers = {"Authorization": f"Bearer {data.draw(st.sampled_from([token(), token('op', role='operator'), 'x']))}"}
    content = None
    if operation.method == "POST":
        body = data.draw(st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=5) | _VALUES)
        content = json.dumps(body).encode()
        headers["Content-Type"] = data.draw(st.sampled_from(["application/json", "application/json", "text/plain"]))
    async with opened(addresses={}) as here:
        await accept(here.ledger, RunId("u1", "t1"))
        here.api.watch.close()
        path = operation.path.replace("{id}", task)
        answer = await here.http.request(operation.method, path, params=query, headers=headers, content=content)
    named = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    assert str(answer.status_code) in named, (answer.status_code, answer.text)
    assert answer.status_code != 500
    headers = named[str(answer.status_code)]["headers"]
    assert all(name in answer.headers or name == "Retry-After" for name in headers)
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert set(answer.json()) >= {"title", "status", "detail", "requestId"}
        assert answer.json()["message"]


# ---- problems --------------------------------------------------------------------------------------------------------


async def test_a_defect_shows_nothing_of_itself(door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door() as here:

        async def broken(*_: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(type(here.api.services.backend), "sell", broken)
        answer = await here.create()
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.json()["requestId"] == answer.headers["X-Request-Id"]


async def test_a_request_id_of_the_client_is_kept(door: Open) -> None:
    async with door() as here:
        kept = await here.ask("GET", TASKS, headers={"X-Request-Id": "abc-1"})
        assert kept.headers["X-Request-Id"] == "abc-1"
        odd = await here.ask("GET", TASKS, headers={"X-Request-Id": "a b"})
        assert odd.headers["X-Request-Id"] != "a b"


async def test_no_redirect_leads_to_a_host_that_the_caller_names(door: Open) -> None:
    async with door() as here:
        for path in (f"{TASKS}/", "/docs/", "//evil.example"):
            answer = await here.ask("GET", path, headers={"Host": "evil.example"})
            assert (answer.status_code, answer.headers.get("Location")) == (404, None), path


async def test_the_document_is_made_once(door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door() as here:
        first = await here.http.get("/openapi.json")
        monkeypatch.setattr("producer.api.http.app.document", None)
        assert (await here.http.get("/openapi.json")).content == first.content
        assert (await here.http.get("/docs")).status_code == 200


async def test_what_no_route_takes_is_a_problem_too(door: Open) -> None:
    async with door() as here:
        unknown = await here.ask("GET", "/api/nothing")
        assert (unknown.status_code, unknown.json()["code"], unknown.json()["message"]) == (
            404,
            "not_found",
            "内容不存在",
        )
        wrong = await here.ask("PUT", TASKS)
        assert (wrong.status_code, wrong.headers["Content-Type"]) == (405, "application/problem+json")


async def test_a_wrong_method_is_answered_with_those_that_are_right(door: Open) -> None:
    async with door() as here:
        for path, methods in ((f"{TASKS}/t1", "DELETE, GET, HEAD"), (TASKS, "GET, HEAD"), (CREATE, "POST")):
            answer = await here.ask("PUT", path)
            assert (answer.status_code, answer.headers["Allow"]) == (405, methods)
            assert answer.json()["code"] == "method_not_allowed"


async def test_a_body_with_two_lengths_is_refused_and_the_connection_closed(door: Open) -> None:
    """Two servers in a row may disagree where such a body ends (RFC 9112, section 6.1)."""
    async with door() as here:
        two = {"Transfer-Encoding": "chunked", "Content-Length": "2", "Content-Type": "application/json"}
        for method, path in (("POST", CREATE), ("GET", TASKS), ("POST", "/internal/steps")):
            answer = await here.ask(method, path, headers=two, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
            assert answer.headers["Connection"] == "close"


async def test_a_ledger_that_is_away_is_a_503(door: Open) -> None:
    async def away(operation: str, key: str, *, done: bool) -> None:
        raise ObjectsDown("away", retry_after=30)

    async with door() as here:
        here.records.faults = away
        answer = await here.ask("GET", f"{TASKS}/t1")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_a_user_who_waits_may_go_on() -> None:
    now = [0.0]
    limit = RateLimit(60, lambda: now[0])
    for _ in range(60):
        limit.take("u1")
    with pytest.raises(Failure) as refused:
        limit.take("u1")
    assert refused.value.retry_after == 1
    now[0] += refused.value.retry_after
    limit.take("u1")
    with pytest.raises(Failure):
        limit.take("u1")


async def test_pages_of_other_origins(door: Open) -> None:
    async with door() as here:
        app = app_of(here.api, ("https://shop.example",))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as http:
            asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
            allowed = await http.options(CREATE, headers=asked)
            assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
            other = await http.options(CREATE, headers={**asked, "Origin": "https://evil.example"})
            assert "Access-Control-Allow-Origin" not in other.headers


# ---- health ----------------------------------------------------------------------------------------------------------


async def test_health_of_the_process_and_of_its_parts(door: Open) -> None:
    async with door() as here:
        assert (await here.http.get("/health")).json()["status"] == "ok"
        parts = await here.http.get("/health/scf")
        assert (parts.status_code, parts.json()["status"]) == (200, "ok")
        assert set(parts.json()["parts"]) == {"broker", "cos", "ledger", "backend"}
        assert all(part["milliseconds"] >= 0 for part in parts.json()["parts"].values())


async def test_a_part_that_is_away(door: Open) -> None:
    async with door(addresses={"vendor": "http://127.0.0.1:9"}) as here:
        (
            await here.backend.post("/_sandbox/faults", json={"on": "unfinished", "kind": "answer", "times": 9})
        ).raise_for_status()
        answer = await here.http.get("/health/scf")
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        parts = answer.json()["parts"]
        assert (parts["backend"]["ok"], parts["vendor"]["ok"], parts["cos"]["ok"]) == (False, False, True)
    async with door(addresses={"vendor": "http://127.0.0.1:9"}) as here:
        without = await here.http.get("/health/scf")
        assert (without.status_code, without.json()["parts"]["vendor"]["ok"]) == (200, False)


async def test_what_selling_needs_is_used_once_before_the_first_request(door: Open) -> None:
    async with door() as here:
        used: list[str] = []

        async def note(operation: str, key: str, *, done: bool) -> None:
            if not done:
                used.append(f"{operation} {key}")

        @asynccontextmanager
        async def open_api() -> AsyncGenerator[Api]:
            here.data.faults = here.records.faults = note
            yield here.api

        app = create_app(open_api)
        async with app.router.lifespan_context(app):
            assert sorted(used) == ["list ledger/", "list source/"]


def test_every_vendor_of_this_build_is_looked_at() -> None:
    addresses = options_of(Settings(broker_url="pulsar://broker:6650"), dict).addresses
    assert set(addresses) == {*VENDORS, *CHATS, "broker"}
    assert all(addresses.values())


async def test_the_health_is_asked_at_most_once_in_a_while(door: Open) -> None:
    async with door() as here:
        answer = await here.http.get("/health/scf")
        await here.backend.post("/_sandbox/faults", json={"on": "unfinished", "kind": "answer", "times": 9})
        # Kept for some seconds: the request needs no token, and causes four others.
        assert (await here.http.get("/health/scf")).json() == answer.json()


# ---- behind a Function URL -------------------------------------------------------------------------------------------


def _event(method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "httpMethod": method,
        "path": path,
        "queryString": query or {},
        "headers": {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"},
        "body": "" if body is None else json.dumps(body),
    }


async def test_it_serves_behind_a_function_url(door: Open) -> None:
    async with door(streaming=False) as here:
        app = app_of(here.api)
        created = await serve(_event("POST", CREATE, {"kind": "basic_clean", "inputs": [URL]}), app)
        assert created["statusCode"] == 202
        task = json.loads(created["body"])["taskId"]
        assert await here.ledger.accepted(RunId("u1", task)) is not None
        state = await serve(_event("GET", f"{TASKS}/{task}", query={"step": "0"}), app)
        assert json.loads(state["body"])["state"] == "queued"
        assert state["headers"]["etag"]
        events = await serve(_event("GET", f"{TASKS}/{task}/events"), app)
        assert events["statusCode"] == 501
        listed = await serve(_event("GET", TASKS, query={"kind": "basic_clean"}), app)
        assert [one["taskId"] for one in json.loads(listed["body"])["tasks"]] == [task]
        odd = await serve({**_event("POST", CREATE), "isBase64Encoded": True, "body": "&"}, app)
        assert odd["statusCode"] == 400


async def test_a_body_in_base64_is_the_same_purchase(door: Open) -> None:
    async with door(streaming=False) as here:
        app = app_of(here.api)
        plain = _event("POST", CREATE, {"kind": "basic_clean", "inputs": [URL]})
        plain["headers"]["Idempotency-Key"] = "k"
        packed = {**plain, "isBase64Encoded": True, "body": base64.b64encode(plain["body"].encode()).decode()}
        first, second = await serve(plain, app), await serve(packed, app)
        assert (first["statusCode"], first["body"]) == (202, second["body"])
        assert second["headers"]["content-type"] == "application/json"
        broken = await serve({**packed, "body": "&"}, app)
        assert (broken["statusCode"], broken["headers"]["Content-Type"]) == (400, "application/problem+json")


async def test_several_values_of_a_header_or_a_parameter_count_as_in_a_plain_request(door: Open) -> None:
    async with door(streaming=False) as here:
        app = app_of(here.api)
        await accept(here.ledger, RunId("u1", "t1"))
        event = _event("GET", TASKS, query={"kind": ["basic_clean", "model_pose12"], "limit": "5"})
        event["headers"]["Authorization"] = [event["headers"]["Authorization"], "Bearer x"]
        listed = await serve(event, app)
        assert (listed["statusCode"], len(json.loads(listed["body"])["tasks"])) == (200, 1)


@pytest.mark.parametrize("text", ["\ud800", "é", "a b", "\x00", "%zz"])
async def test_odd_characters_of_an_event_are_no_defect(door: Open, text: str) -> None:
    async with door(streaming=False) as here:
        app = app_of(here.api)
        for event, status in (
            (_event("GET", f"{TASKS}/{text}"), 404),
            (_event("GET", TASKS, query={"state": text}), 422),
            (_event("GET", TASKS, query={text: "1"}), 200),
            (_event("POST", CREATE) | {"body": text}, 422),
        ):
            assert (await serve(event, app))["statusCode"] == status


def test_a_call_has_no_user_unless_its_operation_needs_one() -> None:
    assert Call.__dataclass_fields__["caller"].default.user == ""
