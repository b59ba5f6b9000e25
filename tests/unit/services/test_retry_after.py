"""How long an answer asks us to wait: a number or a date, and never longer than the one cap."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retry_after import MAX_WAIT_S, wait_of

NOW = 1_800_000_000


def _wait(text: str, date: str = formatdate(NOW, usegmt=True)) -> float | None:
    return wait_of({"Retry-After": text, "Date": date})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("3601", MAX_WAIT_S),
        ("9" * 5000, MAX_WAIT_S),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 08:00:30 -0000", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2100 08:00:00 GMT", MAX_WAIT_S),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("²", None),
        ("Fri, 99 Jan 2027 08:00:00 GMT", None),
    ],
)
def test_it_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert _wait(text) == seconds


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_date_says_nothing_without_the_servers_own(date: str) -> None:
    assert _wait("Fri, 15 Jan 2027 08:00:30 GMT", date) is None
    assert _wait("7", date) == 7.0


def test_an_answer_may_ask_for_nothing() -> None:
    assert wait_of({}) is None


@given(st.integers(0, 10**30))
def test_seconds_are_heeded_up_to_the_cap(seconds: int) -> None:
    assert _wait(str(seconds)) == min(seconds, MAX_WAIT_S)


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000), st.integers(-23, 23))
def test_dates_are_heeded_up_to_the_cap_wherever_they_were_written(then: int, now: int, hours: int) -> None:
    there = datetime.fromtimestamp(then, timezone(timedelta(hours=hours)))
    assert _wait(format_datetime(there), formatdate(now, usegmt=True)) == min(max(0, then - now), MAX_WAIT_S)


@given(st.text(), st.text())
def test_whatever_a_server_writes_gives_a_wait_or_none(text: str, date: str) -> None:
    wait = _wait(text, date)
    assert wait is None or 0.0 <= wait <= MAX_WAIT_S
