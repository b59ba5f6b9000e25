"""Output of commands and functions on errors: no causes, headers or URLs of libraries."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from console.doctor.doctor import examine, to_json
from messages.errors import ScfWorkersError
from runtime.settings import SECRETS
from tests.bad_input.harness import event
from tests.bad_input.pictures import jpeg
from tests.secrets.echo import Echo, Mode
from tests.secrets.plants import ENVIRONMENT, ROLE, Plants
from tests.support.patience import PATIENCE_S
from transport import open_broker

ROOT: Final = Path(__file__).parents[2]
AUTHORIZATION: Final = "q-sign-algorithm=sha1&q-ak=AKIDplantedUploaderKeyId55&q-signature=plantedUploaderSeal7Hn3"

RAISING: Final = """
import os
def main_handler(event, context):
    try:
        raise ConnectionError(f"GET https://b.cos/a?q-signature=0123456789abcdef {dict(os.environ)} {event}")
    except ConnectionError as error:
        raise RuntimeError(f"Authorization: {os.environ['RUNNINGHUB_API_KEY']} was not taken") from error
"""
"""A function with a defect whose error holds everything it knows."""

AS_THE_PLATFORM: Final = """
import json, os, sys, traceback
try:
    {}
except Exception:
    traceback.print_exc()
    sys.stdout.flush()
    os._exit(1)
"""
"""None of our code stands between the error and the output, not even our hook for uncaught errors."""

TRIGGER: Final = AS_THE_PLATFORM.format(
    "import producer.cos_trigger as m; m.main_handler(json.load(sys.stdin), {'request_id': 'r-1'})"
)
DEFECT: Final = AS_THE_PLATFORM.format("import planted_work; planted_work.call()")
WORK: Final = """
import os
from runtime.scf import instance
from runtime.wiring import open_sweep
async def work(out):
    try:
        raise ConnectionError(f"GET https://b.cos/a?q-signature=0123456789abcdef {dict(os.environ)}")
    except ConnectionError as error:
        raise RuntimeError(f"Authorization: {os.environ['RUNNINGHUB_API_KEY']} was not taken") from error
def call():
    instance("producer.planted", open_sweep).call(work)
"""
"""A defect that none of our clients has caught."""


def environment(folder: Path, url: str, **changes: str) -> dict[str, str]:
    """A deployment whose external services are all one server."""
    for workflow in (ROOT / "sandbox/workflows").glob("*.json"):
        shutil.copy(workflow, folder)
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **ENVIRONMENT,
        **ROLE,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "BROKER_URL": f"sqlite://{folder / 'broker.db'}",
        "COS_BUCKET": "photos-1250000000",
        "LEDGER_BUCKET": "ledger-1250000000",
        "COS_ENDPOINT": url,
        "BACKEND_URL": url,
        "API_URL": url,
        "WEBHOOK_URL": url,
        "RUNNINGHUB_URL": url,
        "RUNNINGHUB_WORKFLOWS": str(folder),
        "ARK_URL": url,
        "TOKENHUB_URL": url,
        "TOKENHUB_MODEL": "hy4",
        "LOG_LEVEL": "DEBUG",
        **changes,
    }


def run(argv: Sequence[str], environ: Mapping[str, str], text: str = "") -> tuple[int, str]:
    """Exit status, and all that was printed."""
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env=dict(environ),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout


def uploaded() -> str:
    """An event as COS sends it, with the uploader's Authorization in it."""
    reported = event("input/u1/t1/original.jpg")
    reported["Records"][0]["event"]["requestParameters"]["requestHeaders"]["Authorization"] = AUTHORIZATION
    return json.dumps(reported)


def test_every_secret_of_the_settings_is_planted() -> None:
    assert set(ENVIRONMENT) == set(SECRETS)


@pytest.fixture
def all_plants() -> Plants:
    return Plants({**ENVIRONMENT, **ROLE, "the uploader's Authorization": AUTHORIZATION})


def test_a_handler_that_raises_is_shown_with_its_stack_and_without_secrets(tmp_path: Path, all_plants: Plants) -> None:
    (tmp_path / "planted_handler.py").write_text(RAISING)
    environ = environment(tmp_path, "http://127.0.0.1:9")
    code, printed = run(["-m", "console", "invoke", "planted_handler", "--event", "-"], environ, uploaded())
    assert code == 1
    assert "RuntimeError" in printed
    assert "ConnectionError" in printed
    assert "planted_handler.py" in printed
    all_plants.assert_none_in([("invoke", printed)])


