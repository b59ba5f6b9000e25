"""Parser of pipelines of `imageMogr2` and `watermark/2` rules.

Source: Tencent CI, "Basic image processing" (document 460/36540 and its siblings). An operation that is not in
`_OPERATIONS`, or occurs twice in one step, is refused; so are two operations of one step that change the size, because
their order is not documented. So is `ignore-error`, which returns the unprocessed picture after an error: the product
must get errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.cos.ci.ai_labels import read_label
from sandbox.cos.ci.geometry import GRAVITIES, padded_size, thumbnail_size
from sandbox.cos.ci.watermarks import Watermark, read_color, read_watermark
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
    cut: tuple[int, int, int, int] | None = None
    """Width, height and offsets from the left and from the top of the part to keep."""
    crop: tuple[int, int] | None = None
    """Width and height of the part to keep."""
    gravity: str = ""
    """Position of that part."""
    thumbnail: str = ""
    """A valid geometry of `sandbox.cos.ci.geometry`; empty keeps the size."""
    pad: bool = False
    """Put the scaled picture in the middle of the whole box of `thumbnail`."""
    color: str = ""
    """Colour of the box around it, such as #3D4D3D; empty for white."""
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
    watermark: Watermark | None = None
    """Text to write over the picture; alone in its step."""
    label: dict[str, str] | None = None
    """Metadata label of AI-made content; alone in its step."""


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
    if text.startswith("watermark/2/"):
        return Step(watermark=read_watermark(text))
    name, *words = text.split("/")
    if name != "imageMogr2" or not words:
        raise UnknownOperation(text[:100])
    if words[0] == "AIGCMetadata":
        return Step(label=read_label(words[1:]))
    step = Step()
    seen: set[str] = set()
    rest = iter(words)
    for operation in rest:
        if operation not in _OPERATIONS or operation in seen:
            raise UnknownOperation(f"{operation[:50]}: unknown, or given twice")
        seen.add(operation)
        arguments, set_value = _OPERATIONS[operation]
        set_value(step, next(rest, "") if arguments else "")
    if len(seen & _SIZING) > 1:
        raise UnknownOperation("two operations that change the size: join them by |")
    if step.gravity and not step.crop:
        raise UnknownOperation("gravity without crop")
    if step.pad:
        padded_size(step.thumbnail)
    elif step.color:
        raise UnknownOperation("color without pad/1")
    return step


def _set_orient(step: Step, _: str) -> None:
    step.orient = True


def _set_strip(step: Step, _: str) -> None:
    step.strip = True


def _set_thumbnail(step: Step, value: str) -> None:
    thumbnail_size(value, 1, 1)
    step.thumbnail = value


def _set_pad(step: Step, value: str) -> None:
    if value not in {"0", "1"}:
        raise UnknownOperation(f"pad/{value[:50]}")
    step.pad = value == "1"


def _set_color(step: Step, value: str) -> None:
    step.color = read_color(value)


def _set_cut(step: Step, value: str) -> None:
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})x([0-9]{1,5})x([0-9]{1,5})", value)
    if not match:
        raise UnknownOperation(f"cut/{value[:50]}")
    step.cut = (int(match[1]), int(match[2]), int(match[3]), int(match[4]))


def _set_crop(step: Step, value: str) -> None:
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
    if not match:
        raise UnknownOperation(f"crop/{value[:50]}")
    step.crop = (int(match[1]), int(match[2]))


def _set_gravity(step: Step, value: str) -> None:
    if value not in GRAVITIES:
        raise UnknownOperation(f"gravity/{value[:50]}")
    step.gravity = value


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


_SIZING = {"crop", "cut", "thumbnail"}
_OPERATIONS = {
    "auto-orient": (0, _set_orient),
    "strip": (0, _set_strip),
    "pad": (1, _set_pad),
    "color": (1, _set_color),
    "cut": (1, _set_cut),
    "crop": (1, _set_crop),
    "gravity": (1, _set_gravity),
    "thumbnail": (1, _set_thumbnail),
    "format": (1, _set_format),
    "quality": (1, _set_quality),
    "size-limit": (1, _set_limit),
}
