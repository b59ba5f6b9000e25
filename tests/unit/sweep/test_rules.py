"""The sweep's decision about one unfinished task."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.bodies import Stage
from producer.sweep_rules import (
    OLDER_THAN_S,
    Action,
    choose,
)
from recipes.model_pose12 import MODEL_POSE12
from recipes.recipe import Recipe
from tasks.ending.finish import DELIVER_FOR_S
from tasks.view import current_trail, stage_after
from tasks.wakes import SWEEP_PERIOD_S

NOW = 1_800_000_000.0
VIDEO = msgspec.structs.replace(MODEL_POSE12, collect_limit_s=1200.0, create_limit_s=900.0, deadline_s=7200)
LONGEST_S = 3600.0


def chosen(
    trail: dict[str, float],
    *,
    recipe: Recipe | None = MODEL_POSE12,
    waiting: dict[Stage, float] | None = None,
    older_than: float = OLDER_THAN_S,
) -> Action:
    """Decide by the ages of a run's records."""
    stored = {name: NOW - age for name, age in trail.items()}
    return choose(stored, NOW, recipe=recipe, longest_s=LONGEST_S, waiting=waiting or {}, older_than=older_than)


def test_a_task_without_any_record_is_woken() -> None:
    assert chosen({}) is Action.WOKEN


@pytest.mark.parametrize(("age", "action"), [(599.0, Action.FRESH), (600.0, Action.WOKEN)])
def test_only_the_newest_record_counts(age: float, action: Action) -> None:
    assert chosen({"accepted": 1500.0, "begun-clean-0": 1400.0, "call-1-1-id": age}) is action


def test_a_stage_that_may_work_longer_is_left_alone_for_so_long() -> None:
    assert chosen({"accepted": 1500.0, "begun-collect-0": 1100.0}, recipe=VIDEO) is Action.FRESH
    assert chosen({"accepted": 1500.0, "begun-collect-0": 1200.0}, recipe=VIDEO) is Action.WOKEN
    assert chosen({"accepted": 1500.0, "call-1-1": 800.0}, recipe=VIDEO) is Action.FRESH
    assert chosen({"accepted": 1500.0, "call-1-1-id": 800.0}, recipe=VIDEO) is Action.WOKEN


def test_a_run_that_waits_its_turn_in_a_backlog_is_left_alone() -> None:
    waiting = {Stage.GENERATE: 900.0}
    assert chosen({"accepted": 900.0, "cleaned": 800.0}, waiting=waiting) is Action.FRESH
    assert chosen({"accepted": 900.0}, waiting=waiting) is Action.WOKEN


def test_records_of_one_second_are_all_the_newest() -> None:
    trail = {"accepted": 800.0, "begun-clean-0": 800.0, "cleaned": 800.0}
    assert chosen(trail, waiting={Stage.GENERATE: 900.0}) is Action.FRESH
    assert chosen(trail, waiting={Stage.NOTIFY: 900.0}) is Action.WOKEN


def test_no_backlog_excuses_a_run_that_is_out_of_time() -> None:
    late = {"accepted": 1800.0, "cleaned": 5.0}
    assert chosen(late, waiting={Stage.GENERATE: 9000.0}) is Action.WOKEN
    assert chosen({**late, "verdict": 4.0}) is Action.FRESH


def test_a_verdict_that_is_not_delivered_is_woken_when_nothing_tells_of_a_notify() -> None:
    assert chosen({"accepted": 4000.0, "verdict": 700.0}) is Action.WOKEN
    assert chosen({"accepted": 4000.0, "verdict": 700.0, "begun-notify-3": 200.0}) is Action.FRESH


def test_a_kind_that_this_build_does_not_know_is_guarded_all_the_same() -> None:
    assert chosen({"accepted": 599.0}, recipe=None) is Action.FRESH
    assert chosen({"accepted": 600.0}, recipe=None) is Action.WOKEN


def test_no_backlog_excuses_a_run_of_a_kind_that_is_not_known_for_longer_than_any_kind_may_take() -> None:
    waiting = {Stage.CLEAN: 9000.0}
    assert chosen({"accepted": LONGEST_S - 1}, recipe=None, waiting=waiting) is Action.FRESH
    assert chosen({"accepted": LONGEST_S}, recipe=None, waiting=waiting) is Action.WOKEN


