"""`scf-workers cos setup` and the doctor against the stand-in of COS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from console.cli.cos.work import set_up_buckets
from console.doctor.doctor import Finding, examine
from console.processes.handlers import HANDLERS
from runtime.buckets import open_buckets
from runtime.settings import load_settings
from sandbox.environment import Sandbox
from services.objects import checks, video_checks
from services.objects.bucket.difference import Document, Section
from tests.support.forked import run_console

OWN_RULE = {
    "ID": "ours since 2020",
    "Filter": {"And": {"Prefix": "logs/", "Tag": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}},
    "Status": "Enabled",
    "Transition": [{"Days": "30", "StorageClass": "STANDARD_IA"}, {"Days": "90", "StorageClass": "ARCHIVE"}],
}
OWN_CORS = {"ID": "report", "AllowedOrigin": ["https://bi.example"], "AllowedMethod": ["GET"], "MaxAgeSeconds": "5"}


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(checks, "RACERS", 5)
    monkeypatch.setattr(video_checks, "WAIT_S", 0.0)
    with Sandbox(tmp_path_factory.mktemp("sandbox"), HANDLERS, webhook=False) as started:
        yield started


def command(environ: Mapping[str, str], *words: str) -> tuple[int, Any]:
    status, out, err = run_console(["cos", "setup", "--json", *words], Path.cwd(), environ)
    return status, json.loads(out) if out else err


def bad(environ: Mapping[str, str]) -> dict[str, Finding]:
    return {finding.name: finding for finding in asyncio.run(examine(environ)) if not finding.ok}


def stored(environ: Mapping[str, str], section: Section, document: Document | None = None) -> Document:
    """Read the data bucket's rules, or write them first."""

    async def work() -> Document:
        async with open_buckets(load_settings(environ), lambda: environ) as (data, _):
            if document is not None:
                await data.rules.write(section, document)
            return await data.rules.read(section)

    return asyncio.run(work())


def test_a_new_deployment_is_set_up_and_then_nothing_is_written(sandbox: Sandbox) -> None:
    environ = {**sandbox.environ, "API_CORS_ORIGINS": "https://shop.example, https://app.example"}
    found = bad(environ)
    assert set(found) == {"data bucket: rules", "ledger: rules"}
    assert "scf-workers-parts is missing" in found["data bucket: rules"].detail
    assert found["ledger: rules"].remedy == "scf-workers cos setup"
    status, shown = command(environ, "--dry-run")
    assert (status, shown["dry_run"], shown["changes"]) == (1, True, 13)
    assert set(bad(environ)) == set(found), "a dry run changes nothing"
    assert command(environ)[0] == 0
    assert bad(environ) == {}
    before = sandbox.cos_answers()
    assert (command(environ)[1]["changes"], command(environ, "--dry-run")[0]) == (0, 0)
    assert {verb: count for verb, count in sandbox.cos_answers().items() if verb.startswith("PUT")} == {
        verb: count for verb, count in before.items() if verb.startswith("PUT")
    }
    (rule,) = stored(environ, Section.CORS)["CORSRule"]
    assert rule["AllowedOrigin"] == ["https://shop.example", "https://app.example"]


def test_rules_of_others_stay_as_they_are_and_ours_follow_the_settings(sandbox: Sandbox) -> None:
    environ = dict(sandbox.environ)
    stored(environ, Section.LIFECYCLE, {"Rule": [OWN_RULE]})
    stored(environ, Section.CORS, {"CORSRule": [OWN_CORS], "ResponseVary": "true"})
    set_up_buckets({**environ, "COS_CORS_ORIGINS": "https://shop.example", "OUTPUT_TRANSITIONS": "30:STANDARD_IA"})
    assert stored(environ, Section.LIFECYCLE)["Rule"][0] == OWN_RULE
    assert len(stored(environ, Section.LIFECYCLE)["Rule"]) == 6
    status, shown = command({**environ, "INPUT_DAYS": "60"})
    (data, ledger) = shown["buckets"]
    assert (status, data["kept"], ledger["changes"]) == (0, 2, [])
    assert {change["rule"]: change["what"] for change in data["changes"]} == {
        "scf-workers-input": "different",
        "scf-workers-source": "different",
        "scf-workers-output": "surplus",
        "scf-workers-browser": "surplus",
    }
    assert stored(environ, Section.CORS) == {"CORSRule": [OWN_CORS], "ResponseVary": "true"}
    assert "60 days, not input/: delete after 30 days" in bad(environ)["data bucket: rules"].detail


def test_the_last_rule_goes_with_its_section(sandbox: Sandbox) -> None:
    set_up_buckets({**sandbox.environ, "COS_CORS_ORIGINS": "https://shop.example"})
    set_up_buckets(sandbox.environ)
    assert stored(sandbox.environ, Section.CORS) == {}


def test_a_missing_right_is_named(sandbox: Sandbox) -> None:
    sandbox.arm("cos", {"kind": "forbidden", "method": "PUT", "key": "^$"})
    status, said = command(sandbox.environ)
    assert status == 1
    assert "allow this key the action name/cos:PutBucketLifecycle" in said
    assert command(sandbox.environ)[0] == 0
    sandbox.arm("cos", {"kind": "forbidden", "method": "GET", "key": "^$", "times": 1})
    status, said = command(sandbox.environ)
    assert status == 1
    assert "photos-1250000000: allow this key the action name/cos:GetBucketLifecycle" in said


def test_people_see_a_line_for_each_rule(sandbox: Sandbox) -> None:
    _, first, _ = run_console(["cos", "setup"], Path.cwd(), sandbox.environ)
    assert "COS_BUCKET photos-1250000000: changed" in first
    assert "  + scf-workers-staging  staging/: delete after 7 days\n" in first
    environ = {**sandbox.environ, "LEDGER_DAYS": "60"}
    status, again, _ = run_console(["cos", "setup", "--dry-run"], Path.cwd(), environ)
    assert status == 1
    assert "COS_BUCKET photos-1250000000: as it should be\n" in again
    line = "  ~ scf-workers-ledger  ledger/: delete after 60 days  (it is ledger/: delete after 90 days)\n"
    assert line in again
