"""Topic names: brokers, alarms and dashboards depend on them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.bodies import Stage
from messages.codec import Priority
from messages.topics import FAILURE, WORKERS, dead_letter_topic, subscription_of, topic_of, topic_table

TABLE = topic_table(("runninghub", "other"))
WORK = [topic.name for topic in TABLE if topic.subscription == WORKERS]
LETTERS = [topic.name for topic in TABLE if topic.subscription == FAILURE]

NAMES = {
    (Stage.CLEAN, Priority.HIGH): "clean-high",
    (Stage.CLEAN, Priority.NORMAL): "clean-normal",
    (Stage.CLEAN, Priority.LOW): "clean-low",
    (Stage.GENERATE, Priority.HIGH): "generate-runninghub-high",
    (Stage.GENERATE, Priority.NORMAL): "generate-runninghub-normal",
    (Stage.GENERATE, Priority.LOW): "generate-runninghub-low",
    (Stage.PROMPT, Priority.HIGH): "clean-high",
    (Stage.PROMPT, Priority.NORMAL): "clean-normal",
    (Stage.PROMPT, Priority.LOW): "clean-low",
    **{(Stage.POLL, priority): "poll" for priority in Priority},
    **{(Stage.AUDIT, priority): "poll" for priority in Priority},
    **{(Stage.COLLECT, priority): "collect" for priority in Priority},
    **{(Stage.WAKE, priority): "wake" for priority in Priority},
    **{(Stage.NOTIFY, priority): "notify" for priority in Priority},
}


@pytest.mark.parametrize(("stage", "priority"), [*itertools.product(Stage, Priority)])
def test_the_topic_of_each_stage_and_priority(stage: Stage, priority: Priority) -> None:
    if stage is Stage.DEAD:  # has topics of its own
        assert (stage, priority) not in NAMES
        return
    assert topic_of(stage, priority, vendor="runninghub") == NAMES[stage, priority]
    assert topic_of(stage, priority, vendor="runninghub") in WORK


def test_the_table_holds_each_topic_once_and_those_of_every_vendor() -> None:
    other = {f"generate-other-{priority}" for priority in ("high", "normal", "low")}
    assert set(WORK) == set(NAMES.values()) | other
    assert len({topic.name for topic in TABLE}) == len(TABLE) == len(WORK) + len(LETTERS)
    assert [topic.name for topic in topic_table(())] == [
        topic.name for topic in TABLE if Stage.GENERATE.value not in topic.name
    ]
    assert topic_table(("other", "runninghub", "other")) == TABLE


def test_topics_of_different_vendors_share_no_group() -> None:
    groups = {topic.group for topic in TABLE if topic.stage is Stage.GENERATE}
    assert groups == {(Stage.GENERATE, "runninghub"), (Stage.GENERATE, "other")}


def test_dead_letter_topics_are_named_as_tdmq_names_them() -> None:
    assert (WORKERS, FAILURE) == ("workers", "failure")
    assert dead_letter_topic("generate-other-high") == "generate-other-high-workers-DLQ"
    assert [dead_letter_topic(topic) for topic in WORK] == LETTERS


def test_dead_letters_of_a_dead_letter_topic_stay_on_it() -> None:
    for topic in LETTERS:
        assert dead_letter_topic(topic) == topic


@pytest.mark.parametrize("vendor", ["", "Running", "a-b", "a" * 33, "文字", "runninghub\n"])
def test_a_vendor_name_that_would_make_another_topic_is_refused(vendor: str) -> None:
    with pytest.raises(ValueError, match="vendor"):
        topic_of(Stage.GENERATE, vendor=vendor)
    if vendor:
        with pytest.raises(ValueError, match="vendor"):
            topic_table((vendor,))


def test_the_subscription_follows_from_the_name_as_the_table_has_it() -> None:
    for topic in TABLE:
        assert subscription_of(topic.name) == topic.subscription
    for foreign in ("", "doctor", "generate-high", "clean", "poll-normal", "dead", "x-workers-DLQ", "poll-failure-DLQ"):
        assert subscription_of(foreign) == ""


@given(st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True))
def test_every_vendor_has_topics_that_a_broker_knows(vendor: str) -> None:
    for topic in topic_table((vendor,)):
        assert subscription_of(topic.name) == topic.subscription
