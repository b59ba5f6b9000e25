"""Type of values that must never be printed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NoReturn, Self, SupportsIndex, final

__all__ = ["MASK", "Secret"]

MASK: Final = "***"
"""Text printed instead of a secret."""


@final
class Secret:
    """Value that prints as `***` and is returned only by `reveal`.

    Two secrets are compared in constant time; an empty one is falsy. It cannot be pickled, and msgspec refuses to
    encode it, so it cannot leave the process by accident.

    Args:
        value: the text to protect.
    """

    __slots__ = ("_value",)
    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """Return the value itself. Call it where the value is used, never where it might be stored or shown."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_digest(self._value), _digest(other._value))

    def __hash__(self) -> int:
        return hash(("Secret", _digest(self._value)))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


def _digest(value: str) -> bytes:
    # Digests have equal lengths, so the time of the comparison does not depend on the length of the values.
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
