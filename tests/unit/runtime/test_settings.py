"""Settings: read from the environment, refused by name, and never printed where they are secret."""

from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.errors import BadSettings
from runtime.settings import SECRETS, Settings, load_settings, require
from runtime.settings_rules import NETWORK
from telemetry import logs
from telemetry.events import Event
from telemetry.secrets import MASK, Secret

PLANTED = "pl4nted-s3cret-of-settings-tests"

NAMES = [field.encode_name for field in msgspec.structs.fields(Settings)]


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.ticket_required
    assert settings.audit_suspect == "block"
    assert settings.callback_form == "steps"


def test_names_that_the_backend_gave_are_kept() -> None:
    assert {
        "BACKEND_URL",
        "INTERNAL_CALLBACK_SECRET",
        "TENCENTCLOUD_SECRET_ID",
        "TENCENTCLOUD_REGION",
        "COS_BUCKET",
    } <= {*NAMES}
    assert all(name == name.upper() for name in NAMES)
    # A setting named like a secret has the type of one.
    assert set(SECRETS) >= {name for name in NAMES if re.search(r"SECRET|KEY|TOKEN(?!HUB)|PASSWORD|HEADERS", name)}


def test_values_are_read_by_their_types() -> None:
    settings = load_settings(
        {
            "ENVIRONMENT": "development",
            "BROKER_URL": "sqlite:///:memory:",
            "WORK_CONCURRENCY": "16",
            "UPLOAD_LIMIT_S": "90.5",
            "TICKET_REQUIRED": "false",
            "CALLBACK_FORM": "task_update",
            "LOG_LEVEL": "DEBUG",
            "TICKET_SECRET": PLANTED,
            "PATH": "/bin",
            "upload_limit_s": "1",
        }
    )
    assert (settings.broker_url, settings.work_concurrency, settings.upload_limit_s) == ("sqlite:///:memory:", 16, 90.5)
    assert (settings.ticket_required, settings.callback_form, settings.log_level) == (False, "task_update", "DEBUG")
    assert settings.ticket_secret == Secret(PLANTED)


def test_an_empty_value_is_as_good_as_none() -> None:
    assert load_settings(dict.fromkeys(NAMES, "")) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORK_CONCURRENCY", "0"),
        ("WORK_CONCURRENCY", "1001"),
        ("WORK_CONCURRENCY", "many"),
        ("WORK_CONCURRENCY", "1.5"),
        ("UPLOAD_LIMIT_S", "-1"),
        ("UPLOAD_LIMIT_S", "1h"),
        ("UPLOAD_LIMIT_S", "nan"),
        ("VENDOR_EXPECTED_S", "inf"),
        ("VENDOR_FULL_PAUSE_S", "1e300"),
        ("TICKET_REQUIRED", "perhaps"),
        ("AUDIT_SUSPECT", "ignore"),
        ("CALLBACK_FORM", "xml"),
        ("LOG_LEVEL", "debug"),
        ("LOG_LEVEL", "TRACE"),
        ("TICKET_SECRET", "short"),
        ("RUNNINGHUB_API_KEY", "short"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=rf"\b{name}\b"):
        load_settings({name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ENVIRONMENT", "staging", "must be one of development, production"),
        (
            "ALLOW_UNSAFE",
            "BACKEND_URL, TICKET_REQUIRED",
            f"must be some of {', '.join(NETWORK)}, separated by commas",
        ),
        ("LOG_LEVEL", "nope", "must be one of DEBUG, ERROR, INFO, WARNING"),
        ("LOG_FORMAT", "xml", "must be one of json, text, or not set"),
        ("AUDIT_SUSPECT", "nope", "must be one of allow, block"),
        ("RUNNINGHUB_API", "v3", "must be one of v1, v2"),
        ("TICKET_REQUIRED", "perhaps", "must be true or false"),
        ("WORK_CONCURRENCY", "0", "must be a whole number from 1 to 1000"),
        ("DRAIN_IDLE_S", "0", "must be a number of seconds above 0, to 60"),
        ("UPLOAD_LIMIT_S", "1h", "must be a number of seconds from 0 to 1000000"),
        ("BACKEND_URL", "backend.internal", "must be an http or https URL without query or fragment"),
        ("BROKER_TENANT", "a tenant", "must be letters, digits and . _ = : -"),
        ("FETCH_HOSTS", "https://x/", "must be host names, separated by commas; *. before one takes all below it"),
        ("FETCH_PRIVATE_HOSTS", "x", "must be host:port pairs, separated by commas"),
        ("COS_BUCKET", "noappid", "must be a bucket's name with the appid, such as name-1250000000"),
        ("LEDGER_BUCKET", "-1250000000", "must be a bucket's name with the appid, such as name-1250000000"),
        ("LEDGER_BUCKET", "Name-1250000000", "must be a bucket's name with the appid, such as name-1250000000"),
        ("TENCENTCLOUD_REGION", "ap nowhere", "must be a region's name, such as ap-guangzhou"),
        ("TICKET_SECRET", "short", "has 5 bytes, and verifying tickets needs 32"),
        ("TICKET_SECRET", "8 bytes.", "has 8 bytes, and verifying tickets needs 32"),
        ("TICKET_SECRET", "x" * 31, "has 31 bytes, and verifying tickets needs 32"),
    ],
)
def test_a_refusal_tells_what_is_allowed(name: str, value: str, said: str) -> None:
    with pytest.raises(BadSettings) as raised:
        load_settings({name: value})
    assert str(raised.value) == f"{name} {said}"


