"""Breadth-first search and random walks over the moves, with the promise as the oracle."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from tests.model.harness import ALWAYS, AnyState
from tests.model.model import Model
from tests.model.rules import Fault

__all__ = ["Found", "search", "shortened", "walk"]

_SAMPLE: Final = 40
"""Every so many states a fair end is played, besides those at rest."""
_FAULTY_SHARE: Final = 0.12


@dataclass
class Found:
    """Broken promises with the shortest way to each; states seen; True when no state was left out."""

    states: int = 0
    complete: bool = True
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)


def _way(parents: Mapping[Any, tuple[Any, str] | None], key: Any) -> list[str]:
    labels = []
    while step := parents[key]:
        key, label = step
        labels.append(label)
    return labels[::-1]


def _quiet_way(model: Model[AnyState], deadline: int, state: AnyState, until: str) -> tuple[AnyState, list[str]]:
    """Move without faults up to a label: the search begins there."""
    labels: list[str] = []
    while until and not (labels and until in labels[-1]):
        label, state = next(move for move in model.moves(deadline, state) if move[1].faults == state.faults)
        labels.append(label)
    return state, labels


def search(
    model: Model[AnyState],
    faults: Mapping[Fault, int],
    *,
    deadline: int = ALWAYS,
    until: str = "",
    most: int,
    sweep: bool = True,
    first_only: bool = False,
) -> Found:
    """Visit up to `most` states breadth first, after a way without faults to the first label that contains `until`."""
    state, prefix = _quiet_way(model, deadline, model.first(faults), until)
    found, todo = Found(), deque([state])
    parents: dict[Any, tuple[Any, str] | None] = {state.key(): None}
    while todo:
        state = todo.popleft()
        key = state.key()
        found.states += 1
        found.notes |= {flag for flag in state.flags if flag.startswith("note")}
        broken = model.problems(state)
        if not broken and (state.resting() or found.states % _SAMPLE == 0):
            broken = model.endings(deadline, state, sweep=sweep)
        for problem in broken:
            found.problems.setdefault(problem, prefix + _way(parents, key))
        if (broken and first_only) or found.states >= most:
            found.complete = not todo
            break
        if broken:
            continue
        for label, new in model.moves(deadline, state):
            if (successor := new.key()) not in parents:
                parents[successor] = (key, label)
                todo.append(new)
    return found


def walk(
    model: Model[AnyState], faults: Mapping[Fault, int], seed: int, *, deadline: int, steps_most: int = 160
) -> tuple[list[str], list[str]]:
    """Walk at random with many faults; return the broken promises and the labels of the way."""
    chance, state, labels = random.Random(seed), model.first(faults, workers=3), list[str]()
    for _ in range(steps_most):
        options = list(model.moves(deadline, state))
        faulty = [option for option in options if option[1].faults != state.faults]
        plain = [option for option in options if option[1].faults == state.faults]
        if not options:
            break
        label, state = chance.choice(faulty if faulty and (not plain or chance.random() < _FAULTY_SHARE) else plain)
        labels.append(label)
        if broken := model.problems(state):
            return broken, labels
    return model.endings(deadline, state), labels


def _replay(
    model: Model[AnyState], faults: Mapping[Fault, int], deadline: int, labels: Iterable[str]
) -> tuple[AnyState, list[str]]:
    """Follow the labels that are possible; the others are passed over."""
    state, kept = model.first(faults, workers=3), list[str]()
    for label in labels:
        options = (new for name, new in model.moves(deadline, state) if name == label)
        for new in islice(options, 1):
            state = new
            kept.append(label)
    return state, kept


def shortened(
    model: Model[AnyState], faults: Mapping[Fault, int], labels: list[str], problem: str, *, deadline: int
) -> list[str]:
    """Drop the steps of a failing walk that its problem does not need."""
    best, size = labels, max(1, len(labels) // 2)
    while size:
        start = 0
        while start < len(best):
            state, kept = _replay(model, faults, deadline, best[:start] + best[start + size :])
            still = problem in (model.problems(state) or model.endings(deadline, state))
            if still and len(kept) < len(best):
                best = kept
            else:
                start += size
        size //= 2
    return best
