"""A whole task in functions, each with only its own variables, in production."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from sandbox.environment import Handlers, Sandbox
from sandbox.scf import Function, Status, Timer
from tasks.calls.webhook_paths import Webhooks
from telemetry.secrets import Secret
from tests.bad_input.harness import event
from tests.docs.environments import FUNCTIONS
from tests.serverless.functions import alone, buyer_of, function, until

pytestmark = pytest.mark.slow

NOTHING: Final = ("true",)
"""The stand-ins call no function: the test does."""

ROLE: Final = {
    "TENCENTCLOUD_SECRETID": "TENCENTCLOUD_SECRET_ID",
    "TENCENTCLOUD_SECRETKEY": "TENCENTCLOUD_SECRET_KEY",
}


def _own(handler: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a function in the docs, and those of the platform for one with a role."""
    needed, besides = FUNCTIONS[handler]
    names = {name: name for name in (*needed, *(name for name in besides if environ.get(name)))}
    if "LEDGER_BUCKET" in needed:
        names |= {"COS_ENDPOINT": "COS_ENDPOINT", "TENCENTCLOUD_REGION": "TENCENTCLOUD_REGION", **ROLE}
    return {name: environ[given] for name, given in names.items()}


def _function(handler: str, sandbox: Sandbox, log: Path, limit_s: float) -> Function:
    environ = _own(handler, sandbox.environ)
    assert "ENVIRONMENT" not in environ
    return function(handler, {"PATH": sandbox.environ["PATH"], **environ}, time_limit_s=limit_s, log=log)


@alone
async def test_each_function_works_with_its_own_settings_alone(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "data", Handlers(cos_trigger=NOTHING, webhook=NOTHING), duration_s=1.0) as sandbox:
        webhook, trigger, sweep = (
            _function(f"producer.{name}", sandbox, tmp_path / f"{name}.log", 60)
            for name in ("webhook", "cos_trigger", "sweep")
        )
        drain = _function("consumers.runners.drain", sandbox, tmp_path / "drain.log", 900)
        async with buyer_of(sandbox) as buyer, webhook, trigger, sweep, drain:
            sold = await buyer.buy("model_pose12")
            key = f"input/{sold.user_id}/{sold.task_id}/original.jpg"
            answer = await trigger.invoke(event(key, bucket=sandbox.environ["COS_BUCKET"]))
            assert answer.status is Status.OK, answer
            url = Webhooks("http://h", Secret(sandbox.environ["WEBHOOK_SECRET"])).url("runninghub", sold.run, 1, 1)
            path = url.removeprefix("http://h")
            answer = await webhook.invoke(
                {"httpMethod": "POST", "path": path, "headers": {}, "body": '{"taskId": "1"}'}
            )
            assert answer.status is Status.OK, answer
            assert answer.result["statusCode"] == 200
            answer = await sweep.invoke({"older_than": 0})
            assert answer.status is Status.OK, answer
            assert answer.result["listed"] == 1
            async with Timer(drain, 0.5):
                await until(lambda: buyer.has_ended(sold), "the end of the task")
            await drain.settle()
            row = await buyer.row(sold)
            assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            assert set(drain.stats.by_status) == {Status.OK}