def test_a_ticket_secret_is_measured_in_bytes() -> None:
    assert load_settings({"TICKET_SECRET": "\u00e9" * 16}).ticket_secret


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SECRETS])
def test_every_refusal_is_a_sentence_without_the_value(name: str) -> None:
    try:
        load_settings({name: " <nothing> "})
    except BadSettings as error:
        said = str(error)
        assert said.startswith(f"{name} must be ")
        assert not re.search(r"nothing|[\^$\\]|be text", said)


def test_the_ledger_has_a_bucket_of_its_own() -> None:
    with pytest.raises(BadSettings, match=r"^LEDGER_BUCKET and COS_BUCKET "):
        load_settings({"COS_BUCKET": "one-1250000000", "LEDGER_BUCKET": "one-1250000000"})


def test_a_refusal_does_not_tell_the_secrets() -> None:
    with pytest.raises(BadSettings) as raised:
        load_settings({"TICKET_SECRET": "s3cr", "INTERNAL_CALLBACK_SECRET": PLANTED})
    assert "s3cr" not in str(raised.value)
    with pytest.raises(BadSettings) as raised:
        load_settings({"INTERNAL_CALLBACK_SECRET": PLANTED, "LOG_LEVEL": "x"})
    assert PLANTED not in str(raised.value) + repr(raised.value) + repr(raised.value.__cause__)


def planted(name: str) -> str:
    """A secret in the form that its variable has."""
    if name == "MESSAGE_KEYS":
        return f"k1:*:{PLANTED}"
    return f"second={PLANTED}" if name.endswith("_API_KEYS") else PLANTED


# ---- secrets from files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"  {planted(name)}\n", encoding="utf-8")
    settings = load_settings({f"{name}_FILE": str(file)})
    assert getattr(settings, name.lower()).reveal() == planted(name)


def test_the_file_goes_before_the_value(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(PLANTED, encoding="utf-8")
    settings = load_settings({"TICKET_SECRET": "another-secret-of-tests", "TICKET_SECRET_FILE": str(file)})
    assert settings.ticket_secret.reveal() == PLANTED


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "bucket"
    file.write_text("bucket-1", encoding="utf-8")
    assert load_settings({"COS_BUCKET_FILE": str(file)}).cos_bucket == ""


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\xfd\xfc", b"abc"])
def test_a_file_that_cannot_be_used_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettings, match="RUNNINGHUB_API_KEY"):
        load_settings({"RUNNINGHUB_API_KEY_FILE": str(file)})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="TICKET_SECRET_FILE"):
        load_settings({"TICKET_SECRET_FILE": str(tmp_path)})


# ---- secrets stay in -------------------------------------------------------------------------------------------------


def planted_settings() -> Settings:
    return load_settings({**{name: planted(name) for name in SECRETS}, "ENVIRONMENT": "development"})


def test_printing_settings_shows_no_secret() -> None:
    settings = planted_settings()
    shown = [repr(settings), str(settings), f"{settings}", repr(msgspec.structs.asdict(settings))]
    assert all(PLANTED not in text for text in shown)
    assert all(text.count(MASK) == len(SECRETS) for text in shown)


def test_settings_cannot_be_carried_away() -> None:
    settings = planted_settings()
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
    with pytest.raises(TypeError):
        pickle.dumps(settings)


def test_a_loaded_secret_is_masked_in_every_log_line() -> None:
    planted_settings()
    stream = io.StringIO()
    undo = logs.setup(stream, "INFO", "settings-tests")
    try:
        logs.get("tests.settings").info(Event.WORKER_STARTED, note=f"the key is {PLANTED}", settings=planted_settings())
        logs.get("tests.settings").error(Event.STAGE_FAILED, error=ValueError(f"bad answer for {PLANTED}"))
    finally:
        undo()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["worker.started", "stage.failed"]
    assert PLANTED not in stream.getvalue()
    assert MASK in lines[0]["note"]


# ---- what a role cannot do without -----------------------------------------------------------------------------------


def test_everything_that_is_missing_is_named_at_once() -> None:
    require(load_settings({"BACKEND_URL": "https://x", "TICKET_SECRET": PLANTED}), "backend_url", "ticket_secret")
    with pytest.raises(BadSettings, match=r"^set BROKER_URL, TICKET_SECRET ") as raised:
        require(load_settings({"COS_BUCKET": "b-1"}), "broker_url", "cos_bucket", "ticket_secret")
    assert "COS_BUCKET" not in str(raised.value)


def test_settings_do_not_change() -> None:
    settings: Any = Settings()
    with pytest.raises(AttributeError):
        settings.ticket_required = False
