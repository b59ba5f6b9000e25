"""One state of a run with one slot, as the ledger, the vendor and the backend have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.model.harness import Call, Harness, Work
from tests.model.rules import Fault, Rules

__all__ = ["State", "first_state"]


class State(Harness):
    """The records, the results and the backend of one run."""

    __slots__ = ("backend", "callbacks", "calls", "output", "staged")

    calls: dict[int, Call]
    staged: dict[Any, int]
    """ETag by staging key."""
    output: tuple[Any, int] | None
    backend: str
    """Empty, or `cancelled` where the backend has cancelled by itself."""
    callbacks: frozenset[str]

    def copy(self) -> State:
        """A copy that shares nothing mutable."""
        new = super().copy()
        new.output, new.backend, new.callbacks = self.output, self.backend, self.callbacks
        new.calls, new.staged = self.calls.copy(), self.staged.copy()
        return new

    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for equal states."""
        return (
            *super().key(),
            self.output,
            self.backend,
            self.callbacks,
            frozenset(self.calls.items()),
            frozenset(self.staged.items()),
        )

    def mark_name(self, rules: Rules, work: Work) -> tuple[Any, ...]:
        """Name of the mark of a message."""
        return (work.seq, work.stage if rules.numbers_by_stage else "")

    def known(self) -> list[int]:
        """Calls whose job is known."""
        return [number for number, call in sorted(self.calls.items()) if call.job or call.hinted]

    def live(self) -> list[int]:
        """Calls whose job is known and has not ended badly."""
        return [number for number in self.known() if not set(self.calls[number].ends) & {"F", "R"}]

    def open(self) -> list[int]:
        """Calls without a job and without an end."""
        return [n for n, call in sorted(self.calls.items()) if not (call.job or call.ends or call.hinted)]

    def job_of(self, number: int) -> int:
        """Index of a call's job."""
        return (self.calls[number].job or self.calls[number].hinted) - 1


def first_state(faults: Mapping[Fault, int], workers: int = 2) -> State:
    """A run that was just accepted."""
    state = State()
    state.output, state.backend, state.callbacks = None, "", frozenset()
    state.calls, state.staged = {}, {}
    state.begin_run(dict(faults), workers)
    return state
