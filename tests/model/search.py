"""Breadth-first search and random walks over the moves, with the promise as the oracle."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from tests.model.moves import deliveries, moves, outside, steps
from tests.model.rules import FAULTS, Fault, Rules
from tests.model.state import ALWAYS, WAKE, Message, State, first_state

__all__ = ["Found", "endings", "problems", "search", "shortened", "walk"]

_EXCUSES: Final = {"crash", "unknown", "job_failed", "message_lost", "unlisted"}
"""Flags that remember a fault; every other flag but a note is a broken promise."""
_SAMPLE: Final = 7
"""Every so many states a fair end is played, besides the quiet ones; odd, since states of one sort come in rhythms."""
_FAIR_STEPS: Final = 600
_IDLE_SWEEPS: Final = 40
_PATIENT_SWEEPS: Final = 4
"""Sweeps before the clock is moved: a wake may wait for nothing but time."""
_FAULTY_SHARE: Final = 0.12


@dataclass
class Found:
    """Broken promises with the shortest way to each; states seen; True when no state was left out."""

    states: int = 0
    complete: bool = True
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)


def problems(rules: Rules, state: State) -> list[str]:
    """Promises that a state breaks."""
    broken = [flag for flag in state.flags if not flag.startswith(("note", "error")) and flag not in _EXCUSES]
    verdict = state.verdict
    if state.output and (not verdict or verdict.status != "success" or state.output != (verdict.staged, verdict.etag)):
        broken.append("output is not of the verdict")
    if state.output and state.delivered == "contrary" and state.quiet():
        broken.append("results of a refunded task stay visible")
    if len(state.callbacks) > 1:
        broken.append("two different callbacks")
    most = 1 + (sum("G" in call.ends for call in state.calls.values()) if rules.unknown == "resend" else 0)
    if (
        rules.guarded
        and state.jobs
        and verdict
        and verdict.cause.endswith(":unknown")
        and "unlisted" not in state.flags
    ):
        broken.append("given up though the vendor lists the job")
    if len(state.jobs) > most:
        broken.append(f"paid {len(state.jobs)} times, allowed {most}")
    return broken


def _fair_end(rules: Rules, deadline: int, start: State, *, sweep: bool = True) -> State | None:
    """The end of a run in which no further fault happens, with or without the sweep; None: it never ends."""
    state, idle = start.copy(), 0
    state.faults = dict.fromkeys(FAULTS, 0)
    state.faults["slow_job"] = 3
    for _ in range(_FAIR_STEPS):
        if state.delivered and state.quiet():
            return state
        following = _fair_move(rules, deadline, state)
        if following is None:
            idle += 1
            if idle > _IDLE_SWEEPS or not sweep:
                return None
            state.publish(Message(WAKE, cause="sweep"))
            state.now += idle > _PATIENT_SWEEPS
        else:
            state = following
    return None


def _fair_move(rules: Rules, deadline: int, state: State) -> State | None:
    busy = next((worker for worker, work in enumerate(state.workers) if work), None)
    if busy is not None:
        # A look at a running job, without further slow looks left: the vendor makes progress.
        move = next(steps(rules, state, busy), None) or next(outside(state))
        return move[1]
    if taken := next(deliveries(rules, deadline, state), None):
        return taken[1]
    if any(job.state == "running" for job in state.jobs) and not state.delivered:
        return next(outside(state))[1]
    if state.messages:
        later = state.copy()
        later.now += 1
        return later
    return None


def endings(rules: Rules, deadline: int, state: State, *, sweep: bool = True) -> list[str]:
    """Promises that break in a fair end of a run; with `sweep=False` it must end without the sweep."""
    if not sweep and _fair_end(rules, ALWAYS, state, sweep=False) is None:
        return ["waits for the sweep"]
    end = _fair_end(rules, ALWAYS if state.now < deadline else deadline, state)
    if end is None:
        if _fair_end(rules, state.now + 3, state) is None:
            return ["never ends, even with deadline and sweep"]
        excuses = {"job_failed"} if rules.guarded and state.jobs else {"unknown", "job_failed"}
        return [] if state.flags & excuses else ["hangs until the deadline"]
    broken = problems(rules, end)
    if not broken and end.verdict and end.verdict.status == "success" and not end.output and not end.backend:
        broken = ["success without output"]
    return [f"{problem} (in a fair end)" for problem in broken]


def _way(parents: Mapping[Any, tuple[Any, str] | None], key: Any) -> list[str]:
    labels = []
    while step := parents[key]:
        key, label = step
        labels.append(label)
    return labels[::-1]


def _quiet_way(rules: Rules, deadline: int, state: State, until: str) -> tuple[State, list[str]]:
    """Move without faults up to a label: the search begins there."""
    labels: list[str] = []
    while until and not (labels and until in labels[-1]):
        label, state = next(move for move in moves(rules, deadline, state) if move[1].faults == state.faults)
        labels.append(label)
    return state, labels


def search(
    rules: Rules,
    faults: Mapping[Fault, int],
    *,
    deadline: int = ALWAYS,
    until: str = "",
    most: int,
    sweep: bool = True,
    wanted: str = "",
) -> Found:
    """Visit up to `most` states breadth first, after a way without faults to the first label that contains `until`.

    It ends at the first problem that contains `wanted`.
    """
    state, prefix = _quiet_way(rules, deadline, first_state(faults), until)
    found, todo = Found(), deque([state])
    parents: dict[Any, tuple[Any, str] | None] = {state.key(): None}
    while todo:
        state = todo.popleft()
        key = state.key()
        found.states += 1
        found.notes |= {flag for flag in state.flags if flag.startswith("note")}
        broken = problems(rules, state)
        if not broken and (state.quiet() or found.states % _SAMPLE == 0):
            broken = endings(rules, deadline, state, sweep=sweep)
        for problem in broken:
            found.problems.setdefault(problem, prefix + _way(parents, key))
        if (wanted and any(wanted in problem for problem in broken)) or found.states >= most:
            found.complete = not todo
            break
        if broken:
            continue
        for label, new in moves(rules, deadline, state):
            if (successor := new.key()) not in parents:
                parents[successor] = (key, label)
                todo.append(new)
    return found


def walk(
    rules: Rules, faults: Mapping[Fault, int], seed: int, *, deadline: int, steps_most: int = 160
) -> tuple[list[str], list[str]]:
    """Walk at random with many faults; return the broken promises and the labels of the way."""
    chance, state, labels = random.Random(seed), first_state(faults, workers=3), list[str]()
    for _ in range(steps_most):
        options = list(moves(rules, deadline, state))
        faulty = [option for option in options if option[1].faults != state.faults]
        plain = [option for option in options if option[1].faults == state.faults]
        if not options:
            break
        label, state = chance.choice(faulty if faulty and (not plain or chance.random() < _FAULTY_SHARE) else plain)
        labels.append(label)
        if broken := problems(rules, state):
            return broken, labels
    return endings(rules, deadline, state), labels


def _replay(rules: Rules, faults: Mapping[Fault, int], deadline: int, labels: Iterable[str]) -> tuple[State, list[str]]:
    """Follow the labels that are possible; the others are passed over."""
    state, kept = first_state(faults, workers=3), list[str]()
    for label in labels:
        options = (new for name, new in moves(rules, deadline, state) if name == label)
        for new in islice(options, 1):
            state = new
            kept.append(label)
    return state, kept


def shortened(
    rules: Rules, faults: Mapping[Fault, int], labels: list[str], problem: str, *, deadline: int
) -> list[str]:
    """Drop the steps of a failing walk that its problem does not need."""
    best, size = labels, max(1, len(labels) // 2)
    while size:
        start = 0
        while start < len(best):
            state, kept = _replay(rules, faults, deadline, best[:start] + best[start + size :])
            still = problem in (problems(rules, state) or endings(rules, deadline, state))
            if still and len(kept) < len(best):
                best = kept
            else:
                start += size
        size //= 2
    return best
