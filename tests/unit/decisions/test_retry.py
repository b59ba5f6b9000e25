"""Outcomes and delays of errors."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.engine.faults import Fault
from consumers.engine.outcomes import DeadLettered, Outcome, Reject, Retry, Snooze
from consumers.engine.retry import (
    FLOOR_DELAY,
    JITTER,
    MAX_ATTEMPTS,
    MAX_DELAY,
    MOST_JITTER_S,
    OUTAGE_DELAY,
    OUTAGE_LONGEST,
    backoff,
    jittered,
    outcome_of,
)
from messages.bodies import Reason
from messages.codes import Code
from messages.errors import InvalidKey, MessageTooLarge, Outage, Permanent, Rejected, Transient, Unknown
from services.errors import (
    AuditDown,
    BackendDown,
    BadPicture,
    CreateUnknown,
    Denied,
    FetchFailed,
    Forbidden,
    NotFound,
    ObjectsDown,
    ResultUnusable,
    TicketRefused,
    UploadFailed,
    VendorDown,
    VendorFull,
    VendorMissing,
    VendorRefused,
)
from transport.errors import BrokerDown

RNGS = st.integers(0, 2**32).map(random.Random)
WAITS = st.none() | st.floats(0, 3600)

LAST = MAX_ATTEMPTS - 1


def dead(reason: Reason, error: str, code: Code) -> DeadLettered:
    """A dead letter of an error that was raised outside our code."""
    return DeadLettered(reason, Fault(error, code, "x"))


def kind_of(error: Exception, attempt: int = 0) -> type[Outcome]:
    return type(outcome_of(error, attempt, random.Random(1)))


@pytest.mark.parametrize(
    "error",
    [Transient("x"), ResultUnusable("x"), UploadFailed("x"), RuntimeError("a defect"), KeyError("x"), OSError()],
)
def test_what_may_work_again_is_tried_until_its_attempts_are_spent(error: Exception) -> None:
    assert [kind_of(error, attempt) for attempt in range(MAX_ATTEMPTS)] == [Retry] * LAST + [DeadLettered]
    assert kind_of(error, 1_000_000) is DeadLettered


@pytest.mark.parametrize(
    "error",
    [
        *(Outage("x"), ObjectsDown("x"), Denied("x"), VendorDown("x"), VendorMissing("x"), VendorFull("x")),
        *(BackendDown("x"), BrokerDown("x"), FetchFailed("x"), AuditDown("x")),
    ],
)
@pytest.mark.parametrize("attempt", [0, LAST, MAX_ATTEMPTS, 1_000_000])
def test_an_outage_is_waited_for_and_costs_no_attempt(error: Exception, attempt: int) -> None:
    assert kind_of(error, attempt) is Snooze


@pytest.mark.parametrize("attempt", [0, LAST, MAX_ATTEMPTS])
def test_the_other_classes_do_not_ask_for_the_attempt(attempt: int) -> None:
    for error in (Permanent("x"), NotFound("x"), VendorRefused("x"), MessageTooLarge("x")):
        assert kind_of(error, attempt) is DeadLettered
    for error in (Unknown("x"), CreateUnknown("x")):
        assert kind_of(error, attempt) is Snooze
    for error in (Rejected("x"), BadPicture("x"), TicketRefused("x"), InvalidKey("x")):
        assert kind_of(error, attempt) is Reject


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (BadPicture("x"), 0, Reject(Code.BAD_PICTURE)),
        (Rejected("x", code=Code.CONTENT_VIOLATION), 0, Reject(Code.CONTENT_VIOLATION)),
        (VendorRefused("x"), 0, dead(Reason.PERMANENT, "VendorRefused", Code.VENDOR_REFUSED)),
        (VendorRefused("x", code=Code.BAD_PICTURE), 0, dead(Reason.PERMANENT, "VendorRefused", Code.BAD_PICTURE)),
        (ResultUnusable("x"), LAST, dead(Reason.ATTEMPTS, "ResultUnusable", Code.VENDOR_FAILED)),
        (ZeroDivisionError("x"), LAST, dead(Reason.ATTEMPTS, "ZeroDivisionError", Code.INTERNAL)),
    ],
)
def test_what_the_dead_letter_or_the_verdict_says(error: Exception, attempt: int, expected: Outcome) -> None:
    assert outcome_of(error, attempt, random.Random(1)) == expected


@given(RNGS, st.integers(0, LAST - 1), WAITS)
def test_a_retry_waits_as_long_as_asked_and_not_for_ever(rng: random.Random, attempt: int, asked: float | None) -> None:
    outcome = outcome_of(Transient("x", retry_after=asked), attempt, rng)
    assert isinstance(outcome, Retry)
    assert (asked or 0.0) <= outcome.delay <= max(asked or 0.0, MAX_DELAY)


@given(RNGS, WAITS)
def test_an_outage_waits_as_long_as_asked_and_spreads_the_herd(rng: random.Random, asked: float | None) -> None:
    outcome = outcome_of(VendorDown("x", retry_after=asked), 0, rng)
    assert isinstance(outcome, Snooze)
    least = max(OUTAGE_DELAY, asked or 0.0)
    assert least <= outcome.delay <= least * (1 + JITTER)


@given(RNGS, st.integers(0, 1_000_000), WAITS)
def test_bounds_of_the_backoff(rng: random.Random, attempt: int, asked: float | None) -> None:
    delay = backoff(attempt, rng, asked)
    assert (asked or 0.0) <= delay <= max(asked or 0.0, min(MAX_DELAY, 2.0 * 2 ** min(attempt, 20)))


def test_the_backoff_uses_the_whole_of_a_range_that_doubles() -> None:
    rng = random.Random(7)
    for attempt, ceiling in enumerate((2.0, 4.0, 8.0, 16.0)):
        delays = [backoff(attempt, rng) for _ in range(400)]
        assert FLOOR_DELAY <= min(delays) < FLOOR_DELAY + 0.1 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling


@pytest.mark.parametrize("kind", [ResultUnusable, UploadFailed])
@given(rng=RNGS)
def test_five_tries_at_an_odd_answer_take_two_minutes(kind: type[Transient], rng: random.Random) -> None:
    outcomes = [outcome_of(kind("x"), attempt, rng) for attempt in range(MAX_ATTEMPTS)]
    assert [type(outcome) for outcome in outcomes] == [Retry] * LAST + [DeadLettered]
    assert sum(outcome.delay for outcome in outcomes if isinstance(outcome, Retry)) >= 120


@given(RNGS, st.integers(0, 1000))
def test_looks_at_an_outage_grow_apart_and_do_not_stop(rng: random.Random, waits: int) -> None:
    outcome = outcome_of(FetchFailed("x"), 0, rng, waits=waits)
    assert isinstance(outcome, Snooze)
    assert min(OUTAGE_LONGEST, OUTAGE_DELAY * (1 + waits / 2)) <= outcome.delay <= OUTAGE_LONGEST * (1 + JITTER)
    assert outcome.pause == 0


@pytest.mark.parametrize(
    ("error", "rests"),
    [(ObjectsDown("x"), True), (Denied("x"), True), (Forbidden("x"), False), (VendorDown("x"), False)],
)
def test_a_topic_rests_only_where_its_next_messages_would_fare_no_better(error: Outage, *, rests: bool) -> None:
    outcome = outcome_of(error, 0, random.Random(1))
    assert isinstance(outcome, Snooze)
    assert (outcome.pause > 0) is rests


@given(RNGS, st.floats(0, 1e6))
def test_jitter_only_stretches(rng: random.Random, delay: float) -> None:
    assert delay <= jittered(delay, rng) <= min(delay * (1 + JITTER), delay + MOST_JITTER_S)
