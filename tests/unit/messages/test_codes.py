"""The catalogue of codes: the only error texts that users see."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.codes import Code, text_of

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_chinese_text(code: Code) -> None:
    text = text_of(code)
    assert CHINESE.search(text)
    assert text == text.strip()
    assert not re.search(r"https?:|\{|\}|%s|None", text)
    assert text_of(code.value) == text


@pytest.mark.parametrize("code", Code)
def test_a_code_is_a_stable_word(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code.value)
    assert code.value == code.name.lower()


def test_the_words_that_the_backend_expects() -> None:
    assert text_of(Code.TIMEOUT) == "生成超时"
    assert text_of(Code.CONTENT_VIOLATION) == "内容违规"
    assert text_of(Code.CANCELLED) == "已取消"
    assert text_of(Code.NOT_UPLOADED) == "未上传"


@given(st.text())
def test_a_code_of_a_newer_build_reads_as_an_internal_error(code: str) -> None:
    expected = code if code in set(Code) else Code.INTERNAL
    assert text_of(code) == text_of(Code(expected))


def test_an_unknown_code_falls_back() -> None:
    assert text_of("no_such_code_yet") == text_of(Code.INTERNAL) == "系统繁忙，请稍后重试"
