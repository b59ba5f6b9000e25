"""The table of docs/reliability.md that says which errors spend attempts, against the classes of the errors."""

from __future__ import annotations

import random
import re
from importlib import import_module
from typing import Final, NamedTuple

import pytest

from consumers.engine.outcomes import DeadLettered, Outcome, Reject, Retry, Snooze
from consumers.engine.retry import FLOOR_DELAY, JITTER, MAX_ATTEMPTS, OUTAGE_DELAY, OUTAGE_LONGEST, outcome_of
from messages.errors import RetryClass, ScfWorkersError
from runtime.vendors import VENDORS
from tests.docs.pages import text_of

LAYERS: Final = ("messages", "recipes", "services", "transport", "tasks", "consumers.engine", "consumers.stages")
"""Where an error is raised that may reach the engine from a stage."""

RNG: Final = random.Random(1)

_ERRORS: Final = ("consumers.stages.table", "consumers.engine.engine", "runtime.wiring", "transport.errors")
"""Modules whose imports define the errors, beside the clients of vendors, which are imported when used."""


class Row(NamedTuple):
    """A row of the table."""

    retry: str
    attempts: str
    least: str
    rests: str


def _rows() -> dict[str, Row]:
    section = text_of("docs/reliability.md").partition("\n## Outages and attempts\n")[2].partition("\n## ")[0]
    found: dict[str, Row] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]) if line.startswith("| `") else ():
            assert name not in found, f"{name} stands there twice"
            found[name] = Row(*cells[1:5])
    return found


def _classes() -> dict[str, type[ScfWorkersError]]:
    for module in (*_ERRORS, *(f"{entry.package}.client" for entry in VENDORS.values())):
        import_module(module)
    found: dict[str, type[ScfWorkersError]] = {}
    left = [ScfWorkersError]
    while left:
        for kind in left.pop().__subclasses__():
            left.append(kind)
            if kind.__module__.startswith(LAYERS):
                found[kind.__name__] = kind
    return found


ROWS: Final = _rows()
CLASSES: Final = _classes()


def _outcome(name: str, attempt: int = 0) -> Outcome:
    return outcome_of(CLASSES[name]("x"), attempt, RNG)


def test_every_error_of_a_stage_stands_in_the_table_and_nothing_else() -> None:
    assert set(ROWS) == set(CLASSES)
    assert len(ROWS) > 40


@pytest.mark.parametrize("name", ROWS)
def test_its_row_is_what_its_class_says(name: str) -> None:
    row, kind = ROWS[name], CLASSES[name]
    least = {
        RetryClass.OUTAGE: OUTAGE_DELAY,
        RetryClass.UNKNOWN: OUTAGE_DELAY,
        RetryClass.TRANSIENT: max(FLOOR_DELAY, kind.least_delay),
    }
    assert row.retry == kind.retry.value
    assert row.least == (f"{least[kind.retry]:g} s" if kind.retry in least else "–")
    assert row.rests == ("yes" if kind.whole_service else "no")


@pytest.mark.parametrize("name", ROWS)
def test_the_engine_does_what_its_row_says(name: str) -> None:
    row, first, last = ROWS[name], _outcome(name), _outcome(name, MAX_ATTEMPTS)
    match row.attempts:
        case "never":
            assert isinstance(first, Snooze)
            assert isinstance(last, Snooze)
            assert first.delay >= float(row.least.removesuffix(" s"))
            assert (first.pause > 0) == (row.rests == "yes")
        case "one of five":
            assert isinstance(first, Retry)
            assert isinstance(_outcome(name, MAX_ATTEMPTS - 2), Retry)
            assert isinstance(_outcome(name, MAX_ATTEMPTS - 1), DeadLettered)
            assert first.delay >= float(row.least.removesuffix(" s"))
        case _:
            assert row.attempts == "no more"
            assert isinstance(first, Reject if row.retry == "rejected" else DeadLettered)


def test_what_the_text_says_of_the_waits() -> None:
    later = outcome_of(CLASSES["FetchFailed"]("x"), 0, RNG, waits=100)
    assert isinstance(later, Snooze)
    assert later.delay <= OUTAGE_LONGEST * (1 + JITTER)
    assert OUTAGE_LONGEST == 40
    assert JITTER == 0.2
    assert MAX_ATTEMPTS == 5
