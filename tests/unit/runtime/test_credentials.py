"""Credentials for COS: a role's come first, and they are read again for every call."""

from __future__ import annotations

import pytest

from runtime.credentials import credentials_in
from runtime.errors import BadSettings
from runtime.settings import Settings
from services.objects.credentials import Credentials
from telemetry.redaction import redact_text
from telemetry.secrets import Secret

PAIR = Settings(
    tencentcloud_secret_id=Secret("configured-key-id"), tencentcloud_secret_key=Secret("configured-key-value")
)
CONFIGURED = Credentials(Secret("configured-key-id"), Secret("configured-key-value"))
ROLE = {
    "TENCENTCLOUD_SECRETID": "role-key-id-1",
    "TENCENTCLOUD_SECRETKEY": "role-key-value-1",
    "TENCENTCLOUD_SESSIONTOKEN": "role-session-token-1",
}
FROM_ROLE = Credentials(Secret("role-key-id-1"), Secret("role-key-value-1"), Secret("role-session-token-1"))


def test_the_role_goes_before_the_configured_pair() -> None:
    assert credentials_in(ROLE, PAIR) == FROM_ROLE
    assert credentials_in(ROLE, Settings()) == FROM_ROLE


def test_without_a_role_the_pair_is_taken_and_has_no_token() -> None:
    assert credentials_in({}, PAIR) == CONFIGURED
    assert credentials_in({"TENCENTCLOUD_SESSIONTOKEN": "a-token-alone"}, PAIR) == CONFIGURED


@pytest.mark.parametrize("missing", ["TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY"])
def test_half_a_role_is_none(missing: str) -> None:
    assert credentials_in({**ROLE, missing: ""}, PAIR) == CONFIGURED


def test_a_role_without_a_token_still_signs() -> None:
    found = credentials_in({**ROLE, "TENCENTCLOUD_SESSIONTOKEN": ""}, PAIR)
    assert (found.secret_id, found.token) == (Secret("role-key-id-1"), Secret(""))


def test_credentials_that_change_are_seen_at_the_next_call() -> None:
    environ = dict(ROLE)
    assert credentials_in(environ, PAIR) == FROM_ROLE
    environ["TENCENTCLOUD_SESSIONTOKEN"] = "role-session-token-2"
    assert credentials_in(environ, PAIR).token == Secret("role-session-token-2")


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(tencentcloud_secret_id=Secret("configured-key-id")),
        Settings(tencentcloud_secret_key=Secret("configured-key-value")),
    ],
)
def test_no_credentials_are_told_with_the_remedy(settings: Settings) -> None:
    with pytest.raises(BadSettings, match=r"TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY.*role"):
        credentials_in({}, settings)


def test_what_a_role_gives_is_masked_from_then_on() -> None:
    credentials_in({**ROLE, "TENCENTCLOUD_SESSIONTOKEN": "unheard-of-token-9"}, PAIR)
    assert "unheard-of-token-9" not in redact_text("the platform gave unheard-of-token-9 today")
    assert "***" in repr(credentials_in(ROLE, PAIR))
    assert "role-key" not in repr(credentials_in(ROLE, PAIR))