@pytest.mark.parametrize(
    ("age", "action"),
    [
        (-3.0, Action.FRESH),
        (0.0, Action.REDELIVERED),
        (SWEEP_PERIOD_S - 1, Action.REDELIVERED),
        (SWEEP_PERIOD_S, Action.FRESH),
        (3599.0, Action.FRESH),
        (3600.0, Action.REDELIVERED),
        (DELIVER_FOR_S, Action.REDELIVERED),
        (DELIVER_FOR_S + 1, Action.GIVEN_UP),
    ],
)
def test_a_delivered_run_is_delivered_again_early_in_each_hour(age: float, action: Action) -> None:
    assert chosen({"accepted": age + 60, "verdict": age + 1, "delivered": age}) is action


@given(first=st.floats(0.0, SWEEP_PERIOD_S, exclude_max=True), hour=st.integers(0, 71))
def test_of_regular_sweeps_exactly_one_an_hour_delivers_again(first: float, hour: int) -> None:
    sweeps = [hour * 3600 + first + n * SWEEP_PERIOD_S for n in range(20)]
    actions = [chosen({"delivered": age}) for age in sweeps]
    assert actions.count(Action.REDELIVERED) == 1
    assert actions.count(Action.FRESH) == 19


@given(
    ages=st.dictionaries(
        st.sampled_from(["accepted", "cleaned", "call-1-1", "call-1-1-id", "verdict"]), st.floats(0, 1e6)
    )
)
def test_whatever_stands_still_for_long_is_woken(ages: dict[str, float]) -> None:
    if all(age >= OLDER_THAN_S for age in ages.values()):
        assert chosen(ages) is Action.WOKEN
    assert chosen(ages, older_than=0.0, recipe=None) is Action.WOKEN


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        ("accepted", Stage.CLEAN),
        ("begun-clean-12", Stage.CLEAN),
        ("cleaned", Stage.GENERATE),
        ("begun-generate-0", Stage.GENERATE),
        ("call-1-1", Stage.GENERATE),
        ("call-1-12-end", Stage.GENERATE),
        ("call-1-1-id", Stage.POLL),
        ("begun-poll-8", Stage.POLL),
        ("begun-collect-0", Stage.COLLECT),
        ("verdict", Stage.NOTIFY),
        ("begun-notify-0", Stage.NOTIFY),
        ("of a newer build", Stage.CLEAN),
        ("begun-newer-0", Stage.CLEAN),
    ],
)
def test_a_record_tells_which_stage_goes_on_from_it(record: str, stage: Stage) -> None:
    assert stage_after(record) is stage


def test_the_run_that_counts_is_the_highest_accepted_and_not_refused() -> None:
    first, second = {"accepted": 1.0, "delivered": 2.0}, {"accepted": 3.0}
    assert current_trail({}) == {}
    assert current_trail({0: {"verdict": 1.0}}) == {"verdict": 1.0}
    assert current_trail({0: first, 1: second}) == second
    assert current_trail({0: first, 1: {**second, "reopen_denied": 4.0}}) == first
    assert current_trail({0: first, 1: {"begun-clean-0": 4.0}}) == first


def test_a_slot_that_has_stopped_is_not_hidden_by_others_that_work() -> None:
    works = {"accepted": 1700.0, "call-1-1": 1600.0, "call-1-1-id": 1599.0, "begun-poll.1-8": 5.0}
    still = {"call-2-1": 1600.0, "call-2-1-id": 1598.0}
    assert chosen({**works, "begun-poll.2-8": 4.0}) is Action.FRESH
    assert chosen({**works, **still}) is Action.WOKEN
    # A slot that has ended has a reason to be silent.
    assert chosen({**works, **still, "slot-2": 1500.0}) is Action.FRESH
    # After `staged`, no slot counts.
    assert chosen({**works, **still, "slot-1": 4.0, "staged": 3.0}) is Action.FRESH


def test_the_mark_of_a_wake_is_no_slot() -> None:
    assert chosen({"accepted": 1700.0, "call-1-1-id": 1599.0, "begun-wake.77-0": 1500.0, "slot-1": 5.0}) is Action.FRESH


def test_a_run_with_several_slots_is_looked_at_once_in_ten_minutes_because_a_slot_may_have_left_no_record() -> None:
    def at(age: float) -> Action:
        return chosen({"accepted": age, "call-1-1-id": 5.0, "begun-poll.2-8": 4.0})

    looks = [at(float(age)) for age in range(0, 1800, 180)]
    assert looks.count(Action.WOKEN) == 2
    assert looks[0] is Action.FRESH
    assert chosen({"accepted": 1250.0, "call-1-1-id": 5.0}) is Action.FRESH
    assert chosen({"accepted": 1250.0, "call-2-1-id": 5.0, "staged": 4.0}) is Action.FRESH
