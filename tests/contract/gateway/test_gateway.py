"""The stand-in of Function URLs: HTTP becomes the documented event, and a command's answer becomes HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from runtime.function_url import read_request, respond
from sandbox.gateway import create_app
from sandbox.server import Server

ECHO = "import json,os,sys; e=json.load(sys.stdin); print(json.dumps({'event': e, 'said': os.environ['SAID']}))"


@contextmanager
def gateway(code: str, timeout: float = 20.0) -> Iterator[httpx.Client]:
    app = create_app([sys.executable, "-c", code], environ=lambda: {"SAID": "hello"}, timeout=timeout)
    with Server(app) as server, httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_a_request_becomes_the_documented_event() -> None:
    with gateway(ECHO) as client:
        answer = client.post("/webhook/a?x=1&y=2", content='{"taskId":"7"}', headers={"X-Some-Header": "v"})
    # JSON without a statusCode is a 200.
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    reported = answer.json()
    assert reported["said"] == "hello"
    assert set(reported["event"]) == {"body", "headers", "httpMethod", "path", "queryString"}
    request = read_request(reported["event"])
    assert (request.method, request.path, request.query) == ("POST", "/webhook/a", {"x": "1", "y": "2"})
    assert request.body == b'{"taskId":"7"}'
    assert request.headers["x-some-header"] == "v"
    assert request.client == "127.0.0.1"


def test_an_answer_of_ours_becomes_http() -> None:
    answer = respond(405, {"error": "method"}, {"Allow": "POST"})
    with gateway(f"print({json.dumps(json.dumps(answer))})") as client:
        heard = client.get("/")
    assert (heard.status_code, heard.headers["allow"], heard.json()) == (405, "POST", {"error": "method"})


def test_a_function_that_fails_or_hangs_is_an_error_of_the_gateway() -> None:
    for code in ("raise SystemExit(1)", "print('no JSON')"):
        with gateway(code) as client:
            assert client.post("/").status_code == 502
    with gateway("import time; time.sleep(60)", timeout=0.5) as client:
        assert client.post("/").status_code == 502


def test_a_body_beyond_the_platforms_limit_does_not_reach_the_function() -> None:
    with gateway("raise SystemExit(1)") as client:
        assert client.post("/", content=b"x" * ((6 << 20) + 1)).status_code == 413
