"""Settings that production refuses, each rule with its remedy, and settings that a development environment may have."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.processes.handlers import HANDLERS
from runtime.errors import BadSettings
from runtime.settings import SECRETS, Settings, load_settings
from runtime.settings_rules import NETWORK, SIGNING, hosts_of, is_loopback, is_metadata
from sandbox.environment import Sandbox

KEY = "a-key-of-the-tests-of-rules-"
METADATA = (
    "169.254.169.254",
    "169.254.0.23",
    "169.254.169.254.",
    "2852039166",
    "0xA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "\uff11\uff16\uff19.254.169.254",
    "Metadata.TencentYun.com",
    "metadata.google.internal",
)
LOOPBACK = ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "broker.localhost", "[::1]", "2130706433", "0x7f000001")
HTTP = [name for name in NETWORK if name.endswith(("_URL", "_ENDPOINT"))]

REFUSED: list[tuple[Mapping[str, str], str]] = [
    *(
        ({name: "x" * 31}, f"{name} has 31 bytes, and signing needs 32: ")
        for name in SIGNING
        if name != "TICKET_SECRET"  # refused everywhere
    ),
    ({"TICKET_SECRET": KEY * 2, "WEBHOOK_SECRET": KEY * 2}, "TICKET_SECRET and WEBHOOK_SECRET have the same value: "),
    ({"RUNNINGHUB_API_KEY": KEY, "BROKER_TOKEN": KEY}, "BROKER_TOKEN and RUNNINGHUB_API_KEY have the same value: "),
    (
        {"TICKET_SECRET": KEY * 2, "MESSAGE_KEYS": f"k1:*:{KEY * 2}"},
        "TICKET_SECRET and MESSAGE_KEYS (k1) have the same value: ",
    ),
    (
        {"MESSAGE_KEYS": f"k2:*:{KEY * 2},w1:wake:{KEY * 2}"},
        "MESSAGE_KEYS (k2) and MESSAGE_KEYS (w1) have the same value: ",
    ),
    ({"TICKET_REQUIRED": "false"}, "TICKET_REQUIRED is false, "),
    *(({name: "http://service.example:8080"}, f"{name} is plain http to another machine, ") for name in HTTP),
    ({"BACKEND_URL": "http://127.0.0.1.example"}, "BACKEND_URL is plain http to another machine, "),
    ({"BACKEND_URL": "http://127.0.0.1@service.example"}, "BACKEND_URL is plain http to another machine, "),
    ({"BACKEND_URL": "http://[broken"}, "BACKEND_URL is plain http to another machine, "),
    ({"BROKER_URL": "pulsar://broker.example:6650", "BROKER_TOKEN": KEY}, "BROKER_URL is pulsar:// to another "),
    ({"BROKER_URL": "pulsar://127.0.0.1:6650,b.example:6650", "BROKER_TOKEN": KEY}, "BROKER_URL is pulsar:// "),
    ({"FETCH_HOSTS": "cdn.example.com, *.com"}, "FETCH_HOSTS lists *.com, under which anybody may have a host: "),
    ({"FETCH_HOSTS": "*.com.cn"}, "FETCH_HOSTS lists *.com.cn, under which anybody may have a host: "),
    *(({"BACKEND_URL": f"https://{host}/"}, "BACKEND_URL leads to an address of a cloud's") for host in METADATA),
    ({"FETCH_HOSTS": "169.254.169.254"}, "FETCH_HOSTS lists 169.254.169.254, an address of a cloud's metadata: "),
    ({"FETCH_PRIVATE_HOSTS": "0xA9FEA9FE:443"}, "FETCH_PRIVATE_HOSTS lists 0xA9FEA9FE:443, an address of a cloud's"),
    ({"FETCH_PRIVATE_HOSTS": "10.0.0.1:80"}, "FETCH_PRIVATE_HOSTS lists 10.0.0.1:80, which may speak plain http: "),
]


@pytest.mark.parametrize(("environ", "said"), REFUSED)
def test_production_refuses_by_name_with_a_remedy(environ: Mapping[str, str], said: str) -> None:
    for production in ({}, {"ENVIRONMENT": "production"}):
        with pytest.raises(BadSettings) as raised:
            load_settings({**production, **environ})
        text = str(raised.value)
        assert text.startswith(said)
        assert ": " in text.removeprefix(said[:-2])
        assert KEY not in text
    load_settings({**environ, "ENVIRONMENT": "development"})


@pytest.mark.parametrize(("environ", "said"), [row for row in REFUSED if row[1].partition(" ")[0] in NETWORK])
def test_what_is_named_as_allowed_is_accepted(environ: Mapping[str, str], said: str) -> None:
    name = said.partition(" ")[0]
    load_settings({**environ, "ALLOW_UNSAFE": name})
    load_settings({**environ, "ALLOW_UNSAFE": f"COS_ENDPOINT, {name} "})
    with pytest.raises(BadSettings, match=f"or allow it with ALLOW_UNSAFE={name}"):
        load_settings({**environ, "ALLOW_UNSAFE": next(other for other in NETWORK if other != name)})


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_always_allowed(name: str, host: str) -> None:
    url = f"http://{host}:8080"
    assert msgspec.to_builtins(load_settings({name: url}), enc_hook=str)[name] == url


@pytest.mark.parametrize(
    "environ",
    [
        {"BROKER_URL": "pulsar+ssl://broker.example:6651", "BROKER_TOKEN": KEY},
        {"BROKER_URL": "pulsar://broker.example:6650"},
        {"BROKER_URL": "pulsar://127.0.0.1:6650", "BROKER_TOKEN": KEY},
        {"BROKER_URL": "sqlite:///tmp/broker.db", "BROKER_TOKEN": KEY},
        {"FETCH_HOSTS": "*.example.com, cdn.example.org, *.example.com.cn"},
        {"FETCH_PRIVATE_HOSTS": "data-1250000000.cos.ap-guangzhou.myqcloud.com:443, 127.0.0.1:8080"},
        {"INTERNAL_CALLBACK_SECRET": "\u00e9" * 16, "WEBHOOK_SECRET": "x" * 32},
        {"BACKEND_URL": "https://service.example"},
    ],
)
def test_what_is_safe_is_accepted(environ: Mapping[str, str]) -> None:
    assert load_settings(environ) != load_settings({})


def test_every_broken_rule_is_named_at_once() -> None:
    with pytest.raises(BadSettings, match=r"TICKET_REQUIRED .*; BACKEND_URL .*; FETCH_HOSTS "):
        load_settings({"TICKET_REQUIRED": "false", "BACKEND_URL": "http://x.example", "FETCH_HOSTS": "*.com"})


def test_every_variable_that_names_a_host_has_rules() -> None:
    names = [field.encode_name for field in msgspec.structs.fields(Settings)]
    assert set(NETWORK) == {name for name in names if name.endswith(("_URL", "_ENDPOINT", "_HOSTS"))}
    assert set(SIGNING) == {name for name in names if name.endswith("_SECRET")}


@given(st.ip_addresses(v=4))
def test_an_address_is_the_same_in_all_its_forms(address: ipaddress.IPv4Address) -> None:
    forms = (
        str(address),
        str(int(address)),
        hex(int(address)),
        f"::ffff:{address}",
        f"[::ffff:{address}]",
        f"{address}.",
    )
    assert {is_loopback(form) for form in forms} == {address.is_loopback}
    assert {is_metadata(form) for form in forms} == {address in ipaddress.ip_network("169.254.0.0/16")}


@given(st.text())
def test_no_text_breaks_the_rules(text: str) -> None:
    for host in (text, *hosts_of(f"http://{text}")):
        assert not (is_loopback(host) and is_metadata(host))


def test_a_sandbox_is_a_development_environment_with_a_key_for_each_purpose(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"secret_id": "AKIDkept", "ticket": KEY * 2}), encoding="utf-8")
    with Sandbox(tmp_path, HANDLERS) as sandbox:
        first = sandbox.environ
    with Sandbox(tmp_path, HANDLERS) as sandbox:
        second = sandbox.environ
    assert first["ENVIRONMENT"] == "development"
    assert (first["TENCENTCLOUD_SECRET_ID"], first["TICKET_SECRET"]) == ("AKIDkept", KEY * 2)
    assert [first[name] for name in SIGNING] == [second[name] for name in SIGNING]
    load_settings({name: first[name] for name in SECRETS if name in first})  # good enough for production
