"""Crop, resize, watermark, compress and convert pictures, all by the picture service (PREPROCESS_ONLY of the API)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Params, Plan, Recipe
from recipes.shared.picture_rules import Position, check_text, filled, pipeline, saved_as, watermark_step

__all__ = ["AI_IMAGE_PREPROCESS", "AiImagePreprocessParams", "Crop", "PreprocessOptions", "Resize", "Watermark"]

_Side = Annotated[int, msgspec.Meta(ge=1, le=9999)]
"""Pixels; the picture service makes no side longer than 9999 pixels (document 436/36367, limits)."""
_Offset = Annotated[int, msgspec.Meta(ge=0, le=49_999)]

_KEPT_AS: Final = {"jpeg": "jpg", "jfif": "jpg", "bmp": "png"}
_COMPRESSED: Final = 75
_PLAIN: Final = 92


class Resize(Params, frozen=True):
    """A new size."""

    width: _Side
    """Width in pixels."""
    height: _Side
    """Height in pixels."""
    mode: Literal["fit", "fill", "stretch"] = "fit"
    """fit: whole picture inside the box, never enlarged; fill: the box is filled and the rest cut off around the
    centre; stretch: exactly the box, with other proportions."""


class Crop(Params, frozen=True):
    """A part of the picture, in pixels from its upper left corner; cut off at the picture's edges."""

    width: _Side
    """Width in pixels."""
    height: _Side
    """Height in pixels."""
    x: _Offset = 0
    """Pixels from the left edge."""
    y: _Offset = 0
    """Pixels from the upper edge."""


class Watermark(Params, frozen=True):
    """A text over the picture."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    """The text."""
    position: Position = "southeast"
    """Place in the picture."""
    size: Annotated[int, msgspec.Meta(ge=8, le=500)] = 32
    """Height of the letters."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("`text` must not be empty")
        check_text(self.text, "text")


class PreprocessOptions(Params, frozen=True):
    """Operations, carried out in this order: crop, resize, watermark, compression and format."""

    compress: bool = False
    """Compress jpg and webp more strongly."""
    resize: Resize | None = None
    """New size; null keeps it."""
    format: Literal["", "jpg", "png", "webp"] = ""
    """Empty keeps the input's (png for bmp)."""
    crop: Crop | None = None
    """Part to keep; null keeps all."""
    watermark: Watermark | None = None
    """Text over the picture; null for none."""


class AiImagePreprocessParams(Params, frozen=True):
    """Parameters of `ai_image_preprocess`."""

    options: PreprocessOptions = PreprocessOptions()
    """Operations on the picture."""


def _clean(params: AiImagePreprocessParams, extension: str) -> Plan:
    options, source = params.options, extension.lower()
    target = options.format or _KEPT_AS.get(source, source)
    mark = options.watermark
    steps = (
        "imageMogr2/auto-orient",
        _cropped(options.crop),
        *_resized(options.resize),
        watermark_step(mark.text, mark.size, mark.position) if mark else "",
        saved_as(target, _COMPRESSED if options.compress else _PLAIN),
    )
    return Plan((pipeline(*steps),), target)


def _cropped(crop: Crop | None) -> str:
    return f"imageMogr2/cut/{crop.width}x{crop.height}x{crop.x}x{crop.y}" if crop else ""


def _resized(resize: Resize | None) -> tuple[str, ...]:
    if resize is None:
        return ()
    box = f"{resize.width}x{resize.height}"
    match resize.mode:
        case "fit":
            return (f"imageMogr2/thumbnail/{box}>",)
        case "fill":
            return filled(resize.width, resize.height)
        case "stretch":
            return (f"imageMogr2/thumbnail/{box}!",)


def _text(params: AiImagePreprocessParams) -> str:
    mark = params.options.watermark
    return mark.text if mark else ""


AI_IMAGE_PREPROCESS: Final = Recipe(
    kind="ai_image_preprocess",
    params=AiImagePreprocessParams,
    deadline_s=600,
    most_inputs=10,
    clean=_clean,
    text=_text,
    result="image_{:02d}.{}",
)
"""The recipe."""
