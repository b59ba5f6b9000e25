"""Brokers for the tests that need Pulsar."""

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
    """The session's own broker; it requires tokens and serves TLS."""
    return own_broker()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The broker of the session; the session's own one for a test that needs it."""
    return own_place() if request.node.get_closest_marker("own_pulsar") else the_broker()


@pytest.fixture
def namespace(place: Place) -> str:
    return place.new_namespace()


@pytest.fixture
def opened(place: Place, namespace: str) -> Opener:
    """Open a broker in the test's own namespace with given options, and close it."""

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
