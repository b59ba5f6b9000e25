"""Sending what is told, without ever being in the way of the work.

One daemon thread sends every few seconds; whoever must not return before all is sent (a function, a worker that ends)
waits for it, but no longer than a limit. After a failure it rests, so that a dead collector costs a function at most
one wait in half a minute; what gathers beyond the bound in the meantime is lost, and said to be lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, final

__all__ = ["EVERY_S", "REST_S", "Send", "Sender"]

EVERY_S: Final = 5.0
"""Seconds between two sendings while the process works."""

REST_S: Final = 30.0
"""Seconds without another try after one that failed."""


class Send(Protocol):
    """What a sender calls. It must end by itself, and must not raise."""

    def __call__(self, *, awaited: bool) -> bool:
        """Send what there is; `awaited` when somebody waits until all is sent. Returns whether it arrived."""
        ...


@final
class Sender:
    """Sends from a thread of its own.

    Args:
        send: sends what there is.
        every_s: seconds between two sendings that nobody asked for.
        rest_s: seconds without a try after a failure.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        send: Send,
        *,
        every_s: float = EVERY_S,
        rest_s: float = REST_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._every = every_s
        self._rest = rest_s
        self._monotonic = monotonic
        self._resting_until = float("-inf")
        self._changed = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def flush(self, limit_s: float) -> bool:
        """Wait until all that was there when this was called has been sent.

        Args:
            limit_s: seconds to wait at most; while it rests after a failure, this returns at once.

        Returns:
            Whether it was sent.
        """
        with self._changed:
            if self._closing or self._is_resting():
                return False
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            in_time = self._changed.wait_for(lambda: self._answered >= mine, limit_s)
            if not in_time:
                # It hangs where no limit reaches, in the resolver say: let the next caller not wait for it as well.
                self._rest_now()
            return not self._is_resting()

    def close(self, limit_s: float) -> bool:
        """Send what is left, then end the thread. Returns whether all was sent; closing twice is harmless."""
        sent = self.flush(limit_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        return sent

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._asked > self._answered, self._every)
                if self._closing:
                    return
                turn, awaited = self._asked, self._asked > self._answered
            if not self._is_resting() and not self._send(awaited=awaited):
                self._rest_now()
            with self._changed:
                self._answered = turn
                self._changed.notify_all()

    def _rest_now(self) -> None:
        self._resting_until = self._monotonic() + self._rest

    def _is_resting(self) -> bool:
        return self._monotonic() < self._resting_until
