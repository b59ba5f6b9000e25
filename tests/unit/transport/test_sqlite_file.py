"""File of the embedded broker: permissions, locking, schema and space."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from transport.errors import BadBrokerUrl, BrokerDown
from transport.sqlite import SqliteBroker
from transport.sqlite.clocks import Moment
from transport.sqlite.store import Store


@contextlib.asynccontextmanager
async def opened(path: Path, *, busy_timeout: float = 10.0, lease: float = 60.0) -> AsyncIterator[SqliteBroker]:
    broker = await SqliteBroker.open(str(path), busy_timeout=busy_timeout, lease=lease)
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


async def test_only_the_owner_can_read_the_file(path: Path) -> None:
    def modes() -> dict[str, int]:
        return {file.name.split(".")[-1]: stat.S_IMODE(file.stat().st_mode) for file in path.parent.rglob("*")}

    async with opened(path) as broker:
        await broker.publish("wake", b"x")
        await broker.subscribe(["wake"], "workers")
        found = await asyncio.to_thread(modes)
    files = {"db": 0o600, "db-wal": 0o600, "db-shm": 0o600}
    assert found == files | {"peers": 0o700, "alive": 0o600, "wake": 0o600}


def test_only_the_file_stays_after_every_broker_has_closed(path: Path) -> None:
    async def come_and_go() -> None:
        async with opened(path) as broker, opened(path) as other:
            await broker.subscribe(["wake"], "workers")
            await other.subscribe(["wake"], "workers")

    asyncio.run(come_and_go())
    assert {file.name for file in path.parent.rglob("*")} == {"broker.db", "broker.db.peers"}


async def test_many_may_open_a_new_file_at_the_same_time(path: Path) -> None:
    brokers = await asyncio.gather(*(SqliteBroker.open(str(path)) for _ in range(12)))
    ids = await asyncio.gather(*(broker.publish("wake", b"x") for broker in brokers))
    assert len(set(ids)) == 12
    assert (await brokers[0].backlog("wake", "workers")).ready == 12
    await asyncio.gather(*(broker.close() for broker in brokers))


def test_opening_waits_where_sqlite_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    opening, refusals = Store._open, [sqlite3.OperationalError("database is locked")] * 3

    def refuse_thrice(path: str, now: float, busy_timeout: float) -> Store:
        if refusals:
            raise refusals.pop()
        return opening(path, now, busy_timeout)

    monkeypatch.setattr(Store, "_open", refuse_thrice)
    Store.open(":memory:", now=Moment(0.0, 0.0, "boot"), busy_timeout=5.0).close()
    assert not refusals


async def test_two_brokers_write_at_the_same_time(path: Path) -> None:
    async def work(broker: SqliteBroker) -> None:
        consumer = await broker.subscribe(["wake"], "workers")
        for _ in range(150):
            await broker.publish("wake", b"x")
            await consumer.ack(await consumer.receive())

    async with opened(path) as one, opened(path) as two:
        await asyncio.gather(work(one), work(two))
        backlog = await one.backlog("wake", "workers")
    assert (backlog.ready, backlog.in_flight) == (0, 0)


def test_ids_differ_in_a_file_created_later(path: Path) -> None:
    async def publish() -> str:
        async with opened(path) as broker:
            return await broker.publish("wake", b"x")

    first = asyncio.run(publish())
    path.unlink()
    assert asyncio.run(publish()) != first


async def test_ids_are_not_reused_after_the_file_was_emptied(path: Path) -> None:
    ids = set()
    for _ in range(3):
        async with opened(path) as broker:
            ids.add(await broker.publish("wake", b"x"))
            consumer = await broker.subscribe(["wake"], "workers")
            await consumer.ack(await consumer.receive())
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("CREATE TABLE photos (id)",), "a database of another program"),
        (("CREATE TABLE photos (id)", "PRAGMA user_version = 1"), "a database of another program"),
    ],
)
def test_the_database_of_another_program_is_rejected(path: Path, statements: tuple[str, ...], said: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    before = path.read_bytes()
    with pytest.raises(BadBrokerUrl, match=said):
        asyncio.run(SqliteBroker.open(str(path)))
    assert path.read_bytes() == before


async def test_a_file_of_another_schema_is_rejected(path: Path) -> None:
    async with opened(path) as broker:
        await broker.publish("wake", b"x")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(
        BadBrokerUrl, match="has schema 7, but this build needs 3: process its messages with the build that wrote it"
    ):
        await SqliteBroker.open(str(path))


def test_a_file_that_is_not_a_database_is_rejected(path: Path) -> None:
    path.write_bytes(b"a letter, and no database at all" * 100)
    with pytest.raises(BadBrokerUrl, match="not a SQLite database"):
        asyncio.run(SqliteBroker.open(str(path)))
    assert path.read_bytes() == b"a letter, and no database at all" * 100


def test_a_path_that_cannot_be_created_is_rejected(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(BadBrokerUrl, match="cannot create the broker file"):
        asyncio.run(SqliteBroker.open(str(path / "below" / "broker.db")))


def test_a_folder_is_rejected(path: Path) -> None:
    path.mkdir()
    with pytest.raises(BrokerDown, match="cannot be opened"):
        asyncio.run(SqliteBroker.open(str(path)))


async def test_a_new_file_that_stays_locked_cannot_be_opened(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BrokerDown, match="locked"):
            await SqliteBroker.open(str(path), busy_timeout=0.05)


async def test_a_file_that_stays_locked_is_an_outage_and_passes(path: Path) -> None:
    async with opened(path, busy_timeout=0.05) as broker:
        consumer = await broker.subscribe(["wake"], "workers")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("INSERT INTO messages (queue, due, wall, payload) SELECT id, 0, 0, x'00' FROM queues")
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(BrokerDown, match="locked"):
                await broker.publish("wake", b"x")
            with pytest.raises(BrokerDown, match="locked"):
                await consumer.receive()
            assert (await broker.backlog("wake", "workers")).ready == 1
            db.execute("ROLLBACK")
        delivery = await consumer.receive()
        await consumer.ack(delivery)
        assert (await broker.backlog("wake", "workers")).depth == 0


async def test_a_failed_ack_or_release_can_be_repeated(path: Path) -> None:
    async with opened(path, busy_timeout=0.05) as broker:
        consumer = await broker.subscribe(["wake"], "workers")
        for payload in (b"1", b"2"):
            await broker.publish("wake", payload)
        first, second = await consumer.receive(), await consumer.receive()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(BrokerDown):
                await consumer.ack(first)
            with pytest.raises(BrokerDown):
                await consumer.release(second)
        await consumer.ack(first)
        await consumer.release(second)
        backlog = await broker.backlog("wake", "workers")
        assert (backlog.ready, backlog.in_flight) == (1, 0)


async def test_a_close_that_cannot_release_reports_it_and_closes(path: Path) -> None:
    broker = await SqliteBroker.open(str(path), busy_timeout=0.05)
    consumer = await broker.subscribe(["wake"], "workers")
    await broker.publish("wake", b"x")
    await consumer.receive()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerDown, match="locked"):
            await broker.close()
    await broker.close()
    async with opened(path) as heir:
        assert (await heir.backlog("wake", "workers")).ready == 1


async def test_free_space_is_returned_to_the_disk(path: Path) -> None:
    async with opened(path, lease=0.2) as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=500)
        await asyncio.gather(*(broker.publish("wake", b"x" * 8000) for _ in range(3000)))
        for _ in range(6):
            deliveries = [await consumer.receive() for _ in range(500)]
            await asyncio.gather(*(consumer.ack(delivery) for delivery in deliveries))
        deadline = asyncio.get_running_loop().time() + 20
        while await asyncio.to_thread(lambda: path.stat().st_size) > 8 << 20:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)
