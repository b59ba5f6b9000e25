"""The doctor against the stand-ins: no fault at first, then each broken part is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from console.cli.cos.work import set_up_buckets
from console.doctor.doctor import Finding, examine
from console.processes.handlers import HANDLERS
from runtime.settings import REQUIRED, SECRETS, Settings
from sandbox.environment import Sandbox
from services.objects import checks, video_checks
from tests.support.forked import run_console
from tests.telemetry.collectors import grpc_collector, http_collector

ROOT: Final = Path(__file__).parents[2]

BROKEN: Final[Mapping[str, tuple[Mapping[str, str], ...]]] = {
    "ENVIRONMENT": ({"ENVIRONMENT": "staging"},),
    "ALLOW_UNSAFE": ({"ALLOW_UNSAFE": "TICKET_REQUIRED"},),
    "BROKER_URL": (
        {"BROKER_URL": ""},
        {"BROKER_URL": "redis://127.0.0.1"},
        {"BROKER_URL": "sqlite://no-slash"},
        {"BROKER_URL": f"sqlite://{__file__}/broker.db"},
        {"BROKER_URL": "pulsar://127.0.0.1:9"},
    ),
    "BROKER_TOKEN": ({"BROKER_TOKEN_FILE": "/nowhere/token"}, {"BROKER_TOKEN": "short"}),
    "BROKER_TENANT": ({"BROKER_TENANT": "a tenant"},),
    "BROKER_NAMESPACE": ({"BROKER_NAMESPACE": "a/b"},),
    "BROKER_ADMIN_URL": ({"BROKER_ADMIN_URL": "nonsense"},),
    "BROKER_TLS_CA": ({"BROKER_TLS_CA": "/nowhere/ca.pem"}, {"BROKER_TLS_CA": __file__}),
    "MESSAGE_KEYS": ({"MESSAGE_KEYS": "nonsense"}, {"MESSAGE_KEYS": "k1:*:short"}),
    "MESSAGE_UNSIGNED": ({"MESSAGE_UNSIGNED": "perhaps"},),
    "TENCENTCLOUD_REGION": ({"TENCENTCLOUD_REGION": "ap nowhere"}, {"TENCENTCLOUD_REGION": "ap-nowhere"}),
    "TENCENTCLOUD_SECRET_ID": ({"TENCENTCLOUD_SECRET_ID": ""}, {"TENCENTCLOUD_SECRET_ID": "AKIDofSomebodyElse"}),
    "TENCENTCLOUD_SECRET_KEY": (
        {"TENCENTCLOUD_SECRET_KEY": ""},
        {"TENCENTCLOUD_SECRET_KEY": "wrong-wrong-wrong"},
        {"TENCENTCLOUD_SECRET_KEY_FILE": "/nowhere/key"},
    ),
    "COS_BUCKET": ({"COS_BUCKET": ""}, {"COS_BUCKET": "other-1250000000"}, {"COS_BUCKET": "no bucket"}),
    "LEDGER_BUCKET": ({"LEDGER_BUCKET": ""}, {"LEDGER_BUCKET": "other-1250000000"}),
    "COS_CORS_ORIGINS": ({"COS_CORS_ORIGINS": "shop.example"},),
    "INPUT_DAYS": ({"INPUT_DAYS": "1"},),
    "OUTPUT_DAYS": ({"OUTPUT_DAYS": "-1"},),
    "OUTPUT_TRANSITIONS": ({"OUTPUT_TRANSITIONS": "30:COLD"},),
    "LEDGER_DAYS": ({"LEDGER_DAYS": "30"},),
    "COS_ENDPOINT": ({"COS_ENDPOINT": "http://127.0.0.1:9"}, {"COS_ENDPOINT": "nonsense"}),
    "AUDIT_SUSPECT": ({"AUDIT_SUSPECT": "perhaps"},),
    "AUDIT_INPUTS": ({"AUDIT_INPUTS": "perhaps"},),
    "AUDIT_SUSPECT_INPUTS": ({"AUDIT_SUSPECT_INPUTS": "perhaps"},),
    "BACKEND_URL": ({"BACKEND_URL": ""}, {"BACKEND_URL": "http://127.0.0.1:9"}, {"BACKEND_URL": "nonsense"}),
    "INTERNAL_CALLBACK_SECRET": (
        {"INTERNAL_CALLBACK_SECRET": ""},
        {"INTERNAL_CALLBACK_SECRET": "another-secret-of-enough-bytes-for-it"},
    ),
    "CALLBACK_FORM": ({"CALLBACK_FORM": "letter"},),
    "TICKET_SECRET": ({"TICKET_SECRET": "too-short"}, {"TICKET_SECRET_FILE": "/nowhere/secret"}),
    "BACKEND_STATE": ({"BACKEND_STATE": "perhaps"},),
    "TICKET_REQUIRED": ({"TICKET_REQUIRED": "perhaps"},),
    "UPLOAD_LIMIT_S": ({"UPLOAD_LIMIT_S": "-1"}, {"UPLOAD_LIMIT_S": "an hour"}),
    "WEBHOOK_URL": (
        {"WEBHOOK_URL": "nonsense"},
        {"WEBHOOK_URL": "http://127.0.0.1:9"},
        {"WEBHOOK_URL": "{COS_ENDPOINT}"},
    ),
    "WEBHOOK_SECRET": ({"WEBHOOK_SECRET": "not-the-one-that-the-function-has"},),
    "RUNNINGHUB_URL": ({"RUNNINGHUB_URL": "nonsense"}, {"RUNNINGHUB_URL": "http://127.0.0.1:9"}),
    "RUNNINGHUB_API": ({"RUNNINGHUB_API": "v3"},),
    "RUNNINGHUB_API_KEY": (
        {"RUNNINGHUB_API_KEY": "wrong-key"},
        {"RUNNINGHUB_API_KEY": "wrong-key", "RUNNINGHUB_API": "v1"},
        {"RUNNINGHUB_API_KEY": ""},
    ),
    "RUNNINGHUB_LABEL": ({"RUNNINGHUB_LABEL": "Our Account"},),
    "RUNNINGHUB_API_KEYS": (
        {"RUNNINGHUB_API_KEYS": "a key without a label"},
        {"RUNNINGHUB_API_KEYS": "second=a-wrong-key-of-another-account"},
    ),
    "RUNNINGHUB_DRAINING": ({"RUNNINGHUB_DRAINING": "a-label-of-no-key"},),
    "AI_LABEL_PRODUCER": ({"AI_LABEL_PRODUCER": ""}, {"AI_LABEL_PRODUCER": "{brace}"}),
    "AI_LABEL_PROPAGATOR": ({"AI_LABEL_PROPAGATOR": "{brace}"},),
    "AI_LABEL_VISIBLE": ({"AI_LABEL_VISIBLE": "perhaps"},),
    "AI_LABEL_SECRET": ({"AI_LABEL_SECRET_FILE": "/nowhere/secret"},),
    "ARK_API_KEYS": ({"ARK_API_KEYS": "a key without a label"},),
    "ARK_DRAINING": ({"ARK_DRAINING": "a-label-of-no-key"},),
    "ARK_DAILY_CALLS": ({"ARK_DAILY_CALLS": "many"},),
    "RUNNINGHUB_DAILY_CALLS": ({"RUNNINGHUB_DAILY_CALLS": "-1"},),
    "ARK_LIMIT": ({"ARK_LIMIT": "-1"},),
    "RUNNINGHUB_LIMIT": ({"RUNNINGHUB_LIMIT": "-1"},),
    "VENDOR_PROCESSES": ({"VENDOR_PROCESSES": "0"},),
    "RUNNINGHUB_WORKFLOWS": (
        {"RUNNINGHUB_WORKFLOWS": ""},
        {"RUNNINGHUB_WORKFLOWS": "/nowhere"},
        {"RUNNINGHUB_WORKFLOWS": __file__},
    ),
    "VOD_URL": ({"VOD_URL": "nonsense"}, {"VOD_URL": "http://127.0.0.1:9"}),
    "VOD_SUB_APP_ID": ({"VOD_SUB_APP_ID": "our-application"}, {"VOD_SUB_APP_ID": "1"}),
    "VOD_LABEL": ({"VOD_LABEL": "Our Account"},),
    "VOD_LIMIT": ({"VOD_LIMIT": "-1"},),
    "VOD_DAILY_CALLS": ({"VOD_DAILY_CALLS": "-1"},),
    "VOD_MODEL": ({"VOD_MODEL": "a model"}, {"VOD_MODEL": "GG-9"}),
    "ARK_URL": ({"ARK_URL": "nonsense"}, {"ARK_URL": "http://127.0.0.1:9"}),
    "ARK_API_KEY": ({"ARK_API_KEY": "wrong-key"}, {"ARK_API_KEY_FILE": "/nowhere/key"}),
    "ARK_LABEL": ({"ARK_LABEL": "Our Account"},),
    "ARK_MODEL": ({"ARK_MODEL": "a model"},),
    "ARK_WATERMARK": ({"ARK_WATERMARK": "perhaps"},),
    "ARK_INPUTS": ({"ARK_INPUTS": "letters"},),
    "SCENES_FILE": ({"SCENES_FILE": "/nowhere/scenes.json"}, {"SCENES_FILE": __file__}),
    "FITTING_VENDOR": ({"FITTING_VENDOR": "runninghub"},),
    "TOKENHUB_URL": ({"TOKENHUB_URL": "nonsense"}, {"TOKENHUB_URL": "http://127.0.0.1:9"}),
    "TOKENHUB_MODEL": ({"TOKENHUB_MODEL": ""}, {"TOKENHUB_MODEL": "another"}),
    "TOKENHUB_API_KEY": ({"TOKENHUB_API_KEY": "wrong-key"}, {"TOKENHUB_API_KEY": ""}),
    "TOKENHUB_LABEL": ({"TOKENHUB_LABEL": "Our Account"},),
    "PROMPT_PATIENCE_S": ({"PROMPT_PATIENCE_S": "long"},),
    "VENDOR_EXPECTED_S": ({"VENDOR_EXPECTED_S": "soon"},),
    "DEADLINE_LIMIT_S": ({"DEADLINE_LIMIT_S": "-1"},),
    "VENDOR_FULL_PAUSE_S": ({"VENDOR_FULL_PAUSE_S": "1e9"},),
    "FETCH_HOSTS": ({"FETCH_HOSTS": "https://example.com/"},),
    "FETCH_PRIVATE_HOSTS": ({"FETCH_PRIVATE_HOSTS": "example.com"},),
    "SOURCE_HOSTS": ({"SOURCE_HOSTS": "https://example.com/"},),
    "SOURCE_PRIVATE_HOSTS": ({"SOURCE_PRIVATE_HOSTS": "example.com"},),
    "JWT_SECRET": ({"JWT_SECRET": "abc"},),
    "API_CORS_ORIGINS": ({"API_CORS_ORIGINS": "shop.example"},),
    "API_PER_MINUTE": ({"API_PER_MINUTE": "many"},),
    "WORK_CONCURRENCY": ({"WORK_CONCURRENCY": "many"}, {"WORK_CONCURRENCY": "0"}),
    "WORK_PREFETCH": ({"WORK_PREFETCH": "-1"},),
    "WORK_TOPICS": ({"WORK_TOPICS": "poll, walk"},),
    "DRAIN_IDLE_S": ({"DRAIN_IDLE_S": "0"},),
    "USER_CONCURRENCY": ({"USER_CONCURRENCY": "few"},),
    "HEALTH_FILE": ({"HEALTH_FILE": f"{__file__}/healthy"}, {"HEALTH_FILE": "/"}),
    "SHUTDOWN_GRACE_S": ({"SHUTDOWN_GRACE_S": "-1"},),
    "LOG_FORMAT": ({"LOG_FORMAT": "xml"},),
    "API_URL": ({"API_URL": "nonsense"},),
    "LOG_LEVEL": ({"LOG_LEVEL": "LOUD"},),
    "TRACE_FILE": ({"TRACE_FILE": f"{__file__}/trace.jsonl"}, {"TRACE_FILE": "/"}),
    "OTEL_EXPORTER_OTLP_ENDPOINT": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ({"OTEL_EXPORTER_OTLP_PROTOCOL": "udp"},),
    "OTEL_EXPORTER_OTLP_HEADERS": ({"OTEL_EXPORTER_OTLP_HEADERS": "Bearer planted-token"},),
    "OTEL_RESOURCE_ATTRIBUTES": ({"OTEL_RESOURCE_ATTRIBUTES": "token=fine, planted-token"},),
    "OTEL_METRICS_EXPORTER": ({"OTEL_METRICS_EXPORTER": "perhaps"},),
}
"""Variable -> environments in which only it is broken; `{COS_ENDPOINT}` becomes a wrong server's address."""

