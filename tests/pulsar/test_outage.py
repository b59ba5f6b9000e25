"""Outage of a broker under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.pulsar import LocalPulsar
from tests.conformance.brokers.helpers import eventually, within
from tests.support.patience import PATIENCE_S
from tests.support.pulsar_part import ROOT
from transport.errors import BrokerDown
from transport.port import Delivery
from transport.pulsar import PulsarBroker, PulsarOptions

pytestmark = [pytest.mark.own_pulsar, pytest.mark.slow, pytest.mark.timeout(600)]

_RATE = 200


def command(word: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "console", "broker", word, "--folder", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPulsar]:
    """A broker that the test kills and starts again."""
    folder = tmp_path_factory.mktemp("outage") / "victim"
    assert command("status", folder).returncode == 1
    started = command("start", folder)
    broker = LocalPulsar(folder)
    try:
        assert started.returncode == 0, started.stderr
        variables = f"BROKER_URL={broker.url}\nBROKER_ADMIN_URL={broker.admin_url}\n"
        assert started.stdout == variables
        status = command("status", folder)
        assert status.stdout.startswith(f"STATE=ready\nPID={broker.pid}\n")
        assert status.stdout.endswith(variables)
        yield broker
        assert command("stop", folder).returncode == 0
        assert not broker.pid
        assert command("stop", folder).returncode == 1
    finally:
        broker.wipe()


async def opened(victim: LocalPulsar, **options: float) -> PulsarBroker:
    given = PulsarOptions(url=victim.url, admin_url=victim.admin_url, **options)  # type: ignore[arg-type] - any option
    return await PulsarBroker.open(given)


async def publish_until_it_fails(broker: PulsarBroker) -> None:
    """Publish until a publish fails: the threads of a stopped process do not all stop at once."""
    for _ in range(1000):
        await within(broker.publish("wake", b"gives up"))


async def test_a_publish_without_a_receipt_is_an_error_and_a_close_is_bounded(victim: LocalPulsar) -> None:
    patient, hasty = await opened(victim), await opened(victim, send_timeout=1.0, operation_timeout=2)
    for broker in (patient, hasty):
        await broker.publish("wake", b"before")
    pid = await asyncio.to_thread(lambda: victim.pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(BrokerDown, match="no receipt"):
            await publish_until_it_fails(hasty)
        waiting = asyncio.ensure_future(patient.publish("wake", b"waits"))
        with pytest.raises(BrokerDown):
            await within(hasty.close())
        assert not waiting.done()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await within(waiting)
    await patient.close()


async def test_a_killed_broker_loses_no_confirmed_message_and_is_used_again_at_once(
    victim: LocalPulsar, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = await opened(victim)
    confirmed: set[str] = set()
    received: Counter[str] = Counter()
    at: list[float] = []
    stop = asyncio.Event()

    async def publish_one() -> None:
        # On a busy machine the broker may take longer to start than a publish waits.
        with contextlib.suppress(BrokerDown):
            confirmed.add(await broker.publish("poll", b"x" * 160))

    async def publish() -> None:
        async with asyncio.TaskGroup() as sends:
            while not stop.is_set():
                sends.create_task(publish_one())
                await asyncio.sleep(1 / _RATE)

    async def consume() -> None:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=10)
        while True:
            delivery: Delivery = await consumer.receive()
            received[delivery.message_id] += 1
            at.append(time.monotonic())
            await consumer.ack(delivery)

    async def enough() -> bool:
        return len(received) >= _RATE

    async def all_there() -> bool:
        return confirmed <= received.keys()

    async with asyncio.TaskGroup() as tasks:
        consuming = tasks.create_task(consume())
        publishing = tasks.create_task(publish())
        await eventually(enough)
        await asyncio.to_thread(victim.kill)
        killed = time.monotonic()
        await asyncio.to_thread(victim.start)
        ready, before = time.monotonic(), len(at)

        async def taken_again() -> bool:
            return len(at) > before

        await eventually(taken_again)
        back = time.monotonic() - ready
        stop.set()
        await within(asyncio.wait({publishing}))
        await eventually(all_there)
        consuming.cancel()
    await broker.close()
    assert back < 2 * (ready - killed), "it reconnected long after the broker was back"
    # The broker lost its latest acks and delivers those messages again; the consumer remembers the acks.
    assert set(received.values()) == {1}
    # The client's log lines appear only in our log.
    assert any(record.name == "pulsar" and "onnection" in record.getMessage() for record in caplog.records)
    assert "ClientConnection" not in "".join(capfd.readouterr())
