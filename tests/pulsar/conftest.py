"""Brokers for the tests that only Pulsar has."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from sandbox.pulsar import LocalPulsar
from tests.support.pulsar_part import own_broker, own_place, the_broker
from tests.support.pulsar_place import Place
from transport.pulsar import PulsarBroker, PulsarOptions

Opener = Callable[..., AbstractAsyncContextManager[PulsarBroker]]


@pytest.fixture
def own() -> LocalPulsar:
    """The session's own broker: it asks for tokens and serves TLS."""
    return own_broker()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The broker of the session, whoever runs it; for a test that needs our own, that one."""
    return own_place() if request.node.get_closest_marker("own_pulsar") else the_broker()


@pytest.fixture
def namespace(place: Place) -> str:
    return place.new_namespace()


@pytest.fixture
def opened(place: Place, namespace: str) -> Opener:
    """Opens a broker in a namespace of the test's own, with options of choice, and closes it."""

    @contextlib.asynccontextmanager
    async def open_it(**options: object) -> AsyncIterator[PulsarBroker]:
        given = {
            "url": place.url,
            "token": place.supplier,
            "namespace": namespace,
            "admin_url": place.admin_url,
            **options,
        }
        broker = await PulsarBroker.open(PulsarOptions(**given))  # type: ignore[arg-type] - options of any kind
        try:
            yield broker
        finally:
            await broker.close()

    return open_it
