"""The simulation bites: each planted defect is found, by the rule that it breaks."""

from __future__ import annotations

import pytest

from tests.simulation.defects import DEFECTS, planted
from tests.simulation.history import play

WITHIN = 100
"""A change of the product may give a pinned seed another history; the defect must then be found in one of so many."""


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str) -> None:
    defect = DEFECTS[name]
    with planted(name):
        for seed in (defect.seed, *range(WITHIN)):
            if defect.rule in {violation.rule for violation in play(seed).violations}:
                return
    pytest.fail(f"{defect.says}: broken on purpose, and not found")
