"""Groups of dead letters: one row for each fingerprint. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tasks.dead_letters.standing import Case
from tasks.ledger.records import DeadLetter

__all__ = ["Group", "group_cases"]


class Group(msgspec.Struct, frozen=True):
    """Dead letters of one cause."""

    fingerprint: str
    count: int
    first: float
    """When the first was recorded, seconds since the epoch."""
    last: float
    kinds: tuple[str, ...]
    """Kinds of the tasks, as far as they are known."""
    reason: str
    stage: str
    code: str
    error: str
    """Class of the error."""
    place: str
    """Module and function that raised it."""
    detail: str
    """Text of the newest error, redacted and cut."""
    refunded: int
    """Letters whose run failed and was acknowledged by the backend."""
    replayed: int
    """Letters that were replayed at least once."""


def group_cases(cases: Iterable[Case]) -> list[Group]:
    """Return a row for each fingerprint, the most frequent first."""
    by_fingerprint: dict[str, list[Case]] = {}
    for case in cases:
        by_fingerprint.setdefault(case.letter.id.fingerprint, []).append(case)
    groups = [_group(fingerprint, alike) for fingerprint, alike in by_fingerprint.items()]
    return sorted(groups, key=lambda group: (-group.count, group.fingerprint))


def _group(fingerprint: str, cases: list[Case]) -> Group:
    times = [case.letter.at for case in cases]
    newest = _newest(cases)
    return Group(
        fingerprint=fingerprint,
        count=len(cases),
        first=min(times),
        last=max(times),
        kinds=tuple(sorted({case.kind for case in cases if case.kind})),
        reason=newest.reason if newest else "",
        stage=newest.stage if newest else "",
        code=newest.code if newest else "",
        error=newest.error if newest else "",
        place=newest.place if newest else "",
        detail=newest.detail if newest else "",
        refunded=sum(case.refunded for case in cases),
        replayed=sum(bool(case.letter.replays) for case in cases),
    )


def _newest(cases: list[Case]) -> DeadLetter | None:
    read = [case.letter.record for case in cases if case.letter.record]
    return max(read, key=lambda record: record.at, default=None)
