"""The rules of the ledger hold in the model, and the model finds a broken promise where a rule is dropped."""

from __future__ import annotations

import pytest

from tests.model.cases import CASES, MANY_FAULTS, Case
from tests.model.rules import EARLIER, GUARDED, TODAY, Rules
from tests.model.search import shortened, walk

_MOST = 5_000
_WALKS = 300


# A case that expects nothing goes through every state that it may: the quick part has the random walks instead.
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=() if case.expected else pytest.mark.slow) for case in CASES],
)
def test_case(case: Case) -> None:
    found = case.search(_MOST)
    assert case.is_right(found), f"{case.expected or 'nothing'} expected, {sorted(found.problems)} found"


@pytest.mark.parametrize("rules", [TODAY, GUARDED], ids=["most vendors", "a vendor that guards its creates"])
def test_random_walks_break_nothing_today(rules: Rules) -> None:
    for seed in range(_WALKS):
        assert walk(rules, MANY_FAULTS, seed, deadline=4)[0] == [], f"seed {seed}"


def test_random_walks_find_what_was_wrong_and_name_the_way() -> None:
    faults = {"job_failed": 1, "sweep": 2, "redelivery": 2}
    broken, labels = next(found for seed in range(_WALKS) if (found := walk(EARLIER, faults, seed, deadline=4))[0])
    short = shortened(EARLIER, faults, labels, broken[0], deadline=4)
    assert len(short) <= len(labels)
    assert any("FAILS" in label or "again" in label or "sweep" in label for label in short)
