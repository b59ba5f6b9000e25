from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from telemetry import metrics
from telemetry.instruments import Metric


class Kept:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Metric, float, dict[str, str]]] = []

    def count(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.seen.append(("count", metric, value, dict(labels)))

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.seen.append(("observe", metric, value, dict(labels)))

    def level(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.seen.append(("level", metric, value, dict(labels)))


@pytest.fixture
def nobody() -> Iterator[None]:
    before = metrics.install(None)
    yield
    metrics.install(before)


@pytest.mark.usefixtures("nobody")
def test_without_a_sink_nothing_happens() -> None:
    assert not metrics.is_on()
    metrics.count(Metric.CALLBACKS, result="delivered")
    metrics.observe(Metric.QUEUE_DELAY, 1.5, stage="clean")
    metrics.level(Metric.BACKLOG_AGE, 2.0, topic="poll")


@pytest.mark.usefixtures("nobody")
def test_measurements_go_to_the_sink() -> None:
    kept = Kept()
    assert metrics.install(kept) is None
    assert metrics.is_on()
    metrics.count(Metric.CALLBACKS, result="delivered")
    metrics.observe(Metric.QUEUE_DELAY, 1.5, stage="clean")
    metrics.level(Metric.BACKLOG_AGE, 2.0, topic="poll")
    assert kept.seen == [
        ("count", Metric.CALLBACKS, 1, {"result": "delivered"}),
        ("observe", Metric.QUEUE_DELAY, 1.5, {"stage": "clean"}),
        ("level", Metric.BACKLOG_AGE, 2.0, {"topic": "poll"}),
    ]
    assert metrics.install(None) is kept
