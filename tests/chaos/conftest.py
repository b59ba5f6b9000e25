"""Brokers for shops."""

from __future__ import annotations

import pytest

from tests.support.pulsar_part import the_broker


@pytest.fixture
def variables() -> dict[str, str]:
    """A namespace of the session's broker, as variables name it."""
    place = the_broker()
    return {
        "BROKER_URL": place.url,
        "BROKER_ADMIN_URL": place.admin_url,
        "BROKER_TOKEN": place.token,
        "BROKER_NAMESPACE": place.new_namespace(),
    }
