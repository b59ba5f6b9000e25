"""Logs, traces and metrics are caught here as they would leave the process."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from runtime.settings import mask_secrets
from telemetry import logs, metrics, tracing
from tests.secrets.emitted import Emitted
from tests.secrets.plants import ENVIRONMENT, ROLE, Plants


@pytest.fixture
def plants() -> Plants:
    """The secrets of a deployment, registered in the process as in production."""
    values = {**ENVIRONMENT, **ROLE}
    mask_secrets(values)
    return Plants(values)


@pytest.fixture
def reported() -> Iterator[Emitted]:
    """Logs at DEBUG, spans and metrics."""
    stream = io.StringIO()
    found = Emitted(stream)
    undo = logs.setup(stream, "DEBUG", "test")
    tracer, sink = tracing.install(tracing.Tracer(found)), metrics.install(found)
    yield found
    tracing.install(tracer)
    metrics.install(sink)
    undo()