ANYTHING: Final = {
    "COS_AUDIT_TEXT_BIZ_TYPE": "the same",
    "COS_AUDIT_VIDEO_BIZ_TYPE": "the same",
    "COS_AUDIT_BIZ_TYPE": "the stand-in knows no policies; an audit that fails names it, see below",
    "OTEL_SERVICE_NAME": "any name is one",
}
"""Variables that cannot be broken here, and why."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), HANDLERS) as started:
        set_up_buckets(started.environ)
        yield started


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let five writers race, and wait for no job of a video, except in the sound deployment: see test_checks."""
    if request.function is not test_a_sound_deployment_is_all_well:
        monkeypatch.setattr(checks, "RACERS", 5)
        monkeypatch.setattr(video_checks, "WAIT_S", 0.0)


def _examine(environ: Mapping[str, str]) -> dict[str, Finding]:
    return {finding.name: finding for finding in asyncio.run(examine(environ))}


def _silent(sandbox: Sandbox) -> dict[str, str]:
    """Its environment without a webhook, whose check would start a process."""
    return {**sandbox.environ, "WEBHOOK_URL": ""}


def _bad(environ: Mapping[str, str]) -> list[Finding]:
    return [finding for finding in _examine(environ).values() if finding.ok is False]


def test_a_sound_deployment_is_all_well(sandbox: Sandbox) -> None:
    found = _examine(sandbox.environ)
    assert [name for name, finding in found.items() if not finding.ok] == []
    assert {"broker", "data bucket", "audit", "ledger: create-only", "clock", "backend"} <= set(found)
    assert {"callbacks", "backlog"} <= set(found)
    assert found["video audit"].detail == "a video was audited"
    assert found["video labels"].detail == "a video was labelled"
    assert {"webhook", "runninghub", "ark", "vod", "tickets"} <= set(found)


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_required_and_not_set_is_told_and_nothing_else_is_asked(sandbox: Sandbox, name: str) -> None:
    (bad,) = _bad({**sandbox.environ, name: ""})
    assert (bad.name, bad.detail) == (name, "not set")


