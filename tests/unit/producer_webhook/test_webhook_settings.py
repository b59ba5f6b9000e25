"""The webhook's settings."""

from __future__ import annotations

import pytest

from runtime.errors import BadSettings
from runtime.settings import SECRETS, load_settings


def test_without_a_setting_vendors_call_nobody() -> None:
    assert load_settings({}).webhook_url == ""


@pytest.mark.parametrize("url", ["https://x.example", "https://x.example/", "http://127.0.0.1:8080"])
def test_a_base_url_is_taken(url: str) -> None:
    assert load_settings({"WEBHOOK_URL": url}).webhook_url == url


@pytest.mark.parametrize("url", ["x.example", "ftp://x.example", "https://", "https://x.example/?a=1", "https://x y"])
def test_what_is_no_base_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(BadSettings, match="WEBHOOK_URL"):
        load_settings({"WEBHOOK_URL": url})


def test_its_secret_is_one() -> None:
    assert "WEBHOOK_SECRET" in SECRETS
