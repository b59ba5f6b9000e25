"""What a call by a timer or by hand asks for: read whole, or refused by name."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from consumers.runners import drain
from producer import sweep
from runtime.errors import BadSettings
from runtime.scf import order_of

TIMER = {"Type": "Timer", "TriggerName": "poll", "Time": "2026-11-25T09:00:00Z"}


class Order(msgspec.Struct, frozen=True):
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
    assert order_of(event, Order) == Order()


def test_what_is_asked_for_is_read() -> None:
    message = '{"topics": ["poll", "wake"], "older_than": 0}'
    assert order_of({**TIMER, "Message": message}, Order) == Order(("poll", "wake"), 0)
    assert order_of({"topics": ["poll"]}, Order) == Order(("poll",))
    assert order_of({"Message": message, "topics": ["notify"]}, Order) == Order(("notify",), 0)


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
def test_an_order_that_cannot_be_followed_is_refused_by_name(message: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        order_of({**TIMER, "Message": message}, Order)


@pytest.mark.parametrize("event", [{"topic": ["poll"]}, {"topics": "poll"}, {**TIMER, "topics": "poll"}])
def test_so_is_one_by_hand(event: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="topic"):
        order_of(event, Order)


def test_the_functions_orders_are_these() -> None:
    assert drain.Order.__struct_fields__ == ("topics",)
    assert sweep.Order.__struct_fields__ == ("older_than", "cursor")