def test_what_rests_on_the_bucket_when_no_ticket_is_asked_for_is_pointed_at(sandbox: Sandbox) -> None:
    assert "TICKET_REQUIRED" not in _examine(_silent(sandbox))["tickets"].detail
    assert "TICKET_REQUIRED" in _examine({**_silent(sandbox), "TICKET_REQUIRED": "false"})["tickets"].detail


def test_tickets_without_a_secret_of_their_own_are_told(sandbox: Sandbox) -> None:
    found = _examine({**_silent(sandbox), "TICKET_SECRET": ""})["tickets"]
    assert (found.ok, found.detail, "TICKET_SECRET" in found.remedy) == (False, "TICKET_SECRET is not set", True)
    assert _examine({**_silent(sandbox), "TICKET_SECRET": "", "TICKET_REQUIRED": "false"})["tickets"].ok


def test_in_production_each_variable_that_only_a_sandbox_may_have_is_named(sandbox: Sandbox) -> None:
    unsafe = {
        "ENVIRONMENT": "",
        "TICKET_REQUIRED": "false",
        "BACKEND_URL": "http://backend.example",
        "RUNNINGHUB_URL": "http://vendor.example",
        "ALLOW_UNSAFE": "RUNNINGHUB_URL",
    }
    assert {finding.name for finding in _bad({**sandbox.environ, **unsafe})} == {"TICKET_REQUIRED", "BACKEND_URL"}


