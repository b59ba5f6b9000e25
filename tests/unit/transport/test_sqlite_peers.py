"""Pipes of the peers: dead, live and busy holders."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from transport.sqlite import SqliteBroker
from transport.sqlite.clocks import machine_clocks
from transport.sqlite.peers import Peers
from transport.sqlite.store import Store


class Holder:
    """A holder that the test can end."""

    def __init__(self, path: Path, name: str = "holder") -> None:
        self.store = Store.open(str(path), now=machine_clocks(time.time).read(), busy_timeout=10.0)
        self.folder = Path(f"{path}.peers")
        self.peers = Peers(self.folder, name, 60.0)
        with self.store.transaction():
            self.peers.maintain(self.store, 1e6)
        self.peers.committed(self.store)

    def take(self) -> str:
        """Hold one message of `wake`."""
        with self.store.transaction():
            queues = list(self.store.subscribe(["wake"], "workers"))
            (claim,) = self.store.claim(self.peers.holder, queues, 1, 1e10)
        return claim.message_id

    def die(self) -> None:
        """Close the pipes, as the kernel does at a `kill -9`."""
        while self.peers._pipes:
            os.close(self.peers._pipes.popitem()[1])

    def pipes(self) -> set[str]:
        """Return the names of the files in the folder."""
        return {file.name for file in self.folder.iterdir()}


@pytest.fixture
def holder(tmp_path: Path) -> Generator[Holder, None, None]:
    found = Holder(tmp_path / "broker.db")
    yield found
    found.die()
    found.store.close()


async def opened(holder: Holder) -> SqliteBroker:
    return await SqliteBroker.open(str(holder.folder).removesuffix(".peers"))


async def test_live_holders_keep_their_messages(holder: Holder) -> None:
    broker = await opened(holder)
    await broker.publish("wake", b"x")
    holder.take()
    await broker.subscribe(["wake"], "workers")
    assert (await broker.backlog("wake", "workers")).in_flight == 1
    await broker.close()
    assert await asyncio.to_thread(holder.pipes) == {"holder.alive", "holder.wake"}


async def test_reading_the_backlog_releases_messages_of_dead_holders(holder: Holder) -> None:
    broker = await opened(holder)
    await broker.publish("wake", b"x")
    holder.take()
    holder.die()
    assert (await broker.backlog("wake", "workers")).ready == 1
    await broker.close()
    assert await asyncio.to_thread(holder.pipes) == set()
    assert holder.store.holders() == set()


async def test_a_holder_without_a_pipe_is_dead(holder: Holder) -> None:
    broker = await opened(holder)
    message_id = await broker.publish("wake", b"x")
    holder.take()
    await asyncio.to_thread(lambda: [pipe.unlink() for pipe in holder.folder.iterdir()])
    consumer = await broker.subscribe(["wake"], "workers")
    assert (await asyncio.wait_for(consumer.receive(), PATIENCE_S)).message_id == message_id
    await broker.close()


async def test_a_pipe_without_a_holder_is_removed(holder: Holder) -> None:
    await asyncio.to_thread(lambda: os.mkfifo(holder.folder / "half-made.alive"))
    broker = await opened(holder)
    await broker.subscribe(["wake"], "workers")
    await broker.close()
    assert await asyncio.to_thread(holder.pipes) == {"holder.alive", "holder.wake"}


async def test_a_file_under_two_names_has_one_folder(holder: Holder) -> None:
    path = Path(str(holder.folder).removesuffix(".peers"))
    await asyncio.to_thread(path.with_name("other.db").symlink_to, path)
    broker = await SqliteBroker.open(str(path.with_name("other.db")))
    await broker.subscribe(["wake"], "workers")
    assert len(await asyncio.to_thread(holder.pipes)) == 4
    await broker.close()


async def test_a_peer_that_does_not_read_its_pipe_delays_no_other(holder: Holder) -> None:
    wake_pipe = holder.peers._pipes["wake"]
    with suppress(BlockingIOError):
        while os.write(wake_pipe, b"." * 4096):
            pass
    with pytest.raises(BlockingIOError):
        os.write(wake_pipe, b".")
    broker = await opened(holder)
    await asyncio.wait_for(broker.publish("wake", b"x"), PATIENCE_S)
    holder.die()
    await asyncio.wait_for(broker.publish("wake", b"x"), PATIENCE_S)
    await broker.close()


async def test_peers_that_come_and_go_leave_no_handles_open(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    broker = await SqliteBroker.open(str(path))
    consumer = await broker.subscribe(["wake"], "workers")

    async def come_and_go() -> None:
        holder = await SqliteBroker.open(str(path))
        await holder.subscribe(["wake"], "workers")
        await holder.publish("wake", b"x")
        await consumer.ack(await consumer.receive())
        await holder.close()

    async def handles() -> int:
        return len(await asyncio.to_thread(os.listdir, "/dev/fd"))

    await come_and_go()
    before = await handles()
    for _ in range(5):
        await come_and_go()
    deadline = asyncio.get_running_loop().time() + 5
    while await handles() > before:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    await broker.close()
