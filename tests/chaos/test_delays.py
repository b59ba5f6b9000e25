"""Fifty thousand messages that wait for an hour do not hold up a fresh task."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.engine.follow_up import follow
from messages.bodies import Clean, Stage
from messages.codec import encode, new_header
from messages.keys import RunId
from messages.signing import MessageKeys
from messages.topics import topic_of
from sandbox.pulsar import LocalPulsar
from tests.chaos.deployment import Deployment, opened, through, until

pytestmark = [pytest.mark.own_pulsar, pytest.mark.long, pytest.mark.timeout(600)]

WAITING = 50_000
AN_HOUR = 3600.0
AT_ONCE = 2_000
TOPIC = topic_of(Stage.CLEAN)
SOON = 30.0
"""Seconds, few compared with the hour that the others wait: if they hold it up, it does not come at all."""


@pytest.fixture(params=["0", "50000"], ids=["ours", "stock"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalPulsar]:
    """Our broker, and one with Pulsar's own look-ahead, on which so many equal delays stop a topic."""
    settings = {"delayedDeliveryFixedDelayDetectionLookahead": request.param}
    broker = LocalPulsar(tmp_path / "broker", settings=settings)
    try:
        yield broker.start()
    finally:
        broker.wipe()


def later(number: int, rng: random.Random, keys: MessageKeys) -> tuple[bytes, float]:
    """A copy for later as the engine makes it, and its delay."""
    now = time.time()
    header = new_header(RunId("u-1024", f"later-{number}"), Stage.CLEAN, now)
    made = follow(header, now, rng, stage=Stage.CLEAN, body=Clean(), delay=AN_HOUR)
    return encode(made, keys), made.header.not_before / 1000


async def fill(deployment: Deployment) -> None:
    """Have them wait on the very topic that a fresh task comes by."""
    rng, publish = random.Random(7), deployment.out.broker.publish
    for start in range(0, WAITING, AT_ONCE):
        made = [later(number, rng, deployment.out.keys) for number in range(start, start + AT_ONCE)]
        await asyncio.gather(*(publish(TOPIC, payload, delay=delay) for payload, delay in made))


@through
async def test_a_fresh_task_starts_at_once_beside_fifty_thousand_that_wait(broker: LocalPulsar, tmp_path: Path) -> None:
    variables = {"BROKER_URL": broker.url, "BROKER_ADMIN_URL": broker.admin_url, "LOG_LEVEL": "DEBUG"}
    async with opened(tmp_path, variables) as deployment:
        worker = await deployment.keep_working()
        await fill(deployment)
        backlog = await deployment.out.broker.backlog(TOPIC, "workers")
        assert (backlog.depth, backlog.ready) == (WAITING, 0)
        for _ in range(3):
            (fresh,) = await deployment.sell(1)
            await until(lambda fresh=fresh: deployment.all_have([fresh], "delivered"), "the fresh task did not end")
            await deployment.judge(fresh, "success")
        waited = [
            line["queue_delay"]
            for line in await asyncio.to_thread(worker.said)
            if line["event"] == "message.received" and line["stage"] == Stage.CLEAN
        ]
        assert len(waited) == 3, "nothing that waits came early"
        assert max(waited) < SOON
