from __future__ import annotations

import threading
import time
from collections.abc import Callable

from telemetry.sending import Sender

LIMIT = 10.0
"""Seconds in which an immediate effect has happened on any machine."""


class Collector:
    """Accepts data once its gate is open, and returns whether they arrived."""

    def __init__(self, *, well: bool = True) -> None:
        self.well = well
        self.sent = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.awaited: list[bool] = []

    def send(self, *, awaited: bool) -> bool:
        self.awaited.append(awaited)
        self.begun.set()
        self.gate.wait(LIMIT)
        self.sent += 1
        return self.well


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sender(collector: Collector, clock: Callable[[], float] = time.monotonic, every_s: float = 3600.0) -> Sender:
    return Sender(collector.send, every_s=every_s, rest_s=30.0, monotonic=clock)


def test_flush_waits_until_all_is_sent() -> None:
    collector = Collector()
    one = sender(collector)
    assert one.flush(LIMIT)
    assert collector.sent == 1
    assert one.flush(LIMIT)
    assert collector.sent == 2
    one.close(LIMIT)


def test_it_sends_by_itself() -> None:
    collector = Collector()
    one = sender(collector, every_s=0.01)
    assert collector.begun.wait(LIMIT)
    assert not collector.awaited[0]
    one.close(LIMIT)
    assert collector.awaited[-1]


def test_a_collector_that_hangs_costs_the_limit_once_and_then_nothing() -> None:
    collector = Collector()
    collector.gate.clear()
    one = sender(collector, Clock())
    assert not one.flush(0.05)
    # The sink still hangs; no call waits for it again before its pause is over.
    assert not one.flush(1e9)
    collector.gate.set()
    one.close(LIMIT)


def test_after_a_failure_it_rests_and_then_tries_again() -> None:
    collector, clock = Collector(well=False), Clock()
    one = sender(collector, clock)
    assert not one.flush(LIMIT)
    assert not one.flush(LIMIT)
    assert collector.sent == 1
    collector.well = True
    clock.now += 30.0
    assert one.flush(LIMIT)
    assert collector.sent == 2
    one.close(LIMIT)


def test_a_flush_during_a_sending_waits_for_the_next_one() -> None:
    collector = Collector()
    collector.gate.clear()
    one = sender(collector, every_s=0.01)
    assert collector.begun.wait(LIMIT)
    # Lines that were logged after that sending began may not be in it.
    done: list[bool] = []
    waiter = threading.Thread(target=lambda: done.append(one.flush(LIMIT)))
    waiter.start()
    collector.gate.set()
    waiter.join(LIMIT)
    assert done == [True]
    assert collector.sent >= 2
    one.close(LIMIT)


def test_closing_sends_the_rest_and_ends_the_thread() -> None:
    collector = Collector()
    one = sender(collector)
    assert one.close(LIMIT)
    assert collector.sent == 1
    assert not one.close(LIMIT)
    assert not one.flush(LIMIT)
    assert collector.sent == 1


def test_its_thread_holds_up_no_exit() -> None:
    one = sender(Collector())
    assert one._thread.daemon
    one.close(LIMIT)
    one._thread.join(LIMIT)
    assert not one._thread.is_alive()
