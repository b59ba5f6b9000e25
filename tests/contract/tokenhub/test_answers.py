"""Reading of a chat endpoint's answers, for bytes of any kind."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.errors import ScfWorkersError
from services.errors import AnswerUnfit
from services.vendors.http import ApiResponse
from services.vendors.tokenhub.answers import fitting, models_of, words_of
from services.vendors.tokenhub.codes import CODES, STATUSES, OnAsk, meaning_of
from services.vendors.usage import Usage
from tests.contract.tokenhub.conftest import Words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "choices", "message", "content", "finish_reason", "usage", "code", "data"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def reply(content: Any, status: int = 200) -> ApiResponse:
    return ApiResponse(status, content if isinstance(content, bytes) else msgspec.json.encode(content))


@given(JSON | st.binary(max_size=60), st.sampled_from([200, 204, 302, 400, 401, 429, 451, 500, 599]))
def test_no_answer_raises_anything_but_an_error_of_the_tree(content: Any, status: int) -> None:
    for read in (words_of, models_of):
        with suppress(ScfWorkersError):
            read(reply(content, status))


@given(st.text(max_size=200))
def test_no_words_raise_anything_but_that_they_do_not_fit(text: str) -> None:
    with suppress(AnswerUnfit):
        assert fitting(text, Words).prompt


@given(st.text(min_size=1, max_size=50), st.text(alphabet="ab: \n`", max_size=20), st.text(max_size=20))
def test_the_object_is_found_whatever_stands_around_it(prompt: str, before: str, after: str) -> None:
    assert fitting(before + msgspec.json.encode({"prompt": prompt}).decode() + after, Words) == Words(prompt)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"prompt": ""}',
        '{"prompt": null}',
        '{"prompt": 5}',
        '{"prompt": "x"',
        '{"prompt": "half of a letter: \\ud83d"}',
        '{"prompt": "x", "note": "\\udc00"}',
        "{" * 5000,
        '{"a":' * 5000,
        '{"prompt": "' + "x" * 2001 + '"}',
    ],
)
def test_what_does_not_fit(text: str) -> None:
    with pytest.raises(AnswerUnfit):
        fitting(text, Words)


def test_a_draft_before_the_answer_is_passed_over() -> None:
    text = '<think>maybe {"prompt": ""} or {draft}</think> {"prompt": "a cat", "note": "extra"}'
    assert fitting(text, Words) == Words("a cat")


def test_parts_of_an_answer_keep_their_blanks() -> None:
    parts = [{"type": "text", "text": '{"prompt": "red '}, {"type": "text"}, {"type": "text", "text": 'dress"}'}]
    words = words_of(reply({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}))
    assert fitting(words.text, Words) == Words("red dress")


def test_usage_that_is_nonsense_counts_as_none() -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    for usage in (None, [], {"prompt_tokens": -1, "completion_tokens": True}, {"prompt_tokens": "5"}):
        assert words_of(reply({"choices": [choice], "usage": usage})).usage == Usage()


@pytest.mark.parametrize(
    ("status", "code", "kind", "meaning"),
    [
        (400, "content_filter", "", OnAsk.CONTENT),
        (400, "content_policy_violation", "invalid_request_error", OnAsk.CONTENT),
        (400, "", "content_filter_error", OnAsk.CONTENT),
        (429, "insufficient_quota", "insufficient_quota", OnAsk.ACCOUNT),
        (429, "", "", OnAsk.FULL),
        (200, "429099", "", OnAsk.FULL),
        (200, "999999", "", OnAsk.DOWN),
        (200, "", "invalid_request_error", OnAsk.REFUSED),
        (200, "", "", OnAsk.DOWN),
        (418, "", "", OnAsk.REFUSED),
        (302, "", "", OnAsk.DOWN),
        (599, "", "", OnAsk.DOWN),
    ],
)
def test_meaning_of_other_endpoints_errors(status: int, code: str, kind: str, meaning: OnAsk) -> None:
    assert meaning_of(status, code, kind) is meaning


def test_a_code_of_six_digits_means_what_its_status_means() -> None:
    for code, meaning in CODES.items():
        if code.isdigit():
            status = int(code[:3])
            assert meaning is STATUSES.get(status, OnAsk.REFUSED), code
