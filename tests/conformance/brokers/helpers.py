"""Helpers of the suite: brokers that are closed, holders that are killed, bounded waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from tests.conformance.brokers.environments import Environment
from tests.support.patience import PATIENCE_S
from transport.port import Backlog, Broker, Consumer, Delivery

T = TypeVar("T")

_ROOT: Final = Path(__file__).parents[3]
_HOLDER: Final = Path(__file__).with_name("holder.py")


class Holder:
    """A consumer in its own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ids: list[str] = []

    async def line(self) -> str:
        """Return its next line of output."""
        assert self._process.stdout is not None
        said = await within(self._process.stdout.readline())
        assert said, "the holder ended"
        return said.decode().strip()

    async def tell(self, word: str) -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def freeze(self, broker: Broker) -> None:
        """Stop it (SIGSTOP), but not while it holds the write lock."""
        for _ in range(10):
            self.send(signal.SIGSTOP)
            try:
                await within(broker.publish("frozen", b""), 3.0)
            except TimeoutError:
                self.send(signal.SIGCONT)
                # Stopped again at once, it would not have moved on.
                await within(broker.publish("thawed", b""))
            else:
                return
        raise AssertionError("it cannot be stopped")

    async def end(self) -> None:
        """Kill it if it is alive, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()


@contextlib.asynccontextmanager
async def holder(
    environment: Environment, topic: str, *, count: int = 0, publish: int = 0, impatient: bool = False
) -> AsyncIterator[Holder]:
    """A process that has published `publish` messages and holds `count`; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_HOLDER),
        *environment.arguments(impatient=impatient),
        *("--topic", topic, "--count", str(count), "--publish", str(publish)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    held = Holder(process)
    try:
        held.ids = [await held.line() for _ in range(count + publish)]
        yield held
    finally:
        await held.end()


@contextlib.asynccontextmanager
async def opened(environment: Environment, *, impatient: bool = False) -> AsyncIterator[Broker]:
    """Open a broker; close it at the end."""
    broker = await environment.open(impatient=impatient)
    try:
        yield broker
    finally:
        await broker.close()


@contextlib.asynccontextmanager
async def another(environment: Environment, broker: Broker) -> AsyncIterator[Broker]:
    """Open a second connection if the broker is shared; otherwise use the same one."""
    if not broker.capabilities.shared_between_processes:
        yield broker
        return
    async with opened(environment) as second:
        yield second


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE_S) -> T:
    """Return the result, or fail the test after a time limit."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def eventually(look: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < deadline, "the condition did not become true"
        await asyncio.sleep(0.005)


async def publish_all(broker: Broker, topic: str, payloads: Iterable[bytes], *, delay: float = 0.0) -> set[str]:
    """Publish concurrently; return the ids."""
    return set(await asyncio.gather(*(broker.publish(topic, payload, delay=delay) for payload in payloads)))


async def take(consumer: Consumer, count: int, seconds: float = PATIENCE_S) -> list[Delivery]:
    """Receive a number of messages without acking them."""
    return [await within(consumer.receive(), seconds) for _ in range(count)]


async def finish(consumer: Consumer, count: int, seconds: float = PATIENCE_S) -> list[Delivery]:
    """Receive and ack a number of messages."""
    deliveries = await take(consumer, count, seconds)
    await asyncio.gather(*(consumer.ack(delivery) for delivery in deliveries))
    return deliveries


async def shows(broker: Broker, topic: str, subscription: str = "workers", **figures: int) -> Backlog:
    """Assert figures of a backlog: at once if it is exact, eventually if it lags."""

    backlog = await broker.backlog(topic, subscription)

    async def right() -> bool:
        nonlocal backlog
        backlog = await broker.backlog(topic, subscription)
        return all(getattr(backlog, name) == value for name, value in figures.items())

    if not broker.capabilities.exact_backlog:
        await eventually(right)
    found = {name: getattr(backlog, name) for name in figures}
    assert found == figures, f"{found} is not {figures}"
    return backlog
