"""Topics that rest, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.engine.pauses import Pauses
from consumers.runners.pump import groups_in
from messages.bodies import Stage
from messages.codec import Priority
from messages.topics import topic_of, topic_table
from services.vendors.port import VendorKey
from tests.engine.virtual import virtually
from tests.support.patience import PATIENCE_S

KEY = VendorKey("runninghub", "main")
GENERATE = tuple(topic_of(Stage.GENERATE, priority, vendor="runninghub") for priority in Priority)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pauses(clock: Clock) -> Pauses:
    return Pauses(clock)


def test_a_topic_rests_until_its_time_is_over(pauses: Pauses, clock: Clock) -> None:
    assert pauses.left(("poll",)) == 0.0
    pauses.pause("poll", 30.0)
    assert pauses.left(("poll",)) == 30.0
    clock.now += 29.0
    assert pauses.left(("poll",)) == 1.0
    clock.now += 1.0
    assert pauses.left(("poll",)) == 0.0
    clock.now += 1000.0
    assert pauses.left(("poll",)) == 0.0


def test_a_longer_rest_that_is_under_way_stays(pauses: Pauses, clock: Clock) -> None:
    pauses.pause("poll", 30.0)
    pauses.pause("poll", 5.0)
    assert pauses.left(("poll",)) == 30.0
    clock.now += 20.0
    pauses.pause("poll", 15.0)
    assert pauses.left(("poll",)) == 15.0


def test_a_topic_of_another_group_does_not_rest(pauses: Pauses) -> None:
    pauses.pause("poll", 30.0)
    assert pauses.left(GENERATE) == 0.0


@pytest.mark.parametrize("topic", GENERATE)
def test_topics_that_share_a_consumer_rest_together(pauses: Pauses, topic: str) -> None:
    # A consumer of several topics gets messages of any of them: it cannot take from the others alone.
    pauses.pause(topic, 30.0)
    assert pauses.left(GENERATE) == 30.0


def test_a_full_vendor_holds_up_no_other(pauses: Pauses) -> None:
    groups = groups_in(topic_table(("full", "other")))
    keys = {name: (VendorKey(name, "main"),) for name in ("full", "other")}
    pauses.pause(VendorKey("full", "main"), 30.0)
    rests = {tuple(group.topics): pauses.left(tuple(group.topics), keys.get(group.vendor, ())) for group in groups}
    full = tuple(topic_of(Stage.GENERATE, priority, vendor="full") for priority in Priority)
    assert rests.pop(full) == 30.0
    assert set(rests.values()) == {0.0}


def test_a_vendor_rests_while_every_one_of_its_keys_is_full(pauses: Pauses) -> None:
    keys = (VendorKey("v", "one"), VendorKey("v", "two"))
    pauses.pause(keys[0], 30.0)
    assert pauses.left(GENERATE, keys) == 0.0
    assert pauses.left(GENERATE, keys[:1]) == 30.0
    pauses.pause(keys[1], 10.0)
    assert pauses.left(GENERATE, keys) == 10.0
    assert pauses.left(GENERATE, keys[:1]) == 30.0
    assert pauses.left(GENERATE, (VendorKey("other", "one"),)) == 0.0
    pauses.pause(GENERATE[0], 20.0)
    assert pauses.left(GENERATE, keys) == 20.0
    assert pauses.resting() == {"v/one": 30.0, "v/two": 10.0, GENERATE[0]: 20.0}


async def test_waiting_ends_at_once_when_nothing_rests(pauses: Pauses) -> None:
    waiting = asyncio.create_task(pauses.wait(GENERATE))
    await asyncio.wait({waiting}, timeout=PATIENCE_S)
    assert waiting.done()
    await waiting


@pytest.mark.parametrize("what", [GENERATE[1], KEY])
def test_waiting_lasts_as_long_as_the_rest(what: str | VendorKey) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        pauses = Pauses(loop.time)
        pauses.pause(what, 30.0)
        await pauses.wait(GENERATE, (KEY,))
        assert loop.time() == pytest.approx(30.0)

    virtually(play)


def test_a_rest_made_longer_meanwhile_is_waited_for_too() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        pauses = Pauses(loop.time)
        pauses.pause("poll", 10.0)
        loop.call_later(5.0, pauses.pause, "poll", 3600.0)
        await pauses.wait(("poll",))
        assert loop.time() == pytest.approx(3605.0)

    virtually(play)


@given(st.lists(st.tuples(st.sampled_from(GENERATE), st.floats(0, 100)), max_size=8))
def test_the_rest_of_a_group_is_its_longest(rests: list[tuple[str, float]]) -> None:
    pauses = Pauses(lambda: 0.0)
    for topic, seconds in rests:
        pauses.pause(topic, seconds)
    assert pauses.left(GENERATE) == max((seconds for _, seconds in rests), default=0.0)


def test_the_end_of_a_rest_is_reported_once_however_many_wait_for_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    @virtually
    async def rests() -> None:
        pauses = Pauses(asyncio.get_running_loop().time)
        for _ in range(2):
            pauses.pause("poll", 30.0)
            await asyncio.gather(*(pauses.wait(("poll",)) for _ in range(8)))

    assert [record.getMessage() for record in caplog.records].count("topic.resumed") == 2
