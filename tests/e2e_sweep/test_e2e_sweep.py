"""Whole processes: the webhook, the sweep and a cancel save tasks that would be lost without them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from console.cli.client import Client, Sold, open_client
from console.processes.handlers import HANDLERS
from console.processes.workers import Workers
from messages.codes import Code
from messages.topics import WORKERS
from runtime.settings import load_settings
from runtime.wiring import open_services
from sandbox.environment import Sandbox
from tasks.ledger.records import Accepted
from tests.support.patience import PATIENCE_S
from transport import open_broker

PHOTO: Final = Path(__file__).parents[2] / "sandbox" / "photos" / "portrait.jpg"
T = TypeVar("T")

USER: Final = "u-e2e"
LIMIT_S: Final = PATIENCE_S

pytestmark = pytest.mark.slow


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "data", HANDLERS) as opened:
        yield opened


@pytest.fixture
def slow_vendor(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "data", HANDLERS, duration_s=100.0) as opened:
        yield opened


class Buyer:
    """A client of a sandbox, and what the test asks of the stand-ins."""

    def __init__(self, sandbox: Sandbox, client: Client) -> None:
        self._sandbox = sandbox
        self.client = client

    async def buy(self, kind: str = "model_pose12", *, upload: bool = True) -> Sold:
        sold = await self.client.buy(USER, kind, {})
        if upload:
            await self.client.upload(sold, (PHOTO,))
        return sold

    async def until(self, reached: Callable[[T], bool], ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request until its answer passes a test."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = await ask()
                if reached(found):
                    return found
                await asyncio.sleep(0.1)

    async def ended(self, sold: Sold) -> dict[str, Any]:
        """The backend's row of the task, once it has received a verdict."""
        await self.until(lambda status: status != "pending", lambda: self.client.status(sold))
        book = await asyncio.to_thread(self._sandbox.quota_account, sold.task_id)
        (row,) = book["tasks"]
        assert all(call["signature_ok"] for call in row["callbacks"])
        assert len({call["status"] for call in row["callbacks"]}) == 1
        return dict(row)

    async def stats(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._sandbox.vendor_stats)


@asynccontextmanager
async def buyer_of(sandbox: Sandbox) -> AsyncGenerator[Buyer]:
    async with open_client(load_settings(sandbox.environ)) as client:
        yield Buyer(sandbox, client)


def command(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "console", *arguments]
    return subprocess.run(argv, env=dict(environ), capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def workers(sandbox: Sandbox, tmp_path: Path, **environ: str) -> Workers:
    return Workers(1, {**sandbox.environ, **environ}, tmp_path / "workers.log")


def test_a_create_whose_answer_is_lost_is_recovered_by_the_webhook(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.arm("runninghub", {"on": "create", "kind": "cut", "accepted": True})
    # Forged calls come first: with an invented path, then with the true one and a job that does not exist.
    sandbox.arm("runninghub", {"on": "webhook", "kind": "forged"})

    async def body() -> None:
        async with buyer_of(sandbox) as buyer:
            row = await buyer.ended(await buyer.buy())
            assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            assert len(row["outputs"]) == 12
            assert (await buyer.stats())["creates"] == 1

    with workers(sandbox, tmp_path):
        asyncio.run(body())
    log = (tmp_path / "workers.log").read_text(encoding="utf-8")
    for event in ("paid.unknown", "webhook.ignored", "paid.recovered"):
        assert log.count(f'"event":"{event}"') == 1, event
    assert "/webhook/runninghub/" not in log


def test_the_sweep_finds_what_a_broker_lost(sandbox: Sandbox, tmp_path: Path) -> None:
    async def before() -> tuple[Sold, Sold, Sold]:
        async with buyer_of(sandbox) as buyer:
            lost = await buyer.buy("basic_clean")
            await _published(sandbox, buyer)
            abandoned = await buyer.buy("basic_clean", upload=False)
            await _abandon(sandbox, abandoned)
            return lost, abandoned, await buyer.buy("basic_clean", upload=False)

    async def after(lost: Sold, abandoned: Sold, missing: Sold) -> None:
        async with buyer_of(sandbox) as buyer:
            row = await buyer.ended(lost)
            assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            row = await buyer.ended(abandoned)
            assert (row["error_code"], row["error"], row["refunds"]) == (Code.TIMEOUT, "生成超时", 1)
            row = await buyer.ended(missing)
            assert (row["error_code"], row["error"], row["refunds"]) == (Code.NOT_UPLOADED, "未上传", 1)

    sold = asyncio.run(before())
    for file in (tmp_path / "data").glob("broker.db*"):
        file.unlink()
    # Young tasks are left alone unless the sweep is called with another age.
    assert _counts(command(sandbox.environ, "sweep", "--json"))["listed"] == 0
    swept = _counts(command(sandbox.environ, "sweep", "--older-than", "0", "--json"))
    assert (swept["listed"], swept["woken"], swept["errors"], swept["cursor"]) == (3, 3, 0, "")
    with workers(sandbox, tmp_path, UPLOAD_LIMIT_S="0"):
        asyncio.run(after(*sold))


def test_a_cancelled_task_stops_its_job_and_is_refunded_once(slow_vendor: Sandbox, tmp_path: Path) -> None:
    sandbox = slow_vendor

    async def body() -> None:
        async with buyer_of(sandbox) as buyer:
            sold = await buyer.buy()
            waiting = "waiting for the vendor"
            await buyer.until(lambda words: words == waiting, lambda: buyer.client.progress(sold))
            done = await asyncio.to_thread(command, sandbox.environ, "cancel", sold.task_id, "--user", "somebody")
            assert (done.returncode, f"user somebody has no task {sold.task_id}" in done.stderr) == (1, True)
            assert "Traceback" not in done.stderr
            done = await asyncio.to_thread(command, sandbox.environ, "cancel", sold.task_id, "--user", USER)
            assert (done.returncode, done.stdout.strip()) == (0, f"task {sold.task_id}: cancelled (cancelled)")
            row = await buyer.ended(sold)
            assert (row["status"], row["error_code"], row["error"]) == ("failed", Code.CANCELLED, "已取消")
            assert (row["charges"], row["refunds"], row["outputs"]) == (1, 1, [])
            (job,) = (await buyer.stats())["jobs"]
            assert job["state"] == "CANCEL"
            assert await buyer.client.outputs(sold) == []

    with workers(sandbox, tmp_path):
        asyncio.run(body())


def test_the_timers_event_gives_the_counts(sandbox: Sandbox) -> None:
    event = {"Type": "Timer", "TriggerName": "sweep", "Time": "2026-11-23T09:03:00Z", "Message": ""}
    argv = [sys.executable, "-m", "console", "invoke", "producer.sweep", "--event", "-"]
    done = subprocess.run(
        argv,
        env=dict(sandbox.environ),
        input=json.dumps(event),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["listed"] == 0


def _counts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _published(sandbox: Sandbox, buyer: Buyer) -> None:
    """Wait until the upload's first message is stored."""
    broker = await open_broker(sandbox.environ["BROKER_URL"])
    try:
        await buyer.until(lambda found: found.depth == 1, lambda: broker.backlog("clean-normal", WORKERS))
    finally:
        await broker.close()


async def _abandon(sandbox: Sandbox, sold: Sold) -> None:
    """A task that was accepted long ago, and whose messages are gone."""
    now = time.time()
    accepted = Accepted("basic_clean", {}, (), created=now - 700, deadline=now - 100)
    async with open_services(load_settings(sandbox.environ), lambda: sandbox.environ, vendors=False) as services:
        await services.ledger.write(sold.run, Accepted.at(), accepted)
