"""Each function opens with exactly the settings that docs/how-to/deploy-on-scf.md gives it, and with none fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from runtime import wiring
from runtime.errors import BadSettings
from runtime.scf import Opener
from runtime.settings import REQUIRED, SECRETS, Settings, load_settings
from tests.docs.environments import EVERYWHERE, FUNCTIONS

OPENERS: Final[Mapping[str, Opener[Any]]] = {
    "producer.webhook": wiring.open_webhook,
    "producer.cos_trigger": wiring.open_trigger,
    "producer.sweep": wiring.open_sweep,
    "producer.api.http.function": wiring.open_api,
    "consumers.runners.drain": wiring.open_services,
    "consumers.runners.push": wiring.open_services,
}
VALUES: Final = {
    "COS_BUCKET": "data-1250000000",
    "LEDGER_BUCKET": "ledger-1250000000",
    "BACKEND_URL": "https://backend.example",
    **{name: f"{name.lower()}-of-the-tests-of-environments" for name in SECRETS},
    "MESSAGE_KEYS": "k1:*:a-message-key-of-the-tests-of-environments",
}
NEEDS: Final = [(name, variable) for name, variables in FUNCTIONS.items() for variable in variables.needed]

each_function = pytest.mark.parametrize("name", FUNCTIONS)


async def _open(name: str, variables: tuple[str, ...], folder: Path) -> Any:
    environ = {"BROKER_URL": f"sqlite://{folder}/broker.db", **VALUES}
    environ = {variable: environ[variable] for variable in variables}
    async with OPENERS[name](load_settings(environ), lambda: environ) as services:
        return services


def test_the_functions_of_the_table_are_all_there_are() -> None:
    assert set(FUNCTIONS) == set(OPENERS)
    known = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert {name for variables in FUNCTIONS.values() for names in variables for name in names} <= known
    assert set(EVERYWHERE) <= known
    assert set(REQUIRED) <= set(FUNCTIONS["consumers.runners.drain"].needed)


@each_function
def test_a_function_opens_with_exactly_what_it_needs(name: str, tmp_path: Path) -> None:
    services = asyncio.run(_open(name, FUNCTIONS[name].needed, tmp_path))
    assert services.broker
    # The type checker ensures that its code uses nothing else; here is what there is.
    assert callable(import_module(name).main_handler)


@pytest.mark.parametrize(("name", "variable"), NEEDS)
def test_without_one_of_them_it_refuses_by_name(name: str, variable: str, tmp_path: Path) -> None:
    rest = tuple(other for other in FUNCTIONS[name].needed if other != variable)
    with pytest.raises(BadSettings, match=rf"^set {variable} "):
        asyncio.run(_open(name, rest, tmp_path))


def test_the_public_webhook_has_no_secret_but_its_own_and_a_brokers_and_knows_no_bucket(tmp_path: Path) -> None:
    allowed = set(FUNCTIONS["producer.webhook"].needed) | set(EVERYWHERE)
    assert allowed & set(SECRETS) <= {"WEBHOOK_SECRET", "MESSAGE_KEYS", "BROKER_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"}
    services = asyncio.run(_open("producer.webhook", FUNCTIONS["producer.webhook"].needed, tmp_path))
    assert set(type(services).__dataclass_fields__) == {"broker", "keys", "webhooks", "clock"}


def test_the_producers_know_no_vendor_and_only_the_secrets_that_they_need() -> None:
    secrets = {
        name: set(variables.needed) & set(SECRETS)
        for name, variables in FUNCTIONS.items()
        if name.startswith("producer.")
    }
    assert secrets == {
        "producer.webhook": {"WEBHOOK_SECRET", "MESSAGE_KEYS"},
        "producer.cos_trigger": {"TICKET_SECRET", "MESSAGE_KEYS"},
        "producer.sweep": {"INTERNAL_CALLBACK_SECRET", "MESSAGE_KEYS"},
        "producer.api.http.function": {"INTERNAL_CALLBACK_SECRET", "JWT_SECRET", "TICKET_SECRET", "MESSAGE_KEYS"},
    }
