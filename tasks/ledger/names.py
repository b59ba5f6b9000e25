"""Names of records: typed, written from one template for each record class, and read back with the same template.

A record class says its template once (`call-{slot}-{n}-id`) by the family that it belongs to; `tasks.ledger.records`
lists the classes. No other module of the product writes such a name.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Generic, Self, TypeVar

import msgspec

__all__ = ["OfCall", "OfMessage", "OfSlot", "OfTurn", "Once", "RecordBase", "RecordName", "pattern_of"]

R = TypeVar("R")

_COUNT: Final = r"[1-9][0-9]*"
_PARTS: Final = {
    "{slot}": rf"(?P<slot>{_COUNT})",
    "{n}": rf"(?P<n>{_COUNT})",
    "{seq}": r"(?P<seq>0|[1-9][0-9]*)",
    "{place}": rf"(?P<stage>[a-z]+)(?:\.(?P<slot>{_COUNT}))?",
}


class RecordName(msgspec.Struct, Generic[R], frozen=True):
    """The name of a record in its run's folder, and the class that is stored there."""

    text: str
    """The last part of the object key."""
    kind: type[R]


class RecordBase(msgspec.Struct, frozen=True):
    """A record of a run; subclasses choose a family below."""

    template: ClassVar[str] = ""
    """Its name with the parts that vary in braces."""

    @classmethod
    def prefix(cls) -> str:
        """Return the beginning of every name of the class; other names may begin so too."""
        return cls.template.partition("{")[0]


class Once(RecordBase, frozen=True):
    """A record of which a run has at most one."""

    @classmethod
    def at(cls) -> RecordName[Self]:
        """Return its name."""
        return RecordName(cls.template, cls)


class OfCall(RecordBase, frozen=True):
    """A record of one paid call."""

    @classmethod
    def at(cls, slot: int, n: int) -> RecordName[Self]:
        """Return its name.

        Args:
            slot: the slot that the call belongs to, from 1.
            n: number of the call in its slot, from 1.
        """
        return RecordName(cls.template.format(slot=slot, n=n), cls)


class OfSlot(RecordBase, frozen=True):
    """A record of which a slot has at most one."""

    @classmethod
    def at(cls, slot: int) -> RecordName[Self]:
        """Return its name; slots count from 1."""
        return RecordName(cls.template.format(slot=slot), cls)


class OfTurn(RecordBase, frozen=True):
    """A record of one message of a stage that its class names."""

    @classmethod
    def at(cls, seq: int) -> RecordName[Self]:
        """Return its name; `seq` is the message's number, from 0."""
        return RecordName(cls.template.format(seq=seq), cls)


class OfMessage(RecordBase, frozen=True):
    """A record of one message of any stage."""

    @classmethod
    def at(cls, stage: str, seq: int, slot: int | None = None) -> RecordName[Self]:
        """Return its name.

        Args:
            stage: the message's stage.
            seq: the message's number in its stage (and slot), from 0.
            slot: of generate and poll, whose messages form one chain for each slot; None for the other stages.
        """
        place = stage if slot is None else f"{stage}.{slot}"
        return RecordName(cls.template.format(place=place, seq=seq), cls)


def pattern_of(template: str) -> re.Pattern[str]:
    """Return the pattern of a template's names; its groups are slot, n, seq and stage, as far as they vary."""
    expression = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    for part, found in _PARTS.items():
        expression = expression.replace(part, found)
    return re.compile(expression, re.ASCII)
