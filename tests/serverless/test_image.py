"""The image's server: context, credentials of each call, errors, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.image import RequestCredentials, context_of
from sandbox.environment import Sandbox
from sandbox.scf import Function, Role, Status
from tests.serverless.functions import ROOT, alone, function, lines
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.slow

HANDLERS = Path(__file__).parent / "handlers"
PATH = os.pathsep.join((str(ROOT), str(HANDLERS)))


def echo(roles: Iterator[Role] | None = None, log: Path | None = None, **environ: str) -> Function:
    role = (lambda: next(roles)) if roles is not None else None
    return function("echo", {"PYTHONPATH": PATH, **environ}, time_limit_s=7, memory_mb=256, role=role, log=log)


async def test_the_handler_gets_event_and_context() -> None:
    async with echo() as one:
        answer = await one.invoke({"a": ["号", 1]})
    assert answer.status == Status.OK
    assert answer.result["event"] == {"a": ["号", 1]}
    assert answer.result["context"] == {
        "request_id": answer.request_id,
        "function_name": "echo",
        "function_version": "$LATEST",
        "namespace": "default",
        "memory_limit_in_mb": 256,
        "time_limit_in_ms": 7000,
        "tencentcloud_region": "ap-guangzhou",
        "tencentcloud_appid": "1250000000",
        "tencentcloud_uin": "100000000000",
    }


@pytest.mark.parametrize(
    ("reported", "milliseconds"), [("300000", 300_000), ("60", 60_000), ("900", 900_000), ("1000", 1000)]
)
def test_a_time_limit_in_seconds_is_known_by_its_size(reported: str, milliseconds: int) -> None:
    assert context_of({"x-scf-timeout": reported})["time_limit_in_ms"] == milliseconds


@pytest.mark.parametrize("reported", ["", "soon", "-1", "nan", "1e400"])
def test_a_time_limit_that_is_none_is_left_out(reported: str) -> None:
    assert "time_limit_in_ms" not in context_of({"x-scf-timeout": reported})


async def test_credentials_are_those_of_each_call_and_no_old_token_survives() -> None:
    roles = iter(
        [
            Role("AKIDfirst00000000", "the-first-key", "the-first-token"),
            Role("AKIDsecond0000000", "the-second-key", "the-second-token"),
            Role("AKIDthird00000000", "the-third-key", ""),
            Role("", "", ""),
        ]
    )
    async with echo(roles) as one:
        seen = [(await one.invoke({"environ": 1})).result for _ in range(4)]
        assert one.stats.cold_starts == 1
    assert seen == [
        ["AKIDfirst00000000", "the-first-key", "the-first-token"],
        ["AKIDsecond0000000", "the-second-key", "the-second-token"],
        ["AKIDthird00000000", "the-third-key", None],
        [None, None, None],
    ]


def test_a_call_without_credentials_leaves_those_the_process_was_started_with() -> None:
    environ = {"TENCENTCLOUD_SECRETID": "AKIDown0000000000", "TENCENTCLOUD_SECRETKEY": "own-secret-key"}
    credentials = RequestCredentials(environ)
    credentials.take({"x-scf-secret-id": "AKIDrole000000000", "x-scf-secret-key": "role-secret-key"})
    assert environ["TENCENTCLOUD_SECRETKEY"] == "role-secret-key"
    credentials.take({})
    assert environ == {"TENCENTCLOUD_SECRETID": "AKIDown0000000000", "TENCENTCLOUD_SECRETKEY": "own-secret-key"}


@pytest.mark.parametrize(
    ("role", "named"),
    [
        (Role("AKIDfirst00000000", "", "the-first-token"), "x-scf-secret-key is missing"),
        (Role("", "the-first-key", "the-first-token"), "x-scf-secret-id is missing"),
        (Role("AKIDfirst00000000", "abc", ""), "x-scf-secret-key cannot be used"),
    ],
)
async def test_broken_credentials_are_named_and_nothing_of_them_is_told(role: Role, named: str) -> None:
    async with echo(iter([role, role])) as one:
        for _ in range(2):
            answer = await one.invoke({})
            assert (answer.status, answer.error["errorCode"]) == (Status.FAILED, "BadSettings")
            assert f"the header {named}" in answer.error["errorMessage"]
            assert "the-first" not in json.dumps(dict(answer.error))


async def test_errors_are_told_without_secrets_and_the_instance_lives_on(tmp_path: Path) -> None:
    role = Role("AKIDfirst00000000", "the-first-key", "the-first-token")
    log = tmp_path / "echo.log"
    async with echo(iter([role] * 4), log) as one:
        ours = await one.invoke({"raise": "ours"})
        defect = await one.invoke({"raise": "a defect"})
        assert not (await one.invoke({})).cold
        assert (await one.invoke({"credentials": 1})).result == [
            "AKIDfirst00000000",
            "the-first-key",
            "the-first-token",
        ]
    assert dict(ours.error) == {"errorCode": "Outage", "errorMessage": "away, says ***"}
    assert dict(defect.error) == {"errorCode": "RuntimeError", "errorMessage": "no such thing as ***"}
    reported = await asyncio.to_thread(log.read_text)
    assert "RuntimeError" in reported
    assert "the-first" not in reported


async def test_what_is_no_event() -> None:
    async with echo() as one:
        await one.invoke({})
        port = await asyncio.to_thread(_port_of, one.pids[0])
        os.kill(one.pids[0], signal.SIGCONT)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for path, body, status in (("/event-invoke", b"{", 400), ("/elsewhere", b"{}", 404)):
                answer = await client.post(path, content=body)
                assert (answer.status_code, set(answer.json())) == (status, {"errorCode", "errorMessage"})
            assert (await client.get("/event-invoke")).status_code == 501
            assert (await client.post("/event-invoke", content=b"7")).status_code == 400


def _port_of(pid: int) -> int:
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(int(entry[5:]) for entry in environ if entry.startswith(b"PORT="))


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        ([], {}, "FUNCTION_HANDLER"),
        (["no.such.module"], {}, "no.such.module is no module with a main_handler"),
        (["recipes.table"], {}, "recipes.table is no module with a main_handler"),
        ([], {"FUNCTION_HANDLER": "no_handler"}, "no_handler is no module with a main_handler"),
    ],
)
def test_a_handler_that_is_none_ends_it_at_once(arguments: list[str], environ: dict[str, str], said: str) -> None:
    done = _serve(arguments, {"PORT": "0", **environ})
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("port", ["abc", "99999", "-1", "9000.5", "9_000", "٩"])
def test_a_port_that_is_none_ends_it_with_one_line(port: str) -> None:
    done = _serve(["echo"], {"PORT": port})
    assert done.returncode == 1
    assert done.stderr == f"PORT is {port!r}, and must be a number up to 65535, or not set, which means 9000\n"


def test_a_port_in_use_ends_it_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _serve(["echo"], {"PORT": str(port)})
    assert done.returncode == 1
    assert done.stderr == f"PORT {port} cannot be listened on (Address already in use): set PORT to a free one\n"


def _serve(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.image", *arguments],
        env={"PYTHONPATH": PATH, "PYTHONUTF8": "1", **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@alone
async def test_sigterm_closes_the_instance(sandbox: Sandbox, tmp_path: Path) -> None:
    log = tmp_path / "drain.log"
    drain = function("consumers.runners.drain", {**sandbox.environ, "WORK_TOPICS": "wake"}, log=log)
    assert (await drain.invoke({})).status == Status.OK
    await drain.close()
    reported = log.read_text(encoding="utf-8")
    assert len(lines(log, "worker.stopped")) == 1
    assert "Traceback" not in reported
    assert "never closed" not in reported


@alone
async def test_a_role_signs_for_cos_and_a_wrong_one_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    own = {"TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"}
    environ = {name: value for name, value in sandbox.environ.items() if name not in own}
    good = Role(sandbox.environ["TENCENTCLOUD_SECRET_ID"], sandbox.environ["TENCENTCLOUD_SECRET_KEY"], "")
    wrong = Role(good.secret_id, "the-wrong-key-00000", "")
    event = {"Records": [_upload(sandbox)]}
    roles = iter([good, wrong, good])
    async with function("producer.cos_trigger", environ, role=lambda: next(roles)) as trigger:
        assert (await trigger.invoke(event)).result == {"ignored": 0, "rejected": 1}
        refused = await trigger.invoke(event)
        assert refused.status == Status.FAILED
        assert "SignatureDoesNotMatch" in refused.error["errorMessage"]
        assert "the-wrong-key" not in json.dumps(dict(refused.error))
        assert (await trigger.invoke(event)).status == Status.OK
        assert trigger.stats.cold_starts == 1
    async with function("producer.cos_trigger", environ) as trigger:
        nobody = await trigger.invoke(event)
        assert "give the function a role" in nobody.error["errorMessage"]


def _upload(sandbox: Sandbox) -> dict[str, object]:
    name, _, appid = sandbox.environ["COS_BUCKET"].rpartition("-")
    key = f"/{appid}/{name}/input/u-1/t-1/original.jpg"
    return {
        "cos": {"cosObject": {"key": key, "size": 1}, "cosBucket": {"name": name, "appid": appid}},
        "event": {"eventName": "cos:ObjectCreated:Put"},
    }
