"""The rules of the ledger hold in the model, and the model still bites where a rule is dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.case import Case
from tests.model.cases import CASES, MANY_FAULTS
from tests.model.moves import RunModel
from tests.model.rules import EARLIER, TODAY
from tests.model.search import shortened, walk
from tests.model.slots.cases import SLOT_CASES, SLOT_FAULTS, WALKED
from tests.model.slots.moves import SlotModel
from tests.model.slots.rules import SYNCHRONOUS

_MOST = 5_000
_MOST_WITH_SLOTS = 20_000
_WALKS = 300
_WALKS_WITH_SLOTS = 50
_DEADLINE = 4
_DEADLINE_WITH_SLOTS = 7


# A case that expects nothing goes through every state that it may: the quick part has the random walks instead.
@pytest.mark.parametrize(
    ("case", "most"),
    [
        pytest.param(case, most, id=case.name, marks=() if case.expected else pytest.mark.slow)
        for cases, most in ((CASES, _MOST), (SLOT_CASES, _MOST_WITH_SLOTS))
        for case in cases
    ],
)
def test_case(case: Case, most: int) -> None:
    found = case.search(most)
    assert case.is_right(found), f"{case.expected or 'nothing'} expected, {sorted(found.problems)} found"


def test_random_walks_break_nothing_today() -> None:
    for seed in range(_WALKS):
        assert walk(RunModel(TODAY), MANY_FAULTS, seed, deadline=_DEADLINE)[0] == [], f"seed {seed}"


@pytest.mark.parametrize("model", WALKED, ids=lambda model: f"{model.rules.slots}-{model.rules.synchronous}")
def test_random_walks_with_slots_break_nothing(model: SlotModel) -> None:
    for seed in range(_WALKS_WITH_SLOTS):
        assert walk(model, SLOT_FAULTS, seed, deadline=_DEADLINE_WITH_SLOTS)[0] == [], f"seed {seed}"


def test_random_walks_find_what_was_wrong_and_name_the_way() -> None:
    faults, model = {"job_failed": 1, "sweep": 2, "redelivery": 2}, RunModel(EARLIER)
    broken, labels = next(
        found for seed in range(_WALKS) if (found := walk(model, faults, seed, deadline=_DEADLINE))[0]
    )
    short = shortened(model, faults, labels, broken[0], deadline=_DEADLINE)
    assert len(short) <= len(labels)
    assert any("FAILS" in label or "again" in label or "sweep" in label for label in short)


def test_random_walks_with_slots_find_a_rule_that_is_dropped() -> None:
    model = SlotModel(replace(SYNCHRONOUS, failure_reads="nothing"))
    broken, labels = next(
        found for seed in range(_WALKS) if (found := walk(model, SLOT_FAULTS, seed, deadline=_DEADLINE_WITH_SLOTS))[0]
    )
    assert "a letter kills a paid result" in broken or "no call is open and old" in broken[0]
    assert labels
