"""Whole tasks without a long-running process: the trigger, and a drain that a timer calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from console.processes.workers import Workers
from sandbox.environment import Sandbox
from sandbox.scf import Status, Timer
from tests.serverless.functions import alone, buyer_of, function, until
from tests.serverless.places import on_every_broker

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sandbox", [True, False], ids=["webhook", "polls only"], indirect=True)
@on_every_broker
@alone
async def test_tasks_end_with_a_verdict_a_callback_and_results(
    sandbox: Sandbox, queue: Mapping[str, str], tmp_path: Path
) -> None:
    assert sandbox.environ["BROKER_URL"] == queue["BROKER_URL"]
    drain = function(
        "consumers.runners.drain", sandbox.environ, time_limit_s=900, concurrency=2, log=tmp_path / "drain.log"
    )
    async with buyer_of(sandbox) as buyer, drain:
        posed, cleaned = await buyer.buy("model_pose12"), await buyer.buy("basic_clean")
        async with Timer(drain, 0.5):
            await until(lambda: buyer.has_ended(posed, cleaned), "the end of both tasks")
        await drain.settle()
        for sold, count in ((posed, 12), (cleaned, 1)):
            row = await buyer.row(sold)
            assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            assert len(await buyer.client.outputs(sold)) == len(row["outputs"]) == count
        assert set(drain.stats.by_status) == {Status.OK}
        assert drain.stats.cold_starts <= 2


@alone
async def test_a_pump_and_a_drain_beside_each_other(sandbox: Sandbox, tmp_path: Path) -> None:
    drain = function(
        "consumers.runners.drain", sandbox.environ, time_limit_s=900, concurrency=2, log=tmp_path / "drain.log"
    )
    with Workers(1, sandbox.environ, tmp_path / "workers.log"):
        async with buyer_of(sandbox) as buyer, drain:
            sold = [await buyer.buy("model_pose12" if n % 2 else "basic_clean") for n in range(6)]
            async with Timer(drain, 0.3):
                await until(lambda: buyer.has_ended(*sold), "the end of every task")
            await drain.settle()
            for one in sold:
                row = await buyer.row(one)
                assert (row["status"], row["charges"], row["refunds"]) == ("success", 1, 0)
            assert (await asyncio.to_thread(sandbox.vendor_stats))["creates"] == 3
            assert set(drain.stats.by_status) == {Status.OK}
