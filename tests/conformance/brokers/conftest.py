"""Fixtures: a fresh environment of each broker for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.brokers.environments import ENVIRONMENTS, Environment, names_of


@pytest.fixture(params=names_of(ENVIRONMENTS))
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    return ENVIRONMENTS[request.param](tmp_path)
