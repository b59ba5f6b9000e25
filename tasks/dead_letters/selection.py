"""Selection of dead letters: by id, fingerprint, time, kind and code."""

from __future__ import annotations

import msgspec

from messages.signing import MessageKeys
from tasks.dead_letters.letters import Found, find_letters, parse_id, read_letters
from tasks.dead_letters.standing import Case, read_cases
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


async def select(selection: Selection, ledger: Ledger, keys: MessageKeys) -> list[Case]:
    """Read the dead letters that meet the conditions, the oldest first.

    Raises:
        NoSuchLetter: an id names no letter, or several.
        services.errors.ObjectsDown: the store did not answer.
    """
    found = await _find(selection, ledger)
    cases = await read_cases(await read_letters(found, ledger), ledger, keys)
    return sorted((case for case in cases if _fits(case, selection)), key=lambda case: (case.letter.at, case.letter.id))


async def _find(selection: Selection, ledger: Ledger) -> list[Found]:
    if not selection.ids:
        return await find_letters(ledger, since=selection.since, fingerprint=selection.fingerprint)
    found: dict[str, Found] = {}
    for text in selection.ids:
        one = await _find_one(text, ledger)
        found[one.id.text] = one
    return list(found.values())


async def _find_one(text: str, ledger: Ledger) -> Found:
    parsed = parse_id(text)
    if parsed is None:
        raise NoSuchLetter(f"{text[:200]!r} is no id of a dead letter: `scf-workers dead list` shows them")
    day, fingerprint, name = parsed
    listed = await find_letters(ledger, day=day, fingerprint=fingerprint)
    alike = [one for one in listed if one.id.name == name and one.recorded and not one.purged]
    if len(alike) > 1:
        raise NoSuchLetter(f"{text} names {len(alike)} dead letters: give one of {', '.join(o.id.text for o in alike)}")
    if not alike:
        raise NoSuchLetter(f"there is no dead letter {text}: `scf-workers dead list` shows them")
    return alike[0]


def _fits(case: Case, selection: Selection) -> bool:
    record = case.letter.record
    return (
        case.letter.at >= selection.since
        and selection.fingerprint in {"", case.letter.id.fingerprint}
        and selection.kind in {"", case.kind}
        and (not selection.code or (record is not None and record.code == selection.code))
    )
