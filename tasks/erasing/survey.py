"""Survey of one user's data: all that an erasure would delete or empty, and the runs that forbid it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from messages.keys import (
    INPUT_PREFIX,
    OUTPUT_PREFIX,
    SOURCE_PREFIX,
    STAGING_PREFIX,
    IndexEntry,
    RunId,
    check_id,
    parse_index_key,
    user_index_prefix,
    user_records_prefix,
)
from services.objects.walk import walk
from tasks.context import ErasureServices
from tasks.dead_letters.letters import Letter, find_letters, read_letters
from tasks.erasing.content import has_content
from tasks.ledger.records import Accepted, Delivered, Erased, Verdict, parse_name
from tasks.view import current_number

__all__ = ["Folder", "Survey", "Unfinished", "survey_of"]

_FOLDERS: Final = (INPUT_PREFIX, SOURCE_PREFIX, STAGING_PREFIX, OUTPUT_PREFIX)
_ACCEPTED: Final = Accepted.at().text
_DELIVERED: Final = Delivered.at().text
_ERASED: Final = Erased.at().text
_VERDICT: Final = Verdict.at().text


class Folder(msgspec.Struct, frozen=True):
    """Objects of a user below one prefix."""

    prefix: str
    objects: int = 0
    bytes: int = 0


class Unfinished(msgspec.Struct, frozen=True):
    """A run that forbids an erasure."""

    run: RunId
    ended: bool
    """True if it has a verdict, which the backend has not acknowledged."""


class Survey(msgspec.Struct, frozen=True):
    """A user's data."""

    user: str
    folders: tuple[Folder, ...]
    """Folders of the data bucket."""
    runs: Mapping[RunId, tuple[str, ...]]
    """Run -> names of its records that may hold content; of runs that were not emptied yet."""
    entries: tuple[IndexEntry, ...]
    """Entries of the user's tasks in the lists."""
    letters: tuple[Letter, ...]
    """Dead letters of the user's tasks that hold the text of an error."""
    unfinished: tuple[Unfinished, ...]

    @property
    def records(self) -> int:
        """Number of records that may hold content."""
        return sum(len(names) for names in self.runs.values()) + len(self.letters)

    @property
    def empty(self) -> bool:
        """True if there is nothing to erase."""
        return not (any(folder.objects for folder in self.folders) or self.runs or self.entries or self.letters)


async def survey_of(user: str, services: ErasureServices) -> Survey:
    """Return a user's data.

    Args:
        user: the user.
        services: the two buckets.

    Raises:
        messages.errors.InvalidKey: no user can have this id.
        services.errors.ObjectsDown: the store did not answer.
    """
    check_id(user, "user")
    ledger = services.ledger
    folders = [await _folder(f"{root}{user}/", services) for root in _FOLDERS]
    trails = await _trails(user, services)
    found = ledger.walk(user_index_prefix(user))
    entries = [entry async for item in found if (entry := parse_index_key(item.key))]
    letters = await read_letters(await find_letters(ledger), ledger, purged=True)
    return Survey(
        user=user,
        folders=tuple(folders),
        runs={run: names for run, trail in trails.items() if (names := _to_be_emptied(trail))},
        entries=tuple(entries),
        letters=tuple(one for one in letters if one.record and one.record.user == user and one.record.detail),
        unfinished=_unfinished(trails),
    )


async def _folder(prefix: str, services: ErasureServices) -> Folder:
    sizes = [item.size async for item in walk(services.objects, prefix, services.ledger.rng)]
    return Folder(prefix, len(sizes), sum(sizes))


async def _trails(user: str, services: ErasureServices) -> dict[RunId, dict[str, float]]:
    """Return the records of every run of a user: run -> record's name -> when it was stored."""
    prefix = user_records_prefix(user)
    trails: dict[RunId, dict[str, float]] = {}
    async for item in services.ledger.walk(prefix):
        task, _, rest = item.key.removeprefix(prefix).partition("/")
        number, _, name = rest.partition("/")
        step, _, run = number.partition("-")
        if step.isdecimal() and run.isdecimal() and name:
            trails.setdefault(RunId(user, task, int(step), int(run)), {})[name] = item.modified
    return trails


def _to_be_emptied(trail: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names of the records with content that were stored after the run was emptied, if it was."""
    erased = trail.get(_ERASED, 0.0)
    names = [name for name, at in trail.items() if name != _ERASED and at > erased and has_content(parse_name(name))]
    # `accepted` last: the data of a run can be found while it has content.
    return tuple(sorted(names, key=lambda name: (name == _ACCEPTED, name)))


def _unfinished(trails: Mapping[RunId, Mapping[str, float]]) -> tuple[Unfinished, ...]:
    """Return the run that counts of each step whose backend has not acknowledged a verdict."""
    steps: dict[RunId, dict[int, Mapping[str, float]]] = {}
    for run, trail in trails.items():
        steps.setdefault(msgspec.structs.replace(run, run=0), {})[run.run] = trail
    found: list[Unfinished] = []
    for step, runs in sorted(steps.items()):
        number = current_number(runs)
        trail = runs.get(number, {})
        if _DELIVERED not in trail and (_ACCEPTED in trail or _VERDICT in trail):
            found.append(Unfinished(msgspec.structs.replace(step, run=number), ended=_VERDICT in trail))
    return tuple(found)
