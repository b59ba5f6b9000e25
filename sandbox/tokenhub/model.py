"""Data of the stand-in: models, faults, and received questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from sandbox.armed import ArmedFaults

__all__ = ["ERRORS", "Core", "Fault", "Refused"]

ERRORS: Final[Mapping[str, tuple[int, str, str]]] = MappingProxyType(
    {
        "400001": (400, "invalid_request_error", "the request is malformed"),
        "400002": (400, "invalid_request_error", "a parameter is out of range"),
        "400004": (400, "invalid_request_error", "the model does not exist"),
        "401002": (401, "authentication_error", "the api key is invalid"),
        "401007": (402, "permission_error", "the quota of the service is used up"),
        "401008": (402, "permission_error", "the account is in arrears"),
        "403001": (403, "permission_error", "the key may not use this model"),
        "403002": (403, "permission_error", "the service is disabled"),
        "403004": (402, "permission_error", "the balance is insufficient"),
        "403005": (403, "permission_error", "the address is not allowed"),
        "429001": (429, "rate_limit_error", "rate limit exceeded on dimension: rpm"),
        "451001": (451, "content_filter_error", "the content did not pass the filter"),
        "502001": (502, "upstream_error", "the upstream did not answer"),
    }
)
"""Code -> HTTP status, type and message."""

_OF_AN_ANSWER: Final = frozenset(
    {"chatty", "empty", "fence", "filtered", "long", "parts", "prose", "refusal", "sensitive", "violate", "wrong"}
)
_INSTEAD: Final = frozenset({"error", "inside", "status", "not_json", "no_choices", "cut", "hang"})


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault of a question, and how often or how long it occurs."""

    on: Literal["ask"] = "ask"
    kind: str = "error"
    """Kind of the fault.

    - Instead of an answer: `error` (with `code`, one of `ERRORS`), `inside` (the same in a 200), `status` (a page with
      HTTP `status`), `not_json`, `no_choices`, `cut`, `hang`.
    - Of an answer: `chatty` (words around the JSON), `fence`, `parts` (content as a list), `empty`, `prose` (no JSON),
      `wrong` (JSON that does not fit), `long` (cut by the limit of tokens), `filtered` and `sensitive` (the finish
      reasons), `refusal`, `violate` (a text that the content audit blocks).
    """
    code: str = ""
    status: int = 503
    retry_after: int = 0
    """Retry-After in seconds; 0 for none."""
    times: int = 1
    seconds: float = 0.0
    """If not 0: seconds from the first affected question during which every question is affected."""

    def __post_init__(self) -> None:
        if self.kind not in _OF_AN_ANSWER | _INSTEAD:
            raise ValueError(f"a question knows {', '.join(sorted(_OF_AN_ANSWER | _INSTEAD))}")
        if (self.kind in {"error", "inside"}) != bool(self.code) or self.code not in {"", *ERRORS}:
            raise ValueError("error and inside need a code of the table, the other kinds take none")

    @property
    def is_of_the_answer(self) -> bool:
        """True if the question is answered, with something wrong in the answer."""
        return self.kind in _OF_AN_ANSWER


class Refused(Exception):
    """An error of the table."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = message or ERRORS[code][2]


class Core:
    """Keys, models, faults, and received questions.

    Args:
        api_keys: keys that are taken.
        models: ids of the models that they have.
        clock: seconds, for faults that last.
    """

    def __init__(self, *, api_keys: frozenset[str], models: tuple[str, ...], clock: Callable[[], float]) -> None:
        self.api_keys: Final = api_keys
        self.models: Final = models
        self.clock: Final = clock
        self.asked: list[dict[str, Any]] = []
        """Model, texts, pictures (bytes and sizes) and answer of each question that was answered."""
        self.refused = 0
        self._faults = ArmedFaults[Fault](self._now)

    def arm(self, fault: Fault) -> None:
        """Arm a fault; callable from any thread."""
        self._faults.arm(fault)

    def disarm(self) -> None:
        """Disarm all faults."""
        self._faults.clear()

    def take(self) -> Fault | None:
        """Use up and return the oldest fault, if there is one."""
        return self._faults.take("ask")

    def _now(self) -> float:
        return self.clock()

    def stats(self) -> dict[str, Any]:
        """Return counts, and every question that was answered."""
        return {"answered": len(self.asked), "refused": self.refused, "asked": list(self.asked)}
