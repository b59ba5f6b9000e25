from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.errors import InvalidKey, Permanent, Transient
from services.errors import FetchRefused
from services.objects import _checks as checks
from services.objects.port import PictureRule


class Pieces:
    def __init__(self, pieces: Sequence[bytes], size: int, error: Exception | None = None) -> None:
        self.pieces, self.size, self.error = pieces, size, error
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                yield piece
            if self.error:
                raise self.error
        finally:
            self.closed = True


async def taken(source: Pieces) -> tuple[bytes, Exception | None]:
    got = b""
    try:
        async for piece in checks.exact("k", source):
            got += piece
    except (Transient, FetchRefused) as error:
        return got, error
    return got, None


@given(pieces=st.lists(st.binary(max_size=6), max_size=6), size=st.integers(0, 30), breaks=st.booleans())
def test_a_source_gives_its_last_byte_only_when_all_is_right(pieces: list[bytes], size: int, *, breaks: bool) -> None:
    source = Pieces(pieces, size, OSError("https://secret?sign=1") if breaks else None)
    got, error = asyncio.run(taken(source))
    whole = b"".join(pieces)
    assert whole.startswith(got)
    if len(whole) == size and not breaks:
        assert (got, error) == (whole, None)
    else:
        assert isinstance(error, Transient)
        assert len(got) < size or size == 0
        assert "secret" not in str(error)
        assert error.__context__ is None
    assert source.closed


def test_an_error_of_ours_passes_as_it_is() -> None:
    refused = FetchRefused("too large")
    assert asyncio.run(taken(Pieces([b"ab"], 4, refused)))[1] is refused


@pytest.mark.parametrize(
    "key", ["a", "a/b c+%20&=?#.jpg", "输入/上衣.png", "a/../b", "a/...", "a..", "a//b", "😀", "x" * 850]
)
def test_keys_of_any_script_pass(key: str) -> None:
    assert checks.check_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "/a", "a\nb", "a\x00", "\x7f", "a\x85", "\ud800", "a\uffff", "x" * 851, "中" * 284]
)
def test_keys_that_some_call_could_not_carry_are_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        checks.check_key(key)


def test_meta_names_become_lower_case() -> None:
    assert checks.check_meta({"Ticket": "a b", "x_1.y-z": ""}) == {"ticket": "a b", "x_1.y-z": ""}
    assert checks.check_meta(None) == {}


@pytest.mark.parametrize("meta", [{"a b": ""}, {"": ""}, {"a": "x\r\ny"}, {"a": " x"}, {"a": "x" * 2048}])
def test_meta_that_no_header_carries_is_refused(meta: dict[str, str]) -> None:
    with pytest.raises(Permanent):
        checks.check_meta(meta)


def test_limits_are_checked_before_anything_is_sent() -> None:
    assert checks.check_limit(5000) == 1000
    with pytest.raises(ValueError, match="at least one"):
        checks.check_limit(0)
    with pytest.raises(ValueError, match="100"):
        checks.check_audit(["a"] * 101)
    with pytest.raises(ValueError, match="1 to 5"):
        checks.check_rules([])
    with pytest.raises(ValueError, match="1 to 5"):
        checks.check_rules([PictureRule(str(place), "imageMogr2") for place in range(6)])
    with pytest.raises(ValueError, match="same key"):
        checks.check_rules([PictureRule("a", "imageMogr2"), PictureRule("a", "imageView2")])
    with pytest.raises(ValueError, match="second"):
        checks.check_expires(0)
    with pytest.raises(Permanent):
        checks.check_size("a", (5 << 30) + 1)
