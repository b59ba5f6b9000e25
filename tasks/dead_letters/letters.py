"""Dead letters as they are stored: their ids, their records, and what operators did to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from messages.errors import Permanent
from messages.keys import dead_key, dead_prefix
from services.concurrency import Together
from tasks.ledger.ledger import Ledger
from tasks.ledger.operators import Purged, Replayed
from tasks.ledger.records import DeadLetter

__all__ = [
    "AT_ONCE",
    "Found",
    "Letter",
    "LetterId",
    "find_letters",
    "parse_id",
    "purged_key",
    "read_letter",
    "read_letters",
    "replayed_key",
]

AT_ONCE: Final = 16
"""Letters that are read at the same time."""

_LATE_S: Final = 3 * 86400.0
"""Seconds that a letter may be recorded after the day in its key, on which it was born."""

_ID: Final = re.compile(r"(?:(?P<day>\d{4}-\d\d-\d\d)/(?P<fingerprint>[0-9a-f]{12})/)?(?P<name>[A-Za-z0-9_-]{1,160})")
_PURGED: Final = "purged"


class LetterId(msgspec.Struct, frozen=True, order=True):
    """Id of a dead letter; its text is the end of its key."""

    day: str
    """Day on which it was born, `YYYY-MM-DD`, UTC."""
    fingerprint: str
    name: str

    @property
    def text(self) -> str:
        """`{day}/{fingerprint}/{name}`."""
        return f"{self.day}/{self.fingerprint}/{self.name}"

    @property
    def key(self) -> str:
        """Key of its record in the ledger's bucket."""
        return dead_key(self.day, self.fingerprint, self.name)


class Found(msgspec.Struct, frozen=True):
    """A dead letter in a listing."""

    id: LetterId
    recorded: float = 0.0
    """When its record was stored, seconds since the epoch by the store's clock; 0 if there is none any more."""
    purged: bool = False


class Letter(msgspec.Struct, frozen=True):
    """A dead letter with its record."""

    id: LetterId
    recorded: float
    """When its record was stored, seconds since the epoch by the store's clock."""
    record: DeadLetter | None
    """None where this build cannot read it."""
    replays: tuple[Replayed, ...] = ()
    """Replays so far, the oldest first."""

    @property
    def at(self) -> float:
        """Seconds since the epoch at which the failure function recorded it."""
        return self.record.at if self.record else self.recorded


def parse_id(text: str) -> tuple[str, str, str] | None:
    """Read day, fingerprint and name of an id; the first two are empty for a name alone. None for another text."""
    found = _ID.fullmatch(text.removeprefix(dead_prefix()).strip("/"))
    return (found["day"] or "", found["fingerprint"] or "", found["name"]) if found else None


def replayed_key(letter: LetterId, n: int) -> str:
    """Return the key of the n-th replay's record, from 1."""
    return f"{letter.key}/replayed-{n}"


def purged_key(letter: LetterId) -> str:
    """Return the key of the purge's record."""
    return f"{letter.key}/{_PURGED}"


async def find_letters(
    ledger: Ledger, *, since: float = 0.0, fingerprint: str = "", day: str = "", name: str = ""
) -> list[Found]:
    """List dead letters, also purged ones, the oldest day first.

    Args:
        ledger: the ledger.
        since: seconds since the epoch; days that cannot hold a letter recorded since then are not listed.
        fingerprint: of the letters; empty for any.
        day: of the letters, `YYYY-MM-DD`; empty for any.
        name: begin of the letters' names; it narrows the listing only beside a day and a fingerprint.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    found: dict[LetterId, Found] = {}
    first = datetime.fromtimestamp(max(0.0, since - _LATE_S), UTC).date().isoformat()
    after = "" if day else dead_prefix(first).rstrip("/")
    prefix = dead_key(day, fingerprint, name) if day and fingerprint else dead_prefix(day)
    async for item in ledger.walk(prefix, after=after):
        parts = item.key.removeprefix(dead_prefix()).split("/")
        if len(parts) < 3 or (fingerprint and parts[1] != fingerprint):  # noqa: PLR2004 - day, fingerprint, name
            continue
        letter = LetterId(*parts[:3])
        found[letter] = _added(found.get(letter) or Found(letter), "/".join(parts[3:]), item.modified)
    return list(found.values())


def _added(found: Found, act: str, modified: float) -> Found:
    if not act:
        return msgspec.structs.replace(found, recorded=modified)
    if act == _PURGED:
        return msgspec.structs.replace(found, purged=True)
    return found


async def read_letters(found: Sequence[Found], ledger: Ledger, *, purged: bool = False) -> list[Letter]:
    """Read letters and their replays.

    Args:
        found: the letters.
        ledger: the ledger.
        purged: whether those are read too that were purged and are still stored, because the command died.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(one: Found) -> Letter | None:
        async with gate:
            return await read_letter(one, ledger, purged=purged)

    async with Together() as group:
        jobs = [group.create_task(read(one)) for one in found]
    return [letter for job in jobs if (letter := job.result())]


async def read_letter(found: Found, ledger: Ledger, *, purged: bool = False) -> Letter | None:
    """Read a letter and its replays; None without its record, or after its purge. See `read_letters`.

    Raises:
        services.errors.ObjectsDown: the store did not answer.
    """
    if not found.recorded or (not purged and (found.purged or await ledger.read_key(purged_key(found.id), Purged))):
        return None
    try:
        stored = await ledger.read_key(found.id.key, DeadLetter)
    except Permanent:
        return Letter(found.id, found.recorded, None)
    if stored is None:
        return None
    return Letter(found.id, stored.at, stored.record, await _replays(found.id, ledger))


async def _replays(letter: LetterId, ledger: Ledger) -> tuple[Replayed, ...]:
    """Return the replays of a letter, found by GET until one is absent: a listing is only a hint."""
    replays: list[Replayed] = []
    while stored := await ledger.read_key(replayed_key(letter, len(replays) + 1), Replayed):
        replays.append(stored.record)
    return tuple(replays)
