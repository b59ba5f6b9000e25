"""Data of the stand-in: keys, models, requests, faults."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from sandbox.spoiled_files import FILE_FAULTS

__all__ = ["MODELS", "STATUSES", "Fault", "ImageRequest", "KeyLimits", "Model", "Refusal"]

STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "AuthenticationError": 401,
        "InvalidAccountStatus": 401,
        "AccountOverdueError": 403,
        "AccessDenied": 403,
        "OperationDenied": 403,
        "ModelNotOpen": 404,
        "InvalidEndpointOrModel": 404,
        "ModelAccountIpmRateLimitExceeded": 429,
        "ModelAccountRpmRateLimitExceeded": 429,
        "RateLimitExceeded": 429,
        "RequestBurstTooFast": 429,
        "ServerOverloaded": 429,
        "InflightBatchsizeExceeded": 429,
        "QuotaExceeded": 429,
        "SetLimitExceeded": 429,
        "InternalServiceError": 500,
    }
)
"""Code, or its part before a dot -> HTTP status; 400 for every other code."""

_TYPES: Final = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 429: "TooManyRequests"}

_REPLACED: Final = frozenset({"answer", "error", "not_json", "cut", "hang", "slow"})
"""Kinds that replace the answer to a create."""
_CONTENT: Final = frozenset({"error_in_200", "item_error", "partly", "empty", "base64", "more"})
"""Kinds that change its content."""
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "create": _REPLACED | _CONTENT,
    "key": _REPLACED,
    "file": FILE_FAULTS,
}
_CODED: Final = frozenset({"answer", "error_in_200", "item_error", "partly"})


class KeyLimits(msgspec.Struct, frozen=True):
    """Limits of a key."""

    per_minute: int = 500
    """Greatest number of pictures in a minute, for each model (docs/reference/ark.md)."""


class Model(msgspec.Struct, frozen=True):
    """Rules of a model, as the vendor applies them."""

    names: tuple[str, ...]
    least: int
    most: int
    references: int = 14
    reference_bytes: int = 30 << 20
    reference_pixels: int = 36_000_000
    reference_ratio: float = 16.0
    has_format: bool = False
    has_modes: bool = True
    open: bool = True
    """False for a model that the account has not opened."""


MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {
        "doubao-seedream-4-0-250828": Model(
            ("1K", "2K", "4K"),
            921_600,
            16_777_216,
            references=10,
            reference_bytes=10 << 20,
            reference_ratio=3.0,
        ),
        "doubao-seedream-4-5-251128": Model(("2K", "4K"), 3_686_400, 16_777_216),
        "doubao-seedream-5-0-260128": Model(("2K", "3K"), 3_686_400, 10_404_496, has_format=True),
        "doubao-seedream-5-0-pro-260628": Model(("1K", "2K"), 921_600, 4_624_220, has_format=True, has_modes=False),
        "ep-20260101000000-abcde": Model(("2K", "4K"), 3_686_400, 16_777_216),
        "doubao-seedream-3-0-t2i-250415": Model((), 262_144, 4_194_304, references=0, open=False),
    }
)
"""Models and endpoints of every account."""


class ImageRequest(msgspec.Struct, frozen=True):
    """A request that the vendor takes."""

    model: str
    prompt: str
    size: tuple[int, int]
    references: tuple[str, ...]
    """URLs and data URIs, in their order."""
    format: Literal["jpeg", "png"]
    watermark: bool
    base64: bool
    """True if the picture is asked for in the answer itself."""


class Refusal(Exception):
    """An error in the vendor's form.

    Args:
        code: the vendor's.
        message: the vendor's words.
        retry_after: seconds for the header Retry-After; None for none.
    """

    def __init__(self, code: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message or f"The request failed with {code}."
        self.retry_after = retry_after
        self.status: int = STATUSES.get(code) or STATUSES.get(code.partition(".")[0], 400)

    @property
    def error(self) -> Mapping[str, str]:
        """Return the object `error` of an answer."""
        kind = _TYPES.get(self.status, "InternalServerError")
        message = f"{self.message} Request id: 0217{zlib.crc32(self.code.encode()):018d}"
        return {"code": self.code, "message": message, "param": "", "type": kind}


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault, and how often or how long it occurs."""

    on: Literal["create", "key", "file"]
    """Affected call: a request for a picture, the empty request that tests a key, or the download of a picture."""
    kind: str = "answer"
    """Kind of the fault.

    - Of a request: `answer` (with `code`), `error` (HTTP `status` without JSON), `not_json` (200), `cut`, `hang`,
      `slow` (a blank every moment, and never the end).
    - Of a request for a picture also: `error_in_200` and `item_error` (with `code`, no picture, no charge), `partly`
      (an item's error beside a picture), `empty` (no item, no charge), `base64`, `more` (two pictures).
    - Of a file: see `sandbox.spoiled_files.FILE_FAULTS`.
    """
    code: str = ""
    message: str = ""
    """The vendor's words beside a code; empty for its usual ones."""
    status: int = 500
    retry_after: float | None = None
    """Seconds in the header Retry-After beside a code."""
    times: int = 1
    seconds: float = 0.0
    """If not 0: seconds from the first affected call during which every call is affected."""
    accepted: bool = False
    """True if the affected request takes effect and is charged, and only its answer is faulty."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS[self.on]:
            raise ValueError(f"{self.on} knows {', '.join(sorted(_KINDS[self.on]))}")
        if (self.kind in _CODED) != bool(self.code):
            raise ValueError(f"{', '.join(sorted(_CODED))} need a code, and other kinds take none")

    @property
    def replaces(self) -> bool:
        """True if it replaces the whole answer."""
        return self.kind in _REPLACED

    @property
    def refusal(self) -> Refusal:
        """Return the error of its code."""
        return Refusal(self.code, self.message, self.retry_after)
