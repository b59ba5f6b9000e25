"""`MESSAGE_KEYS`: its keys, the forms that are refused, and the keys that each process needs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest

from messages.bodies import Generate, Stage, Wake
from messages.codec import SCHEMA, Header, Message, decode, encode
from messages.errors import BadSignature
from runtime.errors import BadSettings
from runtime.message_keys import open_keys, parse_keys
from runtime.settings import load_settings
from runtime.wiring import open_services, open_sweep, open_trigger, open_webhook
from telemetry.redaction import redact_text
from telemetry.secrets import Secret

OLD: Final = "k1:*:the-first-key-of-the-tests-of-keys-1"
NEW: Final = "k2:*:the-next-key-of-the-tests-of-keys-22"
HOOK: Final = "w1:wake:the-webhooks-key-of-the-tests-of-keys"

GENERATE: Final = Message(Header(SCHEMA, "generate", "u", "t", 0, 0, 0, 0, 1), Generate())
WAKE: Final = Message(Header(SCHEMA, "wake", "u", "t", 0, 0, 0, 0, 1), Wake("webhook"))

ENVIRON: Final = {
    "BROKER_URL": "sqlite:///:memory:",
    "COS_BUCKET": "data-1250000000",
    "LEDGER_BUCKET": "ledger-1250000000",
    "TENCENTCLOUD_SECRET_ID": "id-of-nobody",
    "TENCENTCLOUD_SECRET_KEY": "key-of-nobody",
    "BACKEND_URL": "http://127.0.0.1:9",
    "INTERNAL_CALLBACK_SECRET": "a-callback-secret-of-the-tests-of-keys",
    "TICKET_SECRET": "a-ticket-secret-of-the-tests-of-the-keys",
    "WEBHOOK_SECRET": "a-webhook-secret-of-the-tests-of-the-keys",
}
ROLES: Final[Mapping[str, Any]] = {
    "webhook": open_webhook,
    "sweep": open_sweep,
    "trigger": open_trigger,
    "worker": lambda settings, environ: open_services(settings, environ, vendors=False),
}


@pytest.mark.parametrize("text", [f"{NEW},{OLD},{HOOK}", f"{NEW}\n{OLD}\n\n {HOOK}\n", f" {NEW} , {OLD},\t{HOOK},"])
def test_keys_stand_in_their_order_however_they_are_separated(text: str) -> None:
    found = parse_keys(Secret(text))
    assert [(key.key_id, key.stages) for key in found] == [("k2", None), ("k1", None), ("w1", frozenset({"wake"}))]


def test_a_key_may_have_several_stages() -> None:
    (key,) = parse_keys(Secret(f"p1:clean+notify+wake:{'x' * 32}"))
    assert key.stages == {"clean", "notify", "wake"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "key 1 of MESSAGE_KEYS must be id:stages:secret"),
        (f"{OLD},k2", "key 2 of MESSAGE_KEYS must be id:stages:secret"),
        ("k1:wake+clean:", "must be id:stages:secret"),
        (f"much-too-long:*:{'x' * 32}", "an id of 1 to 8 letters or digits"),
        (f"k1:wakes:{'x' * 32}", r"\(k1\) must name \* or stages joined by \+, of clean, "),
        (f"k1::{'x' * 32}", r"must name \* or stages"),
        (f"k1:*+wake:{'x' * 32}", r"must name \* or stages"),
        (f"k1:*:{'x' * 31}", r"\(k1\) has a secret of 31 bytes, and signing needs 32"),
        (f"{OLD},k1:wake:{'y' * 32}", "has the id 'k1' twice"),
    ],
)
def test_what_is_no_key_is_refused_without_its_secret(text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said) as raised:
        load_settings({"MESSAGE_KEYS": text})
    assert "xxx" not in str(raised.value)
    assert "the-first-key" not in str(raised.value)


def test_each_key_is_masked_by_itself() -> None:
    load_settings({"MESSAGE_KEYS": f"{OLD},{HOOK}"})
    assert "the-webhooks-key" not in redact_text("found the-webhooks-key-of-the-tests-of-keys in a text")


def test_a_rotation_in_three_steps_loses_no_message() -> None:
    steps = [f"{OLD}", f"{OLD},{NEW}", f"{NEW},{OLD}", f"{NEW}"]
    keys = [open_keys(load_settings({"MESSAGE_KEYS": step}), Stage) for step in steps]
    # At each step some processes have taken it and some have not.
    for before, after in itertools.pairwise(keys):
        assert decode(encode(GENERATE, before), after) == decode(encode(GENERATE, after), before) == GENERATE


def test_unsigned_messages_are_read_only_where_a_setting_says_so() -> None:
    data = encode(GENERATE)
    with pytest.raises(BadSignature):
        decode(data, open_keys(load_settings({"MESSAGE_KEYS": OLD}), Stage))
    during = load_settings({"MESSAGE_KEYS": OLD, "MESSAGE_UNSIGNED": "true"})
    assert decode(data, open_keys(during, Stage)) == GENERATE


def test_a_webhook_with_its_own_key_signs_wakes_and_nothing_else() -> None:
    hook = open_keys(load_settings({"MESSAGE_KEYS": HOOK}), (Stage.WAKE,))
    workers = open_keys(load_settings({"MESSAGE_KEYS": f"{OLD},{HOOK}"}), Stage)
    assert decode(encode(WAKE, hook), workers) == WAKE
    with pytest.raises(BadSettings, match=r"^no key in MESSAGE_KEYS may sign clean, prompt, generate, "):
        open_keys(load_settings({"MESSAGE_KEYS": HOOK}), Stage)


def _open(role: str, environ: Mapping[str, str]) -> Any:
    async def opened() -> Any:
        manager: AbstractAsyncContextManager[Any] = ROLES[role](load_settings(environ), lambda: environ)
        async with manager as services:
            return services

    return asyncio.run(opened())


@pytest.mark.parametrize("role", ROLES)
def test_production_starts_nothing_without_keys_unless_it_is_told_to(role: str) -> None:
    with pytest.raises(BadSettings, match=r"^set MESSAGE_KEYS .*, or MESSAGE_UNSIGNED=true "):
        _open(role, {**ENVIRON, "ENVIRONMENT": "production"})
    for more in ({"MESSAGE_KEYS": OLD}, {"MESSAGE_UNSIGNED": "true"}, {"ENVIRONMENT": "development"}):
        _open(role, {**ENVIRON, **more})


@pytest.mark.parametrize(("role", "enough"), [("webhook", True), ("sweep", True), ("trigger", False)])
def test_a_role_is_started_only_with_a_key_for_what_it_publishes(role: str, *, enough: bool) -> None:
    environ = {**ENVIRON, "MESSAGE_KEYS": HOOK}
    if enough:
        assert decode(encode(WAKE, _open(role, environ).keys)) == WAKE
    else:
        with pytest.raises(BadSettings, match=r"may sign clean, notify messages"):
            _open(role, environ)
