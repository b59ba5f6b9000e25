"""Operators' pauses of vendors and kinds: which messages wait, and how long. Pure.

A pause holds up work that comes before a paid call: of a vendor its new calls, of a kind also clean and prompt, whose
products a call would use. Jobs that a vendor has accepted are polled and collected all the same, because they are paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from messages.bodies import Stage
from messages.keys import PAUSES_PREFIX, pause_key

__all__ = [
    "PAUSED",
    "Change",
    "Pause",
    "Paused",
    "Target",
    "TargetOf",
    "held_by",
    "look_again_s",
    "parse_pause_key",
]

PAUSED: Final = "paused"
"""Reason of a wait, see `tasks.ledger.records.Waits`."""

TargetOf = Literal["vendor", "kind"]

_OF_KIND: Final = (Stage.CLEAN, Stage.PROMPT, Stage.GENERATE)
_SOONEST_S: Final = 5.0
_LATEST_S: Final = 60.0


class Target(msgspec.Struct, frozen=True, order=True):
    """A vendor or a kind that can be paused."""

    of: TargetOf
    name: str

    @property
    def key(self) -> str:
        """Key of its pause."""
        return pause_key(self.of, self.name)

    def __str__(self) -> str:
        return f"{self.of} {self.name}"


Paused = Mapping[Target, float]
"""Paused vendors and kinds -> when each pause began, seconds since the epoch by the store's clock."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's pause, as it is stored."""

    of: TargetOf
    name: str
    by: str
    """Name of the operator."""
    why: str
    at: float
    """When it began, seconds since the epoch by the store's clock."""

    @property
    def target(self) -> Target:
        """The vendor or kind."""
        return Target(self.of, self.name)


class Change(Pause, frozen=True, kw_only=True):
    """Record of a pause or of its end; `at` is the time of the change."""

    action: Literal["pause", "resume"]


def parse_pause_key(key: str) -> Target | None:
    """Return the target of a pause by its key; None for a key of another form."""
    match key.removeprefix(PAUSES_PREFIX).split("/"):
        case ["vendor", name] if name:
            return Target("vendor", name)
        case ["kind", name] if name:
            return Target("kind", name)
        case _:
            return None


def held_by(stage: Stage, kind: str, vendor: str, paused: Paused) -> Target | None:
    """Return the pause that holds up a message; None if there is none.

    Args:
        stage: of the message.
        kind: of the run.
        vendor: of the run's paid calls; empty for a kind without.
        paused: vendors and kinds that are paused now.
    """
    if stage in _OF_KIND and (target := Target("kind", kind)) in paused:
        return target
    if stage is Stage.GENERATE and (target := Target("vendor", vendor)) in paused:
        return target
    return None


def look_again_s(paused_s: float) -> float:
    """Return the seconds until a message that is held up comes again: half the pause so far, from 5 s to a minute."""
    return min(_LATEST_S, max(_SOONEST_S, paused_s / 2))
