"""Transactions, threads and waiting of the embedded broker."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from transport import open_broker
from transport.errors import BrokerDown, Closed
from transport.sqlite import SqliteBroker
from transport.sqlite.store import Store


@contextlib.asynccontextmanager
async def opened(path: Path | str, *, lease: float = 60.0) -> AsyncIterator[SqliteBroker]:
    broker = await SqliteBroker.open(str(path), lease=lease)
    try:
        yield broker
    finally:
        await broker.close()


async def trace(broker: SqliteBroker) -> list[str]:
    """Collect the statements that the broker runs from now on."""
    statements: list[str] = []
    await broker._delivery.submit(lambda store: store._db.set_trace_callback(statements.append), write=False)
    return statements


async def test_concurrent_publishes_and_acks_share_a_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=200)
        statements = await trace(broker)
        await asyncio.gather(*(broker.publish("wake", b"x") for _ in range(200)))
        assert statements.count("COMMIT") <= 2
        deliveries = [await consumer.receive() for _ in range(200)]
        statements.clear()
        await asyncio.gather(*(consumer.ack(delivery) for delivery in deliveries))
        assert statements.count("COMMIT") <= 2


async def test_an_idle_consumer_does_not_access_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as broker, opened(tmp_path / "broker.db") as other:
        consumer = await broker.subscribe(["wake", "poll"], "workers")
        await broker.publish("poll", b"x", delay=3600)
        receiving = asyncio.ensure_future(consumer.receive())
        await other.publish("wake", b"first")
        await consumer.ack(await receiving)
        receiving = asyncio.ensure_future(consumer.receive())
        await broker.backlog("wake", "workers")
        statements = await trace(broker)
        done, _ = await asyncio.wait({receiving}, timeout=0.3)
        assert not done
        assert len(statements) < 10
        receiving.cancel()


async def test_a_waiting_consumer_is_served_before_one_that_only_prefetches() -> None:
    async with opened(":memory:") as broker:
        greedy = await broker.subscribe(["clean-high"], "workers", prefetch=50)
        waiting = await broker.subscribe(["clean-high"], "workers", prefetch=0)
        await broker.publish("clean-high", b"warm")
        await greedy.ack(await greedy.receive())
        for _ in range(10):
            receiving = asyncio.ensure_future(waiting.receive())
            await asyncio.sleep(0)
            await broker.publish("clean-high", b"for who waits")
            delivery = await asyncio.wait_for(receiving, PATIENCE_S)
            assert delivery.payload == b"for who waits"
            await waiting.ack(delivery)


async def test_prefetching_begins_with_the_first_receive_and_stops_after_a_release() -> None:
    async with opened(":memory:") as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=2)
        for payload in (b"1", b"2", b"3", b"4"):
            await broker.publish("wake", payload)
        assert (await broker.backlog("wake", "workers")).ready == 4
        delivery = await consumer.receive()
        assert (await broker.backlog("wake", "workers")).in_flight == 3
        await consumer.release(delivery)
        assert (await broker.backlog("wake", "workers")).in_flight == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"topics": [], "subscription": "workers"},
        {"topics": ["wake"], "subscription": ""},
        {"topics": ["wake"], "subscription": "workers", "prefetch": -1},
    ],
)
async def test_an_invalid_subscription_is_rejected(arguments: Mapping[str, object]) -> None:
    async with opened(":memory:") as broker:
        with pytest.raises(ValueError, match="a consumer needs"):
            await broker.subscribe(**arguments)


async def test_a_defect_ends_the_broker_with_its_error() -> None:
    broker = await SqliteBroker.open(":memory:")
    consumer = await broker.subscribe(["wake"], "workers")
    receiving = asyncio.ensure_future(consumer.receive())
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await broker._delivery.submit(lambda _: 1 / 0)
    with pytest.raises(Closed):
        await receiving
    with pytest.raises(Closed):
        await broker.publish("wake", b"x")
    with pytest.raises(ZeroDivisionError):
        await broker.close()


async def test_an_expired_lease_releases_prefetched_messages_and_keeps_delivered_ones() -> None:
    async with opened(":memory:") as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=3)
        for number in range(4):
            await broker.publish("wake", str(number).encode())
        handed = await consumer.receive()
        lapses = iter([True])
        broker._peers.lease_expired = lambda now: next(lapses, False)  # type: ignore[method-assign] # a process cannot stop itself
        assert (await broker.backlog("wake", "workers")).in_flight == 4
        rest = {(await consumer.receive()).payload for _ in range(3)}
        assert rest == {b"0", b"1", b"2", b"3"} - {handed.payload}
        await consumer.ack(handed)
        assert (await broker.backlog("wake", "workers")).depth == 3


async def test_claimed_messages_are_kept_after_a_failure_that_follows_the_commit(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=0)
        await broker.publish("wake", b"x")
        committed, failures = broker._peers.committed, [OSError("no more files")]

        def fail_once(store: Store) -> None:
            committed(store)
            if failures:
                raise failures.pop()

        broker._peers.committed = fail_once  # type: ignore[method-assign] # the machine runs out of handles
        receiving = [asyncio.ensure_future(consumer.receive()) for _ in range(2)]
        assert (await receiving[0]).payload == b"x"
        with pytest.raises(BrokerDown, match="no more files"):
            await receiving[1]


async def test_a_removed_folder_of_the_peers_is_created_again(tmp_path: Path) -> None:
    folder = tmp_path / "broker.db.peers"
    async with opened(tmp_path / "broker.db", lease=0.4) as one, opened(tmp_path / "broker.db", lease=0.4) as two:
        consumers = [await broker.subscribe(["wake"], "workers", prefetch=0) for broker in (one, two)]
        await asyncio.to_thread(lambda: [pipe.unlink() for pipe in folder.iterdir()])
        deadline = time.monotonic() + PATIENCE_S
        while await asyncio.to_thread(lambda: len(list(folder.iterdir()))) < 4:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        receiving = asyncio.ensure_future(consumers[1].receive())
        await one.publish("wake", b"x")
        assert (await asyncio.wait_for(receiving, PATIENCE_S)).payload == b"x"


class _Jump(selectors.SelectSelector):
    """A selector that never waits; it advances the clock of its loop instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "deadlock: every task waits"
            self.now += timeout
        return ready


def test_memory_runs_in_virtual_time_without_a_thread() -> None:
    selector = _Jump()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign] # this loop's own clock

    async def body() -> list[tuple[bytes, float]]:
        threads = threading.active_count()
        broker = await open_broker("sqlite:///:memory:", clock=lambda: 1.8e9 + loop.time())
        consumer = await broker.subscribe(["poll", "notify"], "workers")
        delays = [86_400.0, 3600.0, 0.1, 259_200.0]
        for delay in delays:
            await broker.publish("poll", str(delay).encode(), delay=delay)
        arrivals = []
        for _ in delays:
            delivery = await consumer.receive()
            await consumer.ack(delivery)
            arrivals.append((delivery.payload, loop.time()))
        assert threading.active_count() == threads
        await broker.close()
        return arrivals

    with contextlib.closing(loop):
        arrivals = loop.run_until_complete(body())
    assert [payload for payload, _ in arrivals] == [b"0.1", b"3600.0", b"86400.0", b"259200.0"]
    assert all(-1e-6 <= at - float(payload) < 0.01 for payload, at in arrivals)