@pytest.mark.parametrize("mode", ["garbage", "forbidden"])
def test_what_a_function_raises_is_printed_by_the_platform_without_secrets(
    tmp_path: Path, mode: Mode, all_plants: Plants
) -> None:
    with Echo(mode) as server:
        code, printed = run(["-c", TRIGGER], environment(tmp_path, server.url), uploaded())
        assert ROLE["TENCENTCLOUD_SESSIONTOKEN"].encode() in b"".join(server.heard)
    assert code == 1
    assert "Traceback" in printed
    assert "call.failed" in printed
    assert "upload.failed" in printed
    all_plants.assert_none_in([("printed", printed)])


def test_a_defect_of_a_function_is_printed_by_the_platform_without_secrets(tmp_path: Path, all_plants: Plants) -> None:
    (tmp_path / "planted_work.py").write_text(WORK)
    code, printed = run(["-c", DEFECT], environment(tmp_path, "http://127.0.0.1:9"))
    assert code == 1
    *logged, last = printed.splitlines()
    assert last.startswith("messages.errors.ScfWorkersError: RuntimeError: ")
    # The log has all of it, causes too, behind the filter.
    assert any("call.failed" in line and "ConnectionError" in line for line in logged)
    all_plants.assert_none_in([("printed", printed)])


def test_a_function_whose_settings_cannot_be_used_says_so_without_secrets(tmp_path: Path, all_plants: Plants) -> None:
    environ = environment(tmp_path, "http://127.0.0.1:9", CALLBACK_FORM=ENVIRONMENT["TICKET_SECRET"])
    code, printed = run(["-c", TRIGGER], environ, uploaded())
    assert code == 1
    assert "BadSettings" in printed
    assert "CALLBACK_FORM" in printed
    all_plants.assert_none_in([("printed", printed)])


def test_the_doctor_does_not_repeat_a_secret_that_stands_in_the_wrong_place(tmp_path: Path, all_plants: Plants) -> None:
    wrong = {"CALLBACK_FORM": ENVIRONMENT["TICKET_SECRET"], "LOG_LEVEL": ROLE["TENCENTCLOUD_SESSIONTOKEN"]}
    findings = asyncio.run(examine(environment(tmp_path, "", **wrong)))
    assert {finding.name for finding in findings if not finding.ok} >= set(wrong)
    all_plants.assert_none_in([("findings", json.dumps(to_json(findings)))])


COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "invoke": ("invoke", "producer.cos_trigger", "--event", "-"),
    "doctor": ("doctor",),
    "doctor --json": ("doctor", "--json"),
    "submit": ("submit", "photo.jpg", "--wait", "3"),
    "submit --direct": ("submit", "--direct", "photo.jpg", "--wait", "3"),
    "sweep": ("sweep",),
    "cancel": ("cancel", "t1", "--user", "u1"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("garbage", ("invoke", "doctor --json", "submit", "submit --direct", "sweep", "cancel")),
        ("forbidden", ("invoke", "doctor", "submit", "submit --direct")),
        ("fine", ("doctor --json", "submit", "submit --direct")),
    ],
)
def test_no_command_repeats_what_a_server_throws_back(
    tmp_path: Path, mode: Mode, names: Sequence[str], all_plants: Plants
) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    # In parallel: they spend most of their time waiting for answers.
    with Echo(mode) as server, ThreadPoolExecutor() as threads:
        environ = environment(tmp_path, server.url)
        arguments = [
            [str(tmp_path / word) if word == "photo.jpg" else word for word in COMMANDS[name]] for name in names
        ]
        runs = threads.map(lambda argv: run(["-m", "console", *argv], environ, uploaded()), arguments)
        ended = dict(zip(names, runs, strict=True))
        heard = b"".join(server.heard)
    printed = {name: text for name, (_, text) in ended.items()}
    assert all(code == 1 and text for code, text in ended.values()), printed
    for name in ("RUNNINGHUB_API_KEY", "TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SESSIONTOKEN"):
        assert all_plants.values[name].encode() in heard
    all_plants.assert_none_in(printed.items())


@pytest.mark.parametrize(
    "url",
    [
        "redis://worker:plantedBrokerPassword8Zk@127.0.0.1:9/0",
        "pulsar+ssl://127.0.0.1:9?token=plantedBrokerPassword8Zk",
        "sqlite://worker:plantedBrokerPassword8Zk@host/broker.db",
        "sqlite:///broker.db?key=plantedBrokerPassword8Zk",
        "plantedBrokerPassword8Zk",
    ],
)
def test_a_broker_that_cannot_be_opened_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ScfWorkersError) as raised:
        asyncio.run(open_broker(url))
    reported = "".join(traceback.format_exception(raised.value.with_traceback(None)))
    Plants({"the password": "plantedBrokerPassword8Zk"}).assert_none_in([("error", reported)])
