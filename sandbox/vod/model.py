"""Data of the stand-in: accounts, models, jobs, faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from sandbox.spoiled_files import FILE_FAULTS

__all__ = ["IMAGE", "MODELS", "SCENE", "TRY_ON", "Account", "Fault", "Job", "Model", "Refusal", "Wanted"]

IMAGE: Final = "AigcImageTask"
SCENE: Final = "SceneAigcImageTask"
"""Types of jobs, also the names of their blocks in an answer."""

_REPLACED: Final = frozenset({"answer", "error", "not_json", "cut", "hang"})
"""Kinds that replace the answer to a call."""
_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "create": _REPLACED | {"repeated", "job_fails", "never_ends", "no_file", "more"},
    "list": _REPLACED | {"lags"},
    "query": _REPLACED | {"unknown"},
    "cancel": _REPLACED,
    "file": FILE_FAULTS,
}
_CODED: Final = frozenset({"answer", "job_fails"})


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account of Tencent Cloud with VOD."""

    secret_key: str
    token: str = ""
    """STS token that its requests must carry; empty for a key pair that does not end."""
    application: int = 0
    """The only application; requests must name it."""
    concurrent: int = 6
    """Jobs at once."""


class Model(msgspec.Struct, frozen=True):
    """Rules of a model, as the vendor applies them."""

    references: int
    sizes: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    counts: bool = False
    """True if it takes `OutputImageCount`."""


_K: Final = ("1K", "2K", "4K")
_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "21:9")

MODELS: Final[Mapping[tuple[str, str], Model]] = MappingProxyType(
    {
        ("GG", "2.5"): Model(3, _K, (*_RATIOS, "4:5", "5:4")),
        ("GG", "3.0"): Model(14, _K, (*_RATIOS, "4:5", "5:4")),
        ("GG", "3.1"): Model(14, ("720P", *_K), (*_RATIOS, "4:5", "5:4", "1:4", "1:8", "4:1", "8:1")),
        ("GG", "3.1-lite"): Model(14, ("720P", *_K), (*_RATIOS, "4:5", "5:4", "1:4", "1:8", "4:1", "8:1")),
        ("OG", "image2_low"): Model(10, _K, (*_RATIOS, "9:21"), counts=True),
        ("OG", "image2_medium"): Model(10, _K, (*_RATIOS, "9:21"), counts=True),
        ("OG", "image2_high"): Model(10, _K, (*_RATIOS, "9:21"), counts=True),
        ("Hunyuan", "3.0"): Model(3),
        ("Vidu", "q2"): Model(7, ("1080p", "2K", "4K"), _RATIOS),
        ("Kling", "2.1"): Model(4, ("1k", "2k"), _RATIOS, counts=True),
        ("Kling", "3.0"): Model(1, ("1k", "2k"), _RATIOS, counts=True),
        ("Kling", "3.0-Omni"): Model(10, ("1k", "2k", "4k"), (*_RATIOS, "auto"), counts=True),
        ("Kling", "O1"): Model(10, ("1k", "2k", "4k"), (*_RATIOS, "auto"), counts=True),
    }
)
"""(ModelName, ModelVersion) -> rules."""

TRY_ON: Final = frozenset({"WAND-tryon-1.0-lite", "WAND-tryon-1.0-flash", "WAND-tryon-1.0-pro"})
"""Models of the scene `ai_try_on`."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that the vendor takes."""

    type: str
    model: str
    prompt: str
    references: tuple[str, ...]
    """URLs, in their order; for try-on the person, then the clothes."""
    size: str
    ratio: str
    format: Literal["jpeg", "png"]
    count: int
    session: str
    context: str


@dataclass(kw_only=True)
class Job:
    """An accepted request, which is charged unless it fails."""

    id: str
    number: int
    account: str
    wanted: Wanted
    created: float
    duration: float
    references: tuple[str, ...] = ()
    """Paths of the reference pictures."""
    failure: str = ""
    """ErrCodeExt that it ends with."""
    files: int = 1
    ends: bool = True
    aborted: bool = False
    queries: int = 0

    def state(self, now: float) -> str:
        """Return its state: a fifth of its time it waits."""
        if self.aborted:
            return "ABORTED"
        age = now - self.created
        if self.ends and age >= self.duration:
            return "FINISH"
        return "WAITING" if age < self.duration / 5 else "PROCESSING"


class Refusal(Exception):
    """An error in the vendor's form, with status 200.

    Args:
        code: the vendor's.
        message: the vendor's words.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.error: Mapping[str, str] = {"Code": code, "Message": message or f"The request failed: {code}."}


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault, and how often or how long it occurs."""

    on: Literal["create", "list", "query", "cancel", "file"]
    """Affected call."""
    kind: str = "answer"
    """Kind of the fault.

    - Of any call: `answer` (with `code`), `error` (HTTP `status` without JSON), `not_json` (200), `cut`, `hang`.
    - Of a create also: `repeated` (it arrives twice, and the second answer is what comes back), `job_fails` (with
      `code`, as ErrCodeExt), `never_ends`, `no_file` (success without a file), `more` (two files).
    - Of a list: `lags` (it has no job of the last hour). Of a query: `unknown` (no such job).
    - Of a file: see `sandbox.spoiled_files.FILE_FAULTS`.
    """
    code: str = ""
    message: str = ""
    status: int = 500
    times: int = 1
    seconds: float = 0.0
    """If not 0: seconds from the first affected call during which every call is affected."""
    accepted: bool = False
    """True if the affected create takes effect, and only its answer is faulty."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS[self.on]:
            raise ValueError(f"{self.on} knows {', '.join(sorted(_KINDS[self.on]))}")
        if (self.kind in _CODED) != bool(self.code):
            raise ValueError(f"{', '.join(sorted(_CODED))} need a code, and other kinds take none")

    @property
    def replaces(self) -> bool:
        """True if it replaces the whole answer."""
        return self.kind in _REPLACED
