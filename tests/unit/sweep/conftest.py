"""Coroutine tests here run on virtual time, as those of the engine do; their fixture `harness` is open meanwhile."""

from __future__ import annotations

import pytest

from tests.engine.conftest import pytest_pyfunc_call
from tests.unit.sweep.harness import SweepHarness

__all__ = ["harness", "pytest_pyfunc_call"]


@pytest.fixture
def harness() -> SweepHarness:
    return SweepHarness()