def test_in_production_secrets_that_are_equal_are_named(sandbox: Sandbox) -> None:
    same = {"ENVIRONMENT": "", "WEBHOOK_SECRET": sandbox.environ["TICKET_SECRET"]}
    (bad,) = _bad({**sandbox.environ, **same})
    assert "TICKET_SECRET and WEBHOOK_SECRET have the same value" in bad.detail


def test_a_ledger_in_the_bucket_of_the_pictures_is_refused(sandbox: Sandbox) -> None:
    (bad,) = _bad({**_silent(sandbox), "LEDGER_BUCKET": sandbox.environ["COS_BUCKET"]})
    assert "LEDGER_BUCKET and COS_BUCKET name the same bucket" in bad.detail


def test_topics_that_exist_are_well(sandbox: Sandbox) -> None:
    assert _bad({**_silent(sandbox), "WORK_TOPICS": "poll, wake"}) == []


def test_the_vendors_older_interface_is_well_too(sandbox: Sandbox) -> None:
    assert _bad({**_silent(sandbox), "RUNNINGHUB_API": "v1"}) == []


def test_a_vendor_that_is_not_meant_is_not_examined(sandbox: Sandbox) -> None:
    assert "ark" not in _examine({**_silent(sandbox), "ARK_API_KEY": ""})


