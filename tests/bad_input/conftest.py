"""Coroutine tests here run on virtual time, as the engine's do; their fixture `harness` is open while they run."""

from __future__ import annotations

import pytest

from tests.bad_input.harness import TicketHarness
from tests.engine.conftest import pytest_pyfunc_call

__all__ = ["harness", "pytest_pyfunc_call"]


@pytest.fixture
def harness() -> TicketHarness:
    return TicketHarness()
