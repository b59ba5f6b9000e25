"""Table of topics, each with its subscription, made for the vendors that recipes use.

Dead-letter topics have the names that TDMQ gives them since engine 2.9.2: `{topic}-{subscription}-DLQ`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from messages.bodies import Stage
from messages.codec import Priority

__all__ = ["FAILURE", "WORKERS", "Topic", "dead_letter_topic", "subscription_of", "topic_of", "topic_table"]

WORKERS: Final = "workers"
"""Subscription of the consumers."""
FAILURE: Final = "failure"
"""Subscription of the failure function, on dead-letter topics."""

_DEAD_LETTERS: Final = f"-{WORKERS}-DLQ"
_BY_PRIORITY: Final = (Stage.CLEAN, Stage.GENERATE)
_SHARED: Final = {Stage.PROMPT: Stage.CLEAN, Stage.AUDIT: Stage.POLL}
"""Stages without topics of their own -> the stage whose topics carry their messages."""
_SINGLE: Final = (Stage.POLL, Stage.COLLECT, Stage.WAKE, Stage.NOTIFY)
_VENDOR: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_WORK: Final = re.compile(
    rf"(?:{Stage.CLEAN.value}|{Stage.GENERATE.value}-{_VENDOR.pattern})"
    rf"-(?:{'|'.join(priority.name.lower() for priority in Priority)})"
    rf"|{'|'.join(stage.value for stage in _SINGLE)}",
    re.ASCII,
)


class Topic(msgspec.Struct, frozen=True):
    """Row of the table."""

    name: str
    stage: Stage
    """Stage of its messages; `Stage.DEAD` for a dead-letter topic."""
    subscription: str = WORKERS
    """Must exist before the first message: a broker may drop messages of a topic without a subscription."""
    vendor: str = ""
    """Vendor whose calls a generate topic carries. Pausing it delays no other vendor."""
    priority: Priority = Priority.NORMAL
    """Priority, if there is a topic for each; consumers take from them by weight."""

    @property
    def group(self) -> tuple[Stage, str]:
        """Group of topics that share their permits: those of a stage, of a vendor, or all dead letters."""
        return self.stage, self.vendor


def topic_of(stage: Stage, priority: Priority = Priority.NORMAL, *, vendor: str = "") -> str:
    """Return the topic of a stage; dead letters have topics of their own.

    Args:
        stage: stage of the message.
        priority: its priority; used if the stage has a topic for each.
        vendor: the vendor to be paid; used if the stage has topics for each vendor.

    Raises:
        ValueError: the stage needs a vendor's name, and `vendor` is not a valid one.
    """
    stage = _SHARED.get(stage, stage)
    if stage not in _BY_PRIORITY:
        return stage.value
    if stage is not Stage.GENERATE:
        return f"{stage.value}-{priority.name.lower()}"
    if not _VENDOR.fullmatch(vendor):
        raise ValueError(f"no topic of {stage.value} without the name of a vendor, and {vendor[:40]!r} is not one")
    return f"{stage.value}-{vendor}-{priority.name.lower()}"


def dead_letter_topic(topic: str) -> str:
    """Return the topic for the dead letters of a topic; those of a dead-letter topic stay on it."""
    return topic if topic.endswith(_DEAD_LETTERS) else f"{topic}{_DEAD_LETTERS}"


def subscription_of(topic: str) -> str:
    """Return the subscription of a topic by the form of its name, for any vendor; empty for a foreign topic.

    Broker adapters use it, because they have no table.
    """
    if _WORK.fullmatch(topic):
        return WORKERS
    return FAILURE if _WORK.fullmatch(topic.removesuffix(_DEAD_LETTERS)) else ""


def topic_table(vendors: Iterable[str]) -> tuple[Topic, ...]:
    """Return every topic: first those of the consumers, then their dead-letter topics in the same order.

    Args:
        vendors: names of all vendors that recipes use.

    Raises:
        ValueError: a text that cannot be a vendor's name.
    """
    work = (
        *(Topic(topic_of(Stage.CLEAN, each), Stage.CLEAN, priority=each) for each in Priority),
        *(_paid(vendor, each) for vendor in sorted(set(vendors)) for each in Priority),
        *(Topic(topic_of(stage), stage) for stage in _SINGLE),
    )
    return (*work, *(Topic(dead_letter_topic(topic.name), Stage.DEAD, FAILURE) for topic in work))


def _paid(vendor: str, priority: Priority) -> Topic:
    name = topic_of(Stage.GENERATE, priority, vendor=vendor)
    return Topic(name, Stage.GENERATE, vendor=vendor, priority=priority)
