"""Brokers that functions, each a process, can share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.pulsar_part import the_broker
from transport import open_broker, options_of
from transport.port import Broker


def sqlite(folder: Path) -> dict[str, str]:
    """Variables of a broker in a file."""
    return {"BROKER_URL": f"sqlite://{folder / 'queue.db'}"}


def pulsar(_: Path) -> dict[str, str]:
    """Variables of a namespace of its own on the session's Pulsar."""
    place = the_broker()
    return {
        "BROKER_URL": place.url,
        "BROKER_ADMIN_URL": place.admin_url,
        "BROKER_NAMESPACE": place.new_namespace(),
        **({"BROKER_TOKEN": place.token} if place.token else {}),
    }


PLACES: Final[Mapping[str, Callable[[Path], dict[str, str]]]] = {"file": sqlite, "pulsar": pulsar}

on_every_broker = pytest.mark.parametrize(
    "queue", [pytest.param("file"), pytest.param("pulsar", marks=pytest.mark.pulsar)], indirect=True
)
"""Gives a test the fixture `queue`: variables that name each broker in turn."""


@asynccontextmanager
async def opened(queue: Mapping[str, str]) -> AsyncGenerator[Broker]:
    """A connection of the test's own."""
    broker = await open_broker(options_of(queue["BROKER_URL"], lambda name: queue.get(name, "")))
    try:
        yield broker
    finally:
        await broker.close()
