"""A ledger on a store in memory, with clocks that the test moves and answers that it cuts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from services import repeat
from services.errors import ObjectsDown
from services.objects.memory import MemoryObjects
from tasks.ledger.ledger import Ledger

NOON = 1_763_888_400.0


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Cuts:
    """Faults of a store: the operations named, for a number of times."""

    def __init__(self) -> None:
        self.plan: list[tuple[str, bool, int]] = []
        self.hits: list[tuple[str, str]] = []

    def cut(self, operation: str, *, done: bool, times: int = 1) -> None:
        """Raise ObjectsDown: after the effect when `done`, else instead of it."""
        self.plan.append((operation, done, times))

    async def __call__(self, operation: str, key: str, *, done: bool) -> None:
        for n, (named, when, times) in enumerate(self.plan):
            if (named, when) == (operation, done) and times:
                self.plan[n] = (named, when, times - 1)
                self.hits.append((operation, key))
                raise ObjectsDown(f"{operation} {key}: cut")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeat, "_PAUSES_S", (0.0, 0.0))


@pytest.fixture
def clock() -> Clock:
    """This machine's clock."""
    return Clock()


@pytest.fixture
def store_clock() -> Clock:
    """The store's clock."""
    return Clock()


@pytest.fixture
def cuts() -> Cuts:
    return Cuts()


@pytest.fixture
def objects(store_clock: Clock, cuts: Cuts) -> MemoryObjects:
    return MemoryObjects(bucket="ledger-1250000000", clock=store_clock, faults=cuts)


@pytest.fixture
def ledger_of(objects: MemoryObjects, clock: Clock) -> Callable[[str], Ledger]:
    """A ledger of one process: its nonces begin with the process's name."""

    def make(process: str) -> Ledger:
        numbers = itertools.count(1)
        return Ledger(objects, clock=clock, nonce=lambda: f"{process}-{next(numbers)}")

    return make


@pytest.fixture
def ledger(ledger_of: Callable[[str], Ledger]) -> Ledger:
    return ledger_of("p1")
