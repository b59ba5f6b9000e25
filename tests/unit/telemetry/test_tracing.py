from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import metrics, tracing

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def zeros(size: int) -> bytes:
    return bytes(size)


def test_a_new_trace_is_valid_and_sampled() -> None:
    assert tracing.is_valid(tracing.new_traceparent())
    assert tracing.new_traceparent().endswith("-01")
    assert tracing.new_traceparent() != tracing.new_traceparent()


def test_randomness_is_injected() -> None:
    def counting(size: int) -> bytes:
        return bytes(range(1, size + 1))

    assert tracing.new_traceparent(counting) == "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"


def test_even_bad_randomness_gives_a_valid_one() -> None:
    assert tracing.is_valid(tracing.new_traceparent(zeros))
    assert tracing.is_valid(tracing.child(VALID, zeros))


def test_a_child_stays_in_its_trace() -> None:
    child = tracing.child(VALID)
    assert tracing.trace_id(child) == tracing.trace_id(VALID) == "0af7651916cd43dd8448eb211c80319c"
    assert child != VALID
    assert tracing.is_valid(child)


@pytest.mark.parametrize(("flags", "kept"), [("00", "00"), ("01", "01"), ("ff", "01"), ("02", "00")])
def test_only_the_sampled_flag_is_passed_on(flags: str, kept: str) -> None:
    assert tracing.child(VALID[:-2] + flags).endswith(f"-{kept}")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        VALID.upper(),
        VALID + "-more",
        VALID + "\n",
        "ff" + VALID[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        VALID[:-1],
    ],
)
def test_what_is_not_valid_begins_a_new_trace(bad: str) -> None:
    assert not tracing.is_valid(bad)
    assert tracing.trace_id(bad) == ""
    assert tracing.is_valid(tracing.child(bad))


def test_a_later_version_may_carry_more() -> None:
    assert tracing.is_valid("01" + VALID[2:] + "-more")
    assert tracing.child("01" + VALID[2:] + "-more").startswith("00-0af7651916cd43dd8448eb211c80319c-")


@given(st.text())
def test_any_text_gives_a_valid_child(text: str) -> None:
    assert tracing.is_valid(tracing.child(text))


def test_without_a_sink_nothing_happens() -> None:
    with tracing.span("work", VALID, kind="x") as inner:
        assert inner == VALID
    metrics.count("c")
    metrics.observe("o", 1.5, stage="clean")


def test_spans_go_to_the_sink() -> None:
    seen: list[object] = []

    class Sink:
        @contextlib.contextmanager
        def span(self, name: str, traceparent: str, attributes: Mapping[str, object]) -> Iterator[str]:
            seen.append((name, traceparent, dict(attributes)))
            yield "inner"
            seen.append("end")

    before = tracing.install(Sink())
    try:
        with tracing.span("work", VALID, kind="x") as inner:
            assert inner == "inner"
    finally:
        tracing.install(before)
    assert seen == [("work", VALID, {"kind": "x"}), "end"]


def test_measurements_go_to_the_sink() -> None:
    seen: list[object] = []

    class Sink:
        def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:
            seen.append((name, value, dict(labels)))

        def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
            seen.append((name, value, dict(labels)))

    before = metrics.install(Sink())
    try:
        metrics.count("done", stage="clean")
        metrics.observe("seconds", 1.5)
    finally:
        metrics.install(before)
    assert seen == [("done", 1, {"stage": "clean"}), ("seconds", 1.5, {})]
