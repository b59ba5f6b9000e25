"""The folder of pipes: who is dead, who is alive, and who is too busy to listen."""

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


class Neighbour:
    """A holder whose life is in the hands of a test."""

    def __init__(self, path: Path, name: str = "neighbour") -> None:
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
        """What the kernel does at a `kill -9`."""
        while self.peers._pipes:
            os.close(self.peers._pipes.popitem()[1])

    def pipes(self) -> set[str]:
        """What lies in the folder."""
        return {file.name for file in self.folder.iterdir()}


@pytest.fixture
def neighbour(tmp_path: Path) -> Generator[Neighbour, None, None]:
    found = Neighbour(tmp_path / "broker.db")
    yield found
    found.die()
    found.store.close()


async def opened(neighbour: Neighbour) -> SqliteBroker:
    return await SqliteBroker.open(str(neighbour.folder).removesuffix(".peers"))


async def test_the_living_keep_what_they_hold(neighbour: Neighbour) -> None:
    broker = await opened(neighbour)
    await broker.publish("wake", b"x")
    neighbour.take()
    await broker.subscribe(["wake"], "workers")
    assert (await broker.backlog("wake", "workers")).in_flight == 1
    await broker.close()
    assert await asyncio.to_thread(neighbour.pipes) == {"neighbour.alive", "neighbour.wake"}


async def test_looking_at_the_backlog_gives_back_what_the_dead_held(neighbour: Neighbour) -> None:
    broker = await opened(neighbour)
    await broker.publish("wake", b"x")
    neighbour.take()
    neighbour.die()
    assert (await broker.backlog("wake", "workers")).ready == 1
    await broker.close()
    assert await asyncio.to_thread(neighbour.pipes) == set()
    assert neighbour.store.holders() == set()


async def test_a_holder_without_a_pipe_is_dead(neighbour: Neighbour) -> None:
    broker = await opened(neighbour)
    message_id = await broker.publish("wake", b"x")
    neighbour.take()
    await asyncio.to_thread(lambda: [pipe.unlink() for pipe in neighbour.folder.iterdir()])
    consumer = await broker.subscribe(["wake"], "workers")
    assert (await asyncio.wait_for(consumer.receive(), PATIENCE_S)).message_id == message_id
    await broker.close()


async def test_a_pipe_without_a_holder_is_removed(neighbour: Neighbour) -> None:
    await asyncio.to_thread(lambda: os.mkfifo(neighbour.folder / "half-made.alive"))
    broker = await opened(neighbour)
    await broker.subscribe(["wake"], "workers")
    await broker.close()
    assert await asyncio.to_thread(neighbour.pipes) == {"neighbour.alive", "neighbour.wake"}


async def test_a_file_under_two_names_has_one_folder(neighbour: Neighbour) -> None:
    path = Path(str(neighbour.folder).removesuffix(".peers"))
    await asyncio.to_thread(path.with_name("other.db").symlink_to, path)
    broker = await SqliteBroker.open(str(path.with_name("other.db")))
    await broker.subscribe(["wake"], "workers")
    assert len(await asyncio.to_thread(neighbour.pipes)) == 4
    await broker.close()


async def test_a_neighbour_that_does_not_listen_holds_nobody_up(neighbour: Neighbour) -> None:
    wake_pipe = neighbour.peers._pipes["wake"]
    with suppress(BlockingIOError):
        while os.write(wake_pipe, b"." * 4096):
            pass
    with pytest.raises(BlockingIOError):
        os.write(wake_pipe, b".")
    broker = await opened(neighbour)
    await asyncio.wait_for(broker.publish("wake", b"x"), PATIENCE_S)
    neighbour.die()
    await asyncio.wait_for(broker.publish("wake", b"x"), PATIENCE_S)
    await broker.close()


async def test_neighbours_that_come_and_go_leave_no_handles_open(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    broker = await SqliteBroker.open(str(path))
    consumer = await broker.subscribe(["wake"], "workers")

    async def come_and_go() -> None:
        neighbour = await SqliteBroker.open(str(path))
        await neighbour.subscribe(["wake"], "workers")
        await neighbour.publish("wake", b"x")
        await consumer.ack(await consumer.receive())
        await neighbour.close()

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
