"""Coroutine tests here run on virtual time, as those of the engine do; a `shop` they ask for is open while they run."""

from __future__ import annotations

import pytest

from tests.bad_input.shop import Shop
from tests.engine.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call", "shop"]


@pytest.fixture
def shop() -> Shop:
    return Shop()
