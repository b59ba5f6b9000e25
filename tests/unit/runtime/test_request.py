"""Requests of a timer or an operator to a function: read whole, or refused with the name of the bad field."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from consumers.runners import drain
from producer import sweep
from runtime.errors import BadSettings
from runtime.scf import parse_request

TIMER = {"Type": "Timer", "TriggerName": "poll", "Time": "2026-11-25T09:00:00Z"}


class Request(msgspec.Struct, frozen=True):
    topics: tuple[str, ...] = ()
    older_than: Annotated[float, msgspec.Meta(ge=0)] = 600


@pytest.mark.parametrize(
    "event",
    [
        {},
        TIMER,
        *({**TIMER, "Message": message} for message in ("", "every minute", "[1]", "null", '"topics"', None)),
        {**TIMER, "something": "that the platform may add one day"},
        {**TIMER, "Message": "{}"},
    ],
)
def test_a_plain_timer_asks_for_nothing(event: dict[str, Any]) -> None:
    assert parse_request(event, Request) == Request()


def test_what_is_asked_for_is_read() -> None:
    message = '{"topics": ["poll", "wake"], "older_than": 0}'
    assert parse_request({**TIMER, "Message": message}, Request) == Request(("poll", "wake"), 0)
    assert parse_request({"topics": ["poll"]}, Request) == Request(("poll",))
    assert parse_request({"Message": message, "topics": ["notify"]}, Request) == Request(("notify",), 0)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{"topic": ["poll"]}', r"'topic'.*\btopics, older_than$"),
        ('{"topics": "poll"}', r"array.*topics"),
        ('{"topics": null}', r"array.*topics"),
        ('{"topics": [1]}', r"str.*topics"),
        ('{"older_than": "0"}', r"float.*older_than"),
        ('{"older_than": -1}', r">= 0.*older_than"),
        (' {"topics": ["poll"]', "no JSON object"),
        ('{"topics": ["poll"]} and so on', "no JSON object"),
        ("{" * 5000, "no JSON object"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_by_name(message: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        parse_request({**TIMER, "Message": message}, Request)


@pytest.mark.parametrize("event", [{"topic": ["poll"]}, {"topics": "poll"}, {**TIMER, "topics": "poll"}])
def test_so_is_one_by_hand(event: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="topic"):
        parse_request(event, Request)


def test_the_requests_of_the_functions() -> None:
    assert drain.DrainRequest.__struct_fields__ == ("topics",)
    assert sweep.SweepRequest.__struct_fields__ == ("older_than", "cursor")
