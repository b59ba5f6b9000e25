from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import tracing
from telemetry.instruments import SpanName
from telemetry.tracing import Finished, Tracer, current, failed, fields, note, onward, span, under

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


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Finished] = []

    def ended(self, span: Finished) -> None:
        self.spans.append(span)

    def one(self, name: str) -> Finished:
        (found,) = [each for each in self.spans if each.name == name]
        return found


@pytest.fixture
def kept() -> Iterator[Kept]:
    sink = Kept()
    ticks = iter(range(0, 10**9, 5))
    before = tracing.install(Tracer(sink, clock=lambda: 1_000, steady=lambda: next(ticks)))
    yield sink
    tracing.install(before)


@pytest.fixture
def off() -> Iterator[None]:
    before = tracing.install(None)
    yield
    tracing.install(before)


@pytest.mark.usefixtures("off")
def test_off_the_context_still_travels() -> None:
    with span(SpanName.CONSUME, VALID, of="clean", seq=1) as inner:
        note(outcome="x")
        failed(ValueError("y"))
        assert inner == current() == VALID
        with span(SpanName.AUDIT, pictures=2) as deeper:
            assert deeper == current() == VALID
        assert fields() == {"trace_id": tracing.trace_id(VALID)}
    assert current() == ""
    assert fields() == {}


@pytest.mark.usefixtures("off")
def test_off_a_new_trace_is_nobodys() -> None:
    with under(VALID), span(SpanName.HANDLE, "") as inner:
        assert inner == current() == ""


def test_a_span_is_told_when_it_ends(kept: Kept) -> None:
    with span(SpanName.CONSUME, VALID, of="clean", seq=1, left_out=None) as inner:
        note(outcome="next", seq=2)
        assert kept.spans == []
        assert tracing.trace_id(inner) == tracing.trace_id(VALID)
    done = kept.one("consume clean")
    assert done.kind == "consumer"
    assert (done.trace_id, done.span_id) == (tracing.trace_id(inner), tracing.span_id(inner))
    assert done.parent_id == tracing.span_id(VALID)
    assert (done.start_ns, done.duration_ns) == (1_000, 5)
    assert dict(done.attributes) == {"seq": 2, "outcome": "next"}
    assert not done.failed


def test_spans_inside_are_children_also_in_tasks(kept: Kept) -> None:
    async def ask() -> None:
        with span(SpanName.VENDOR, of="query"):
            await asyncio.sleep(0)

    async def work() -> None:
        with span(SpanName.CONSUME, VALID, of="poll"):
            async with asyncio.TaskGroup() as group:
                group.create_task(ask())
                group.create_task(ask())

    asyncio.run(work())
    (parent,) = [each for each in kept.spans if each.name == "consume poll"]
    asked = [each for each in kept.spans if each.name == "vendor query"]
    assert [each.parent_id for each in asked] == [parent.span_id] * 2
    assert asked[0].span_id != asked[1].span_id


@pytest.mark.parametrize("parent", ["", "nonsense"])
def test_without_a_parent_a_trace_begins(kept: Kept, parent: str) -> None:
    with span(SpanName.HANDLE, parent) as inner:
        assert tracing.is_valid(inner)
    assert kept.one("handle").parent_id == ""


def test_an_error_marks_the_span_and_goes_on(kept: Kept) -> None:
    with pytest.raises(ValueError, match="broke"), span(SpanName.AUDIT, VALID):
        raise ValueError("broke")
    done = kept.one("audit")
    assert done.failed
    assert dict(done.attributes) == {"error_type": "ValueError", "error": "broke"}


def test_an_error_that_is_dealt_with_marks_the_span_too(kept: Kept) -> None:
    with span(SpanName.CONSUME, VALID, of="clean"):
        failed(ValueError("broke"))
    assert kept.one("consume clean").failed


def test_nothing_secret_gets_into_a_span(kept: Kept) -> None:
    with (
        pytest.raises(RuntimeError),
        span(SpanName.PROCESS, VALID, key="https://host/a.png?q-signature=abcdef", ticket="tttttt"),
    ):
        raise RuntimeError("Authorization: Bearer abcdefgh")
    reported = json.dumps(dict(kept.one("process").attributes))
    assert "abcdef" not in reported
    assert "tttttt" not in reported


def test_attributes_are_plain_and_short(kept: Kept) -> None:
    with span(SpanName.PROCESS, VALID, key="x" * 5000, files=[1, "a"], size=1.5, mine=True, body=b"12345"):
        pass
    reported = kept.one("process").attributes
    assert len(str(reported["key"])) == 1000
    assert reported["files"] == '[1,"a"]'
    assert (reported["size"], reported["mine"], reported["body"]) == (1.5, True, "<5 bytes>")


def test_a_link_is_kept_when_it_is_one(kept: Kept) -> None:
    with span(SpanName.WOKEN, VALID, link=VALID):
        pass
    with span(SpanName.WOKEN, VALID, link="nonsense"):
        pass
    assert [each.link for each in kept.spans] == [VALID, ""]


def test_a_trace_that_is_not_sampled_is_not_told(kept: Kept) -> None:
    unsampled = VALID[:-1] + "0"
    with span(SpanName.CONSUME, unsampled, of="clean") as inner:
        assert inner == current() == unsampled
        with span(SpanName.AUDIT):
            pass
    assert kept.spans == []


def test_a_message_carries_the_span_of_its_own_trace_only(kept: Kept) -> None:
    other = tracing.new_traceparent()
    with span(SpanName.CONSUME, VALID, of="wake") as inner:
        assert onward(VALID) == inner
        assert onward(other) == other
        assert onward("") == ""
        with under(other):
            assert onward(VALID) == VALID
    assert onward(VALID) == VALID


def test_log_fields_name_the_innermost_span(kept: Kept) -> None:
    with span(SpanName.CONSUME, VALID, of="clean"), span(SpanName.AUDIT) as inner:
        assert fields() == {"trace_id": tracing.trace_id(inner), "span_id": tracing.span_id(inner)}
