"""Usage of a paid call as its vendor states it: for operators and statistics; no decision rests on it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = ["Usage", "total"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Usage of a paid call; 0 where the vendor counts nothing of the sort."""

    coins: float = 0.0
    """Credits of the vendor's own currency."""
    pictures: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    """Time of a machine that the vendor bills."""
    money: float = 0.0
    """Charge in the currency of the account."""

    def __str__(self) -> str:
        """Return the counts as text, such as `coins=17 seconds=83`; empty for none."""
        counted = msgspec.structs.asdict(self).items()
        return " ".join(f"{name}={value:g}" for name, value in counted if value)


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum, field by field."""
    counted = [msgspec.structs.asdict(one) for one in usages]
    sums = {name: sum(one[name] for one in counted) for name in Usage.__struct_fields__}
    return msgspec.convert({name: value for name, value in sums.items() if value}, Usage)
