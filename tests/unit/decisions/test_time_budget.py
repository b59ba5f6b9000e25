"""How a call's time is divided."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.runners.time_budget import budget_of, check_reserve
from consumers.runners.worker import reserve_of
from recipes.table import RECIPES
from runtime.errors import BadSettings


@given(st.floats(0, 1e6), st.floats(1, 86_400), st.floats(0, 1e6))
def test_everything_is_in_its_order_and_within_the_limit(begin: float, limit: float, grace: float) -> None:
    budget = budget_of(begin, limit, grace)
    assert begin < budget.stop <= budget.cut < budget.end < budget.end + 2 * budget.let_go_s < begin + limit
    # Most of the time is for work, and work that begins last has its grace.
    assert budget.stop - begin >= 0.6 * limit
    assert budget.cut - budget.stop == pytest.approx(min(grace, 0.2 * limit), abs=1e-6)


@pytest.mark.parametrize(
    ("limit", "stop", "cut", "end"), [(30.0, 19.5, 25.5, 27.0), (300.0, 264.0, 294.0, 296.0), (3.0, 1.95, 2.55, 2.7)]
)
def test_examples(limit: float, stop: float, cut: float, end: float) -> None:
    budget = budget_of(0.0, limit, 30.0)
    assert (budget.stop, budget.cut, budget.end) == pytest.approx((stop, cut, end))


def test_the_remedy_it_names_is_one() -> None:
    with pytest.raises(BadSettings, match=r"60 s has no room .* \(150 s\): raise the limit to 157 s or more"):
        check_reserve(budget_of(0.0, 60.0, 30.0), 60.0, 150.0)
    check_reserve(budget_of(0.0, 157.0, 30.0), 157.0, 150.0)


def test_the_reserve_is_that_of_the_kinds_whose_paid_work_is_consumed() -> None:
    services: Any = SimpleNamespace(recipes=RECIPES)
    assert reserve_of(services, ["clean-high", "generate-runninghub-normal"]) == 150.0
    assert reserve_of(services, ["generate-ark-low", "generate-runninghub-normal"]) == 345.0
    assert reserve_of(services) == 345.0
    assert reserve_of(services, ["poll"]) == 0.0
