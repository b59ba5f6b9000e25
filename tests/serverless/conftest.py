"""Stand-ins, and functions of ours in the platform's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.processes.handlers import HANDLERS
from sandbox.environment import Sandbox
from tests.serverless.places import PLACES


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """Stand-ins, on the test's queue if it has one; the parameter says whether the vendor calls a webhook."""
    queue = request.getfixturevalue("queue") if "queue" in request.fixturenames else None
    with Sandbox(
        tmp_path / "data", HANDLERS, duration_s=1.0, webhook=getattr(request, "param", True), settings=queue
    ) as opened:
        yield opened


@pytest.fixture
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables that name a broker."""
    return PLACES[request.param](tmp_path)
