"""Topic names. Dead-letter topics are named as TDMQ names them since engine 2.9.2: `{topic}-{subscription}-DLQ`."""

from __future__ import annotations

from typing import Final

from messages.bodies import Stage
from messages.codec import Priority

__all__ = ["DEAD_LETTER_TOPICS", "FAILURE", "WORKERS", "WORK_TOPICS", "dead_letter_topic", "topic_of"]

WORKERS: Final = "workers"
"""The subscription of the consumers."""
FAILURE: Final = "failure"
"""The subscription of the failure function, on dead-letter topics."""

_BY_PRIORITY: Final = (Stage.CLEAN, Stage.GENERATE)
_HOME: Final = {Stage.COLLECT: Stage.POLL}


def topic_of(stage: Stage, priority: Priority = Priority.NORMAL) -> str:
    """The topic that carries a stage. Collects travel with the polls; dead letters have topics of their own."""
    home = _HOME.get(stage, stage)
    return f"{home.value}-{priority.name.lower()}" if home in _BY_PRIORITY else home.value


def dead_letter_topic(topic: str) -> str:
    """Where the dead letters of a topic go; those of a dead-letter topic stay on it."""
    return topic if topic.endswith("-DLQ") else f"{topic}-{WORKERS}-DLQ"


WORK_TOPICS: Final[tuple[str, ...]] = (
    *(topic_of(stage, priority) for stage in _BY_PRIORITY for priority in Priority),
    topic_of(Stage.POLL),
    topic_of(Stage.WAKE),
    topic_of(Stage.NOTIFY),
)
"""Every topic of the consumers."""

DEAD_LETTER_TOPICS: Final[tuple[str, ...]] = tuple(dead_letter_topic(topic) for topic in WORK_TOPICS)
"""Every topic of the failure function."""
