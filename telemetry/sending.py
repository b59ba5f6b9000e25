"""Background sending of telemetry, which never delays the work.

A daemon thread sends every few seconds. A caller that must wait for it (a function before it returns, a worker before
it exits) waits at most for a limit. After a failure the thread pauses, so a dead collector costs a function at most one
wait in half a minute; spans over the bound are lost meanwhile, and the loss is logged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, final

__all__ = ["EVERY_S", "REST_S", "Send", "Sender"]

EVERY_S: Final = 5.0
"""Seconds between two exports while the process works."""

REST_S: Final = 30.0
"""Pause in seconds after a failed export."""


class Send(Protocol):
    """Function that a sender calls. It must return by itself, and must not raise."""

    def __call__(self, *, awaited: bool) -> bool:
        """Send everything recorded; `awaited` is true if a caller waits for it. Returns True if it arrived."""
        ...


@final
class Sender:
    """Sends from a thread of its own.

    Args:
        send: sends everything recorded.
        every_s: seconds between two exports that are not awaited.
        rest_s: pause in seconds after a failed export.
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
        """Wait until everything recorded before this call has been sent.

        Args:
            limit_s: longest wait in seconds; during the pause after a failure this returns at once.

        Returns:
            True if it was sent.
        """
        with self._changed:
            if self._closing or self._is_resting():
                return False
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            in_time = self._changed.wait_for(lambda: self._answered >= mine, limit_s)
            if not in_time:
                # The thread hangs outside of any time limit, such as in the resolver: the next caller must not wait as
                # well.
                self._rest_now()
            return not self._is_resting()

    def close(self, limit_s: float) -> bool:
        """Send the rest, then end the thread. Returns True if everything was sent; closing twice is harmless."""
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
                latest, awaited = self._asked, self._asked > self._answered
            if not self._is_resting() and not self._send(awaited=awaited):
                self._rest_now()
            with self._changed:
                self._answered = latest
                self._changed.notify_all()

    def _rest_now(self) -> None:
        self._resting_until = self._monotonic() + self._rest

    def _is_resting(self) -> bool:
        return self._monotonic() < self._resting_until
