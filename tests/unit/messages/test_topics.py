"""Topic names: brokers, alarms and dashboards hang on them."""

from __future__ import annotations

import itertools

import pytest

from messages.bodies import Stage
from messages.codec import Priority
from messages.topics import DEAD_LETTER_TOPICS, FAILURE, WORK_TOPICS, WORKERS, dead_letter_topic, topic_of

NAMES = {
    (Stage.CLEAN, Priority.HIGH): "clean-high",
    (Stage.CLEAN, Priority.NORMAL): "clean-normal",
    (Stage.CLEAN, Priority.LOW): "clean-low",
    (Stage.GENERATE, Priority.HIGH): "generate-high",
    (Stage.GENERATE, Priority.NORMAL): "generate-normal",
    (Stage.GENERATE, Priority.LOW): "generate-low",
    **{(Stage.POLL, priority): "poll" for priority in Priority},
    **{(Stage.COLLECT, priority): "poll" for priority in Priority},
    **{(Stage.WAKE, priority): "wake" for priority in Priority},
    **{(Stage.NOTIFY, priority): "notify" for priority in Priority},
}


@pytest.mark.parametrize(("stage", "priority"), [*itertools.product(Stage, Priority)])
def test_the_topic_of_each_stage_and_priority(stage: Stage, priority: Priority) -> None:
    if stage is Stage.DEAD:  # has topics of its own
        assert (stage, priority) not in NAMES
        return
    assert topic_of(stage, priority) == NAMES[stage, priority]
    assert topic_of(stage, priority) in WORK_TOPICS


def test_a_topic_is_taken_once() -> None:
    assert set(WORK_TOPICS) == set(NAMES.values())
    assert len(set(WORK_TOPICS)) == len(WORK_TOPICS)
    assert topic_of(Stage.CLEAN) == "clean-normal"


def test_dead_letter_topics_are_named_as_tdmq_names_them() -> None:
    assert (WORKERS, FAILURE) == ("workers", "failure")
    assert dead_letter_topic("generate-high") == "generate-high-workers-DLQ"
    assert [dead_letter_topic(topic) for topic in WORK_TOPICS] == list(DEAD_LETTER_TOPICS)
    assert len(set(DEAD_LETTER_TOPICS)) == len(WORK_TOPICS)
    assert not set(DEAD_LETTER_TOPICS) & set(WORK_TOPICS)


def test_dead_letters_of_a_dead_letter_topic_stay_on_it() -> None:
    for topic in DEAD_LETTER_TOPICS:
        assert dead_letter_topic(topic) == topic
