"""HTTP as a Function URL passes it on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import BadBody
from runtime.function_url import read_json, read_request, respond

DOCUMENTED = {
    "body": '{"test":"hello"}',
    "headers": {"content-length": "17", "x-scf-remote-addr": "111.206.96.145"},
    "httpMethod": "POST",
    "path": "/",
    "queryString": {"a": "1"},
}


def test_the_documented_event_is_read() -> None:
    request = read_request(DOCUMENTED)
    assert (request.method, request.path, request.query) == ("POST", "/", {"a": "1"})
    assert request.client == "111.206.96.145"
    assert request.body == b'{"test":"hello"}'
    assert read_json(request.body) == {"test": "hello"}


def test_header_names_are_read_whatever_their_case() -> None:
    request = read_request({"headers": {"X-Scf-Remote-Addr": "1.2.3.4", "Content-TYPE": "text/plain"}})
    assert request.client == "1.2.3.4"
    assert request.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("reported", [True, "true"])
def test_a_body_that_says_it_is_base64_is_unpacked(reported: Any) -> None:
    packed = base64.b64encode(b"\xff\x00").decode()
    assert read_request({"body": packed, "isBase64Encoded": reported}).body == b"\xff\x00"


def test_a_body_that_says_so_and_is_not_is_refused() -> None:
    with pytest.raises(BadBody):
        read_request({"body": "no base64 at all", "isBase64Encoded": True})


def test_json_in_base64_is_read_though_nothing_says_so() -> None:
    assert read_json(base64.b64encode(b'{"a":1}')) == {"a": 1}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"null", b"{", b"bm8=", b"\xff", b"[" * 5000, base64.b64encode(b"[]")]
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        read_json(body)


def test_an_answer_has_the_documented_shape() -> None:
    answer = respond(405, {"error": "method"}, {"Allow": "POST"})
    assert answer["statusCode"] == 405
    assert answer["headers"] == {"Content-Type": "application/json", "Allow": "POST"}
    assert json.loads(answer["body"]) == {"error": "method"}
    assert json.loads(json.dumps(answer)) == answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["body", "headers", "httpMethod", "path", "queryString", "isBase64Encoded"]) | st.text(),
        json_values,
    )
)
def test_whatever_the_event_it_is_read_or_refused(event: dict[str, Any]) -> None:
    try:
        request = read_request(event)
    except BadBody:
        return
    assert request.method == request.method.upper()
    assert all(name == name.lower() for name in request.headers)
