"""Delays in the broker file: measured in time since boot, so that setting the wall clock moves no message."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from transport.port import Broker
from transport.sqlite import SqliteBroker
from transport.sqlite.clocks import Clocks, boot_id, time_since_boot

HOUR = 3600.0


class Machine:
    """A machine with clocks that the test sets."""

    def __init__(self) -> None:
        self.wall = 1_750_000_000.0
        self.steady = 500.0
        self.boot = "boot-1"

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.steady, self.boot)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def reboot(self, away: float) -> None:
        self.wall += away
        self.steady, self.boot = 20.0, f"{self.boot}+"


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "broker.db")


async def counts(broker: Broker) -> tuple[int, int]:
    found = await broker.backlog("poll", "workers")
    return found.ready, found.delayed


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_setting_the_wall_clock_back_delays_no_message(path: str, kind: str) -> None:
    wall = [time.time()]
    broker = await SqliteBroker.open(path if kind == "file" else ":memory:", clock=lambda: wall[0])
    consumer = await broker.subscribe(["poll"], "workers")
    await broker.publish("poll", b"x", delay=0.05)
    wall[0] -= 4 * HOUR
    async with asyncio.timeout(20):
        assert (await consumer.receive()).payload == b"x"
    await broker.close()


async def test_setting_the_wall_clock_forward_delivers_no_message_early(path: str, machine: Machine) -> None:
    broker = await SqliteBroker.open(path, clocks=machine.clocks())
    await broker.publish("poll", b"x", delay=60)
    machine.wall += 4 * HOUR
    assert await counts(broker) == (0, 1)
    machine.pass_time(60)
    assert await counts(broker) == (1, 0)
    await broker.close()


async def test_after_a_reboot_due_times_follow_the_wall_clock(path: str, machine: Machine) -> None:
    broker = await SqliteBroker.open(path, clocks=machine.clocks())
    await broker.publish("poll", b"soon", delay=60)
    await broker.publish("poll", b"late", delay=HOUR)
    await broker.close()
    machine.reboot(away=600)
    broker = await SqliteBroker.open(path, clocks=machine.clocks())
    assert await counts(broker) == (1, 1)
    assert (await broker.backlog("poll", "workers")).oldest_age == pytest.approx(540)
    machine.pass_time(HOUR - 601)
    assert await counts(broker) == (1, 1)
    machine.pass_time(1)
    assert await counts(broker) == (2, 0)
    await broker.close()


async def test_a_second_process_of_the_same_boot_changes_no_due_time(path: str, machine: Machine) -> None:
    first = await SqliteBroker.open(path, clocks=machine.clocks())
    await first.publish("poll", b"x", delay=60)
    machine.wall -= HOUR
    second = await SqliteBroker.open(path, clocks=machine.clocks())
    machine.pass_time(60)
    assert await counts(first) == await counts(second) == (1, 0)
    await first.close()
    await second.close()


async def test_leases_of_an_earlier_boot_have_ended(path: str, machine: Machine) -> None:
    """A lease is stored in seconds of its boot: shortly after a reboot it would seem to end in the far future."""
    broker = await SqliteBroker.open(path, clocks=machine.clocks())
    await broker.publish("poll", b"x")
    consumer = await broker.subscribe(["poll"], "workers")
    assert (await consumer.receive()).payload == b"x"
    machine.reboot(away=5)
    other = await SqliteBroker.open(path, clocks=machine.clocks())
    assert await counts(other) == (1, 0)
    await other.close()
    await broker.close()


def test_the_machine_has_a_boot_id_and_time_since_boot() -> None:
    assert boot_id() == boot_id() != ""
    assert 0 < time_since_boot() <= time_since_boot()
