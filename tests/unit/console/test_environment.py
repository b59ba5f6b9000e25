"""The environment of a command has one source: the process's own, or a file that its user alone may write."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import pytest

from console.cli.environment import ENV_FILE, read_env_file, use_environment
from runtime.errors import BadSettings
from sandbox.environment import APPID

PRODUCTION: Final = {
    "RUNNINGHUB_API_KEY": "the-key-of-a-deployment-that-pays",
    "TENCENTCLOUD_SECRETID": "AKIDofaroleinproduction",
    "TENCENTCLOUD_SESSIONTOKEN": "the-token-of-a-role",
    "BROKER_TOKEN_FILE": "/run/secrets/broker",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=the-collector's-key",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the file that a sandbox leaves, and a process that has a deployment's keys."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    ENV_FILE.parent.mkdir()
    write(f"BROKER_URL=sqlite:///x.db\nCOS_BUCKET=photos-{APPID}\nPATH=/evil\nLD_PRELOAD=/evil.so\n")
    return tmp_path


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def write(text: str, mode: int = 0o600) -> None:
    ENV_FILE.write_text(text, encoding="utf-8")
    ENV_FILE.chmod(mode)


@pytest.mark.usefixtures("folder")
def test_no_key_of_the_process_is_mixed_with_a_file_that_was_found() -> None:
    assert use_environment(None) == ENV_FILE
    assert environ() == {"BROKER_URL": "sqlite:///x.db", "COS_BUCKET": f"photos-{APPID}", "PATH": "/usr/bin"}


@pytest.mark.usefixtures("folder")
def test_no_key_of_the_process_is_mixed_with_a_file_that_was_named() -> None:
    write("BACKEND_URL=https://backend.example\nSSL_CERT_FILE=/etc/ca.pem\nPATH=/evil\n", 0o644)
    assert use_environment(ENV_FILE.absolute()) == ENV_FILE.absolute()
    expected = {"BACKEND_URL": "https://backend.example", "SSL_CERT_FILE": "/etc/ca.pem", "PATH": "/usr/bin"}
    assert environ() == expected


@pytest.mark.usefixtures("folder")
def test_what_belongs_to_one_process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    write("BROKER_URL=sqlite:///x.db\nHEALTH_FILE=of-the-file\nLOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("HEALTH_FILE", "of-the-process")
    use_environment(None)
    assert environ() == {
        "BROKER_URL": "sqlite:///x.db",
        "PATH": "/usr/bin",
        "HEALTH_FILE": "of-the-process",
        "LOG_LEVEL": "DEBUG",
    }


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o666, 0o644])
def test_a_file_that_others_may_read_or_write_is_not_used_unless_it_is_named(mode: int) -> None:
    write("BROKER_URL=sqlite:///x.db\n", mode)
    before = environ()
    with pytest.raises(BadSettings, match=re.escape("chmod 600 .sandbox/env")):
        use_environment(None)
    assert environ() == before


@pytest.mark.usefixtures("folder")
def test_a_file_of_another_user_is_not_used_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(BadSettings, match="belongs to another user"):
        use_environment(None)


@pytest.mark.usefixtures("folder")
def test_a_file_that_was_found_has_no_further_file_read() -> None:
    write("RUNNINGHUB_URL=https://evil.example\nRUNNINGHUB_API_KEY_FILE=/home/me/.ssh/id_ed25519\n")
    with pytest.raises(BadSettings, match="RUNNINGHUB_API_KEY_FILE"):
        use_environment(None)


@pytest.mark.usefixtures("folder")
def test_a_file_is_not_looked_for_where_the_process_has_its_own_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "pulsar+ssl://broker:6651")
    before = environ()
    assert use_environment(None) is None
    assert environ() == before


@pytest.fixture
def bare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, in a process without keys of a deployment."""
    for name in PRODUCTION:
        monkeypatch.delenv(name)
    return folder


@pytest.mark.usefixtures("bare")
def test_the_file_is_used_where_the_process_names_the_same_broker_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BROKER_URL", "sqlite:///x.db")
    monkeypatch.setenv("BROKER_ADMIN_URL", "http://127.0.0.1:8080")
    assert use_environment(None) == ENV_FILE
    assert environ() == {"BROKER_URL": "sqlite:///x.db", "COS_BUCKET": f"photos-{APPID}", "PATH": "/usr/bin"}


@pytest.mark.usefixtures("bare")
def test_the_file_of_another_broker_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER_URL", "pulsar://127.0.0.1:6650")
    assert use_environment(None) is None
    assert "COS_BUCKET" not in os.environ
    assert f"another broker than {ENV_FILE}" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_the_file_is_not_used_beside_keys_though_the_broker_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "sqlite:///x.db")
    assert use_environment(None) is None


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA_NAME=value\r\nB_NAME='a b'\r\n")
    assert read_env_file(file) == {"A_NAME": "value", "B_NAME": "a b"}


def test_a_file_in_another_encoding_is_named_with_its_encoding(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes("A=b\n".encode("utf-16"))
    with pytest.raises(BadSettings, match="it is UTF-16: save it as UTF-8"):
        read_env_file(file)
