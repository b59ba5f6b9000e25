"""Parser of `imageMogr2` rules.

Source: Tencent CI, "Basic image processing" (document 460/36540 and its siblings). An operation that is not in
`_OPERATIONS`, or occurs twice in one step, is refused. So is `ignore-error`, which returns the unprocessed picture
after an
error: the product must get errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.cos.ci.geometry import thumbnail_size
from sandbox.cos.errors import UnknownOperation

__all__ = ["MAX_STEPS", "Step", "read_rule"]

MAX_STEPS = 10
"""Steps of one pipeline."""

_FORMATS = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp", "gif": "gif"}
_MAX_QUALITY = 100


@dataclass(slots=True)
class Step:
    """Step of a pipeline of `imageMogr2`."""

    orient: bool = False
    """Rotate the picture by its EXIF orientation."""
    thumbnail: str = ""
    """A valid geometry of `sandbox.cos.ci.geometry`; empty keeps the size."""
    format: str = ""
    """jpeg, png, webp or gif; empty keeps the format."""
    quality: int | None = None
    """0 to 100; None keeps the original's."""
    forced: bool = False
    """Use `quality` even if the original's is lower."""
    strip: bool = False
    """Remove EXIF and colour profile."""
    limit: int = 0
    """Largest result in bytes; 0 for no limit."""
    compare: bool = False
    """Return the original if the result is not smaller."""


def read_rule(rule: str) -> list[Step]:
    """Return the steps of a rule, at least one.

    Raises:
        UnknownOperation: a part of it is unknown to the stand-in.
    """
    steps = rule.split("|")
    if len(steps) > MAX_STEPS:
        raise UnknownOperation(f"more than {MAX_STEPS} steps")
    return [_step(step) for step in steps]


def _step(text: str) -> Step:
    name, *words = text.split("/")
    if name != "imageMogr2" or not words:
        raise UnknownOperation(text[:100])
    step = Step()
    seen: set[str] = set()
    rest = iter(words)
    for operation in rest:
        if operation not in _OPERATIONS or operation in seen:
            raise UnknownOperation(f"{operation[:50]}: unknown, or given twice")
        seen.add(operation)
        arguments, set_value = _OPERATIONS[operation]
        set_value(step, next(rest, "") if arguments else "")
    return step


def _set_orient(step: Step, _: str) -> None:
    step.orient = True


def _set_strip(step: Step, _: str) -> None:
    step.strip = True


def _set_thumbnail(step: Step, value: str) -> None:
    thumbnail_size(value, 1, 1)
    step.thumbnail = value


def _set_format(step: Step, value: str) -> None:
    if value not in _FORMATS:
        raise UnknownOperation(f"format/{value[:50]}")
    step.format = _FORMATS[value]


def _set_quality(step: Step, value: str) -> None:
    match = re.fullmatch(r"([0-9]{1,3})(!?)", value)
    if not match or int(match[1]) > _MAX_QUALITY:
        raise UnknownOperation(f"quality/{value[:50]}")
    step.quality, step.forced = int(match[1]), bool(match[2])


def _set_limit(step: Step, value: str) -> None:
    match = re.fullmatch(r"([0-9]{1,9})([kKmM])(!?)", value)
    if not match or not int(match[1]):
        raise UnknownOperation(f"size-limit/{value[:50]}")
    step.limit = int(match[1]) << (10 if match[2] in "kK" else 20)
    step.compare = bool(match[3])


_OPERATIONS = {
    "auto-orient": (0, _set_orient),
    "strip": (0, _set_strip),
    "thumbnail": (1, _set_thumbnail),
    "format": (1, _set_format),
    "quality": (1, _set_quality),
    "size-limit": (1, _set_limit),
}
