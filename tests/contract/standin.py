"""A vendor's stand-in over real HTTP, on a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import pytest

from sandbox import spoiled_answers
from sandbox.control import Controlled
from sandbox.server import Server
from tests.support.leap import holding_back


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


C = TypeVar("C", bound=Controlled[Any])


class StandIn(Generic[C]):
    """Server, core and clock.

    Args:
        server: serves the app.
        core: state of the app.
        clock: of the app.
        fault: shape of its faults.
    """

    def __init__(self, server: Server, core: C, clock: Clock, fault: type[Any]) -> None:
        self.server = server
        self.core = core
        self.clock = clock
        self.caller: asyncio.AbstractEventLoop | None = None
        self._fault = fault

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    def skip_limits(self) -> None:
        """From now on a call of this loop without an answer reaches its time limit at once."""
        self.caller = asyncio.get_running_loop()

    def arm(self, on: str, kind: str = "answer", **more: Any) -> None:
        self.core.arm(self._fault(on=on, kind=kind, **more))


@contextmanager
def running(found: StandIn[C], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a stand-in; a call without an answer ends at once for a caller that skips limits."""
    held = holding_back(spoiled_answers.wait_for_disconnect, lambda: found.caller)
    monkeypatch.setattr(spoiled_answers, "wait_for_disconnect", held)
    with found.server:
        yield
