"""The doctor against the stand-ins: all well, and each thing broken in turn is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from runtime.doctor import Finding, examine
from sandbox.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as started:
        yield started


def _examine(environ: Mapping[str, str]) -> dict[str, Finding]:
    return {finding.name: finding for finding in asyncio.run(examine(environ))}


def test_a_sound_deployment_is_all_well(world: World) -> None:
    found = _examine(world.environ)
    assert [name for name, finding in found.items() if not finding.ok] == []
    assert {"broker", "data bucket", "ledger: create-only", "clock", "backend", "runninghub", "tickets"} <= set(found)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"BROKER_URL": ""}, "BROKER_URL"),
        ({"BROKER_URL": "redis://127.0.0.1"}, "wiring"),
        ({"COS_BUCKET": ""}, "COS_BUCKET"),
        ({"COS_BUCKET": "other-1250000000"}, "data bucket"),
        ({"LEDGER_BUCKET": "other-1250000000"}, "ledger: create-only"),
        ({"TENCENTCLOUD_SECRET_KEY": "wrong-wrong-wrong"}, "data bucket"),
        ({"TENCENTCLOUD_SECRET_KEY": ""}, "data bucket"),
        ({"COS_ENDPOINT": "http://127.0.0.1:9"}, "data bucket"),
        ({"COS_ENDPOINT": "nonsense"}, "wiring"),
        ({"BACKEND_URL": "http://127.0.0.1:9"}, "backend"),
        ({"INTERNAL_CALLBACK_SECRET": "another-secret-of-enough-bytes-for-it"}, "backend"),
        ({"TICKET_SECRET": "too-short"}, "tickets"),
        ({"RUNNINGHUB_API_KEY": "wrong-key"}, "runninghub"),
        ({"RUNNINGHUB_URL": "nonsense"}, "wiring"),
        ({"MODEL_POSE12_WORKFLOW": "/nowhere/workflow.json"}, "wiring"),
        ({"WORK_CONCURRENCY": "many"}, "WORK_CONCURRENCY"),
        ({"CALLBACK_FORM": "letter"}, "CALLBACK_FORM"),
        ({"TICKET_SECRET_FILE": "/nowhere/secret"}, "TICKET_SECRET"),
    ],
)
def test_each_broken_setting_is_named_with_a_remedy(world: World, change: dict[str, str], named: str) -> None:
    found = _examine({**world.environ, **change})
    assert not found[named].ok
    assert found[named].remedy


def test_what_one_setting_breaks_leaves_the_rest_well(world: World) -> None:
    found = _examine({**world.environ, "RUNNINGHUB_API_KEY": "wrong-key"})
    assert [name for name, finding in found.items() if not finding.ok] == ["runninghub"]


def test_on_the_platform_sandbox_settings_are_refused(world: World) -> None:
    found = _examine({**world.environ, "TENCENTCLOUD_RUNENV": "SCF", "TICKET_REQUIRED": "false"})
    bad = {name for name, finding in found.items() if not finding.ok}
    assert {
        f"{name} on SCF" for name in ("COS_ENDPOINT", "FETCH_PRIVATE_HOSTS", "BROKER_URL", "TICKET_REQUIRED")
    } <= bad


def test_no_secret_is_in_what_it_says(world: World) -> None:
    found = _examine({**world.environ, "INTERNAL_CALLBACK_SECRET": "planted-secret-of-enough-bytes-for-all"})
    told = " ".join(f"{finding.detail} {finding.remedy}" for finding in found.values())
    for name in ("TENCENTCLOUD_SECRET_KEY", "TICKET_SECRET", "RUNNINGHUB_API_KEY"):
        assert world.environ[name] not in told
    assert "planted-secret" not in told