def test_every_variable_is_broken_here() -> None:
    assert {field.encode_name for field in msgspec.structs.fields(Settings)} == {*BROKEN, *ANYTHING}
    assert not set(BROKEN) & set(ANYTHING)


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, changes in BROKEN.items() for change in changes],
    ids=[f"{name}-{number}" for name, changes in BROKEN.items() for number in range(len(changes))],
)
def test_each_broken_setting_is_named_with_a_remedy(sandbox: Sandbox, name: str, change: Mapping[str, str]) -> None:
    # The check of the webhook's path starts the webhook's function: half a second.
    asked = {} if name.startswith("WEBHOOK") else {"WEBHOOK_URL": ""}
    change = {key: value.replace("{COS_ENDPOINT}", sandbox.environ["COS_ENDPOINT"]) for key, value in change.items()}
    bad = _bad({**sandbox.environ, **asked, **change})
    assert any(name in f"{finding.name} {finding.detail} {finding.remedy}" for finding in bad)
    assert all(finding.remedy for finding in bad)
    reported = " ".join(f"{finding.detail} {finding.remedy}" for finding in bad)
    assert not [value for key, value in change.items() if key in SECRETS and value and value in reported]
    assert "planted-token" not in reported


def test_what_one_setting_breaks_leaves_the_rest_well(sandbox: Sandbox) -> None:
    bad = _bad({**_silent(sandbox), "RUNNINGHUB_API_KEY": "wrong-key"})
    assert [finding.name for finding in bad] == ["runninghub"]


def test_a_vendor_that_fails_by_itself_is_not_a_wrong_key(sandbox: Sandbox) -> None:
    sandbox.arm("runninghub", {"on": "queue", "kind": "error", "status": 503})
    (bad,) = _bad(_silent(sandbox))
    assert bad.name == "runninghub"
    assert "key and address need no change" in bad.remedy
    assert "RUNNINGHUB_API_KEY" not in bad.remedy


def test_a_broker_of_an_unknown_kind_is_not_set_well(sandbox: Sandbox) -> None:
    (bad,) = _bad({**sandbox.environ, "BROKER_URL": "redis://127.0.0.1"})
    assert (bad.name, "redis" in bad.detail) == ("BROKER_URL", True)


def test_a_callback_route_that_takes_any_signature_is_named(sandbox: Sandbox) -> None:
    sandbox.arm("backend", {"on": "callback", "status": 200, "times": 2})
    before = sandbox.quota_account()
    (bad,) = _bad(_silent(sandbox))
    assert (bad.name, "wrong signature" in bad.detail) == ("callbacks", True)
    after = sandbox.quota_account()
    assert (after["charged"], after["refunded"]) == (before["charged"], before["refunded"])


def test_a_callback_route_that_fails_is_named(sandbox: Sandbox) -> None:
    sandbox.arm("backend", {"on": "callback", "status": 500, "times": 2})
    (bad,) = _bad(_silent(sandbox))
    assert (bad.name, "500" in bad.detail) == ("callbacks", True)


def _unexamined(found: Mapping[str, Finding]) -> dict[str, str]:
    return {name: finding.detail for name, finding in found.items() if finding.ok is None}


def test_a_wrong_key_is_told_once_for_each_bucket_by_its_first_call(sandbox: Sandbox) -> None:
    found = _examine({**_silent(sandbox), "TENCENTCLOUD_SECRET_KEY": "wrong-wrong-wrong"})
    bad = [name for name, finding in found.items() if finding.ok is False]
    assert bad == ["data bucket", "ledger: versioning", "ledger: create-only", "vod"]
    assert all("TENCENTCLOUD_SECRET_KEY" in found[name].remedy for name in bad)
    assert "put 'staging/doctor/" in found["data bucket"].detail
    assert "put_new 'doctor/" in found["ledger: create-only"].detail
    others = ("picture service", "audit", "video audit", "video labels", "clock", "data bucket: rules", "AI labels")
    assert _unexamined(found) == {
        **dict.fromkeys(others, "not examined: see data bucket"),
        "ledger: rules": "not examined: see ledger: versioning",
    }


