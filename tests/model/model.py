"""A model as the search sees it: moves, promises, and the end of a run in which no further fault happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, Generic

from tests.model.harness import ALWAYS, WAKE, AnyState, Message
from tests.model.rules import FAULTS, Fault, Rules
from tests.model.steps import Options, deliveries, disturbed

__all__ = ["Model"]

_FAIR_STEPS: Final = 600
_IDLE_SWEEPS: Final = 40
_PATIENT_SWEEPS: Final = 4
"""Sweeps before the clock is moved: a wake may wait for nothing but time."""
_SOON: Final = 3
"""Epochs to a deadline that ends a run."""
_EXCUSES: Final = {"crash", "unknown", "job_failed", "message_lost"}
"""Flags that remember a fault; every other flag but a note is a broken promise."""


class Model(ABC, Generic[AnyState]):
    """Moves and promises of one kind of state."""

    rules: Rules

    @abstractmethod
    def first(self, faults: Mapping[Fault, int], workers: int = 2) -> AnyState:
        """The state in which a run was just accepted."""

    @abstractmethod
    def begin(self, deadline: int, state: AnyState, worker: int) -> str:
        """Send a worker, in place, to the first effect of the message that it has just taken; return its name."""

    @abstractmethod
    def steps(self, state: AnyState, worker: int) -> Options[AnyState]:
        """The next step of a busy worker, with each outcome that it may have."""

    @abstractmethod
    def outside(self, state: AnyState) -> Options[AnyState]:
        """Moves of the vendor, the backend, the producers and the clock."""

    @abstractmethod
    def broken(self, state: AnyState) -> list[str]:
        """Promises that the records of a state break, beside its flags."""

    @abstractmethod
    def end_broken(self, end: AnyState) -> list[str]:
        """Promises that the end of a run breaks."""

    @abstractmethod
    def may_wait(self, state: AnyState) -> bool:
        """True if a run may wait for its deadline: a fault left nothing better."""

    def doomed(self, state: AnyState) -> bool:
        """True if no move but the deadline can end a run."""
        del state
        return False

    def deliveries(self, deadline: int, state: AnyState) -> Options[AnyState]:
        """Due messages given to the first idle worker, or lost."""
        return deliveries(self.rules, state, lambda new, worker: self.begin(deadline, new, worker))

    def moves(self, deadline: int, state: AnyState) -> Options[AnyState]:
        """Every move from a state."""
        for worker, work in enumerate(state.workers):
            if work:
                yield from ((f"w{worker} {label}", new) for label, new in self.steps(state, worker))
                yield from disturbed(state, worker)
        yield from self.deliveries(deadline, state)
        yield from self.outside(state)

    def problems(self, state: AnyState) -> list[str]:
        """Promises that a state breaks."""
        flagged = [flag for flag in state.flags if not flag.startswith(("note", "error")) and flag not in _EXCUSES]
        return flagged + self.broken(state)

    def endings(self, deadline: int, state: AnyState, *, sweep: bool = True) -> list[str]:
        """Promises that break in a fair end of a run; with `sweep=False` it must end without the sweep."""
        limit = state.now + _SOON if self.doomed(state) else ALWAYS
        if not sweep and self._fair_end(limit, state, sweep=False) is None:
            return ["waits for the sweep"]
        end = self._fair_end(ALWAYS if state.now < deadline else deadline, state)
        if end is None:
            if self._fair_end(state.now + _SOON, state) is None:
                return ["never ends, even with deadline and sweep"]
            return [] if self.may_wait(state) else ["hangs until the deadline"]
        broken = self.problems(end) or self.end_broken(end)
        return [f"{problem} (in a fair end)" for problem in broken]

    def _fair_end(self, deadline: int, start: AnyState, *, sweep: bool = True) -> AnyState | None:
        """The end of a run in which no further fault happens, with or without the sweep; None: it never ends."""
        state, idle = start.copy(), 0
        state.faults = dict.fromkeys(FAULTS, 0)
        state.faults["slow_job"] = 3
        for _ in range(_FAIR_STEPS):
            if state.delivered and state.quiet():
                return state
            following = self._fair_move(deadline, state)
            if following is None:
                idle += 1
                if idle > _IDLE_SWEEPS or not sweep:
                    return None
                state.publish(Message(WAKE, cause="sweep"))
                state.now += idle > _PATIENT_SWEEPS
            else:
                state = following
        return None

    def _fair_move(self, deadline: int, state: AnyState) -> AnyState | None:
        busy = next((worker for worker, work in enumerate(state.workers) if work), None)
        if busy is not None:
            # A look whose job is still running, and no further slowness left: the vendor moves on.
            move = next(self.steps(state, busy), None) or next(self.outside(state))
            return move[1]
        if taken := next(self.deliveries(deadline, state), None):
            return taken[1]
        if any(job.state == "running" for job in state.jobs) and not state.delivered:
            return next(self.outside(state))[1]
        if state.messages:
            later = state.copy()
            later.now += 1
            return later
        return None
