"""Coroutine tests here run on virtual time, as those of the engine do; a `house` asked for is open while they run."""

from __future__ import annotations

import pytest

from tests.engine.conftest import pytest_pyfunc_call
from tests.unit.sweep.house import House

__all__ = ["house", "pytest_pyfunc_call"]


@pytest.fixture
def house() -> House:
    return House()