def test_what_the_picture_service_breaks_is_not_laid_on_the_audit(sandbox: Sandbox) -> None:
    sandbox.arm("cos", {"kind": "unavailable", "method": "POST", "key": r"^staging/doctor/.*\.png$"})
    found = _examine(_silent(sandbox))
    assert [name for name, finding in found.items() if finding.ok is False] == ["picture service"]
    assert _unexamined(found) == dict.fromkeys(("audit", "AI labels"), "not examined: see picture service")


def test_an_audit_that_is_refused_names_its_policy(sandbox: Sandbox) -> None:
    sandbox.arm("cos", {"kind": "forbidden", "method": "POST", "key": "^image/auditing$"})
    (bad,) = _bad(_silent(sandbox))
    assert bad.name == "audit"
    assert "COS_AUDIT_BIZ_TYPE" in bad.remedy


@pytest.mark.parametrize(
    ("name", "place", "right"),
    [
        ("video audit", "^video/auditing", "ci:CreateAuditingVideoJob"),
        ("video labels", "^jobs", "ci:CreateMediaJobs"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_job_of_a_video_that_is_refused_names_the_right(
    sandbox: Sandbox, name: str, place: str, right: str, method: str
) -> None:
    sandbox.arm("cos", {"kind": "forbidden", "method": method, "key": place})
    (bad,) = _bad(_silent(sandbox))
    assert (bad.name, right in bad.remedy) == (name, True)


@pytest.mark.parametrize(("collector", "protocol"), [(grpc_collector, "grpc"), (http_collector, "http/protobuf")])
def test_a_collector_that_takes_a_span_is_well(sandbox: Sandbox, collector: Any, protocol: str) -> None:
    with collector() as received:
        environ = {
            **_silent(sandbox),
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        assert _examine(environ)["collector"].ok
        assert [span.name for span in received.spans] == ["handle doctor"]


def test_on_the_platform_sandbox_settings_are_refused(sandbox: Sandbox) -> None:
    bad = {
        finding.name for finding in _bad({**sandbox.environ, "TENCENTCLOUD_RUNENV": "SCF", "TICKET_REQUIRED": "false"})
    }
    refused = ("ENVIRONMENT", "COS_ENDPOINT", "BROKER_URL", "TICKET_REQUIRED", "TRACE_FILE")
    hosts = ("FETCH_PRIVATE_HOSTS", "SOURCE_PRIVATE_HOSTS")
    urls = (
        "BACKEND_URL",
        "RUNNINGHUB_URL",
        "ARK_URL",
        "VOD_URL",
        "TOKENHUB_URL",
        "WEBHOOK_URL",
    )
    assert {f"{name} on SCF" for name in (*refused, *hosts, *urls)} == bad


def test_no_secret_is_in_what_it_says(sandbox: Sandbox) -> None:
    found = _examine({**sandbox.environ, "INTERNAL_CALLBACK_SECRET": "planted-secret-of-enough-bytes-for-all"})
    reported = " ".join(f"{finding.detail} {finding.remedy}" for finding in found.values())
    for name in ("TENCENTCLOUD_SECRET_KEY", "TICKET_SECRET", "RUNNINGHUB_API_KEY", "ARK_API_KEY"):
        assert sandbox.environ[name] not in reported
    assert "planted-secret" not in reported


@pytest.mark.parametrize(("change", "status"), [({}, 0), ({"LOG_LEVEL": "LOUD"}, 1)])
def test_the_command_says_the_same_to_machines(sandbox: Sandbox, change: Mapping[str, str], status: int) -> None:
    done, printed, _ = run_console(["doctor", "--json"], ROOT, {**sandbox.environ, **change})
    assert done == status
    reported = json.loads(printed)
    assert reported["ok"] is (status == 0)
    assert [finding["name"] for finding in reported["findings"] if not finding["ok"]] == list(change)
