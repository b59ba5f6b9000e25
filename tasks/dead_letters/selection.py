"""Selection of dead letters: by id, fingerprint, time, kind and code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from messages.signing import MessageKeys
from services.concurrency import Together
from tasks.dead_letters.letters import AT_ONCE, Found, Letter, find_letters, parse_id, read_letter
from tasks.dead_letters.standing import Case, read_case
from tasks.ledger.ledger import Ledger

__all__ = ["NoSuchLetter", "Selection", "select"]


class NoSuchLetter(LookupError):
    """An id names no dead letter, or several; the message names the remedy."""


class Selection(msgspec.Struct, frozen=True):
    """Conditions that a dead letter must meet, all of them."""

    ids: tuple[str, ...] = ()
    """Ids, or their last parts; empty for any letter."""
    fingerprint: str = ""
    since: float = 0.0
    """Least time of its record, seconds since the epoch."""
    kind: str = ""
    """Kind of its task."""
    code: str = ""
    """Code of the catalogue."""


async def select(
    selection: Selection, ledger: Ledger, keys: MessageKeys, *, report: Callable[[int, int], None] | None = None
) -> list[Case]:
    """Read the dead letters that meet the conditions, the oldest first.

    Args:
        selection: the conditions.
        ledger: the ledger.
        keys: that the originals' signatures are checked with.
        report: called with the number of letters that were read, and of all, after each; None for no report.

    Raises:
        NoSuchLetter: an id names no letter, or several.
        services.errors.ObjectsDown: the store did not answer.
    """
    found = await _find(selection, ledger)
    gate, done = asyncio.Semaphore(AT_ONCE), 0

    async def read(one: Found) -> Case | None:
        nonlocal done
        async with gate:
            letter = await read_letter(one, ledger)
            if letter is None and selection.ids:
                # It was purged, or has aged out, since it was listed.
                raise _unknown(one.id.text)
            # The run of a letter that does not fit need not be read.
            case = await read_case(letter, ledger, keys) if letter and _fits_letter(letter, selection) else None
        done += 1
        if report is not None:
            report(done, len(found))
        return case

    async with Together() as group:
        jobs = [group.create_task(read(one)) for one in found]
    cases = [case for job in jobs if (case := job.result()) and selection.kind in {"", case.kind}]
    return sorted(cases, key=lambda case: (case.letter.at, case.letter.id))


async def _find(selection: Selection, ledger: Ledger) -> list[Found]:
    if not selection.ids:
        return await find_letters(ledger, since=selection.since, fingerprint=selection.fingerprint)
    found: dict[str, Found] = {}
    everything: list[Found] | None = None
    for text in selection.ids:
        day, fingerprint, name = _parsed(text)
        if day:
            listed = await find_letters(ledger, day=day, fingerprint=fingerprint, name=name)
        else:
            listed = everything = everything if everything is not None else await find_letters(ledger)
        one = _named(text, name, listed)
        found[one.id.text] = one
    return list(found.values())


def _parsed(text: str) -> tuple[str, str, str]:
    parsed = parse_id(text)
    if parsed is None:
        raise NoSuchLetter(f"{text[:200]!r} is no id of a dead letter: `scf-workers dead list` shows them")
    return parsed


def _named(text: str, name: str, listed: Sequence[Found]) -> Found:
    alike = [one for one in listed if one.id.name == name and one.recorded and not one.purged]
    if len(alike) > 1:
        raise NoSuchLetter(f"{text} names {len(alike)} dead letters: give one of {', '.join(o.id.text for o in alike)}")
    if not alike:
        raise _unknown(text)
    return alike[0]


def _unknown(text: str) -> NoSuchLetter:
    return NoSuchLetter(f"there is no dead letter {text}: `scf-workers dead list` shows them")


def _fits_letter(letter: Letter, selection: Selection) -> bool:
    record = letter.record
    return (
        letter.at >= selection.since
        and selection.fingerprint in {"", letter.id.fingerprint}
        and (not selection.code or (record is not None and record.code == selection.code))
    )
