"""Rules of the picture service that several kinds use. Pure.

Source: Tencent CI, "Basic image processing": scaling and padding (document 436/36366), cropping (436/36367), text
watermarks (436/36374), and pipelines, in which `|` separates up to ten steps.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Plan

__all__ = [
    "FIT_FOR_VENDOR",
    "Position",
    "ResultFormat",
    "WatermarkText",
    "filled",
    "finished",
    "padded",
    "pipeline",
    "saved_as",
    "text_step",
    "watermark_step",
]

ResultFormat = Literal["jpg", "png", "webp"]
Position = Literal["northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast"]
WatermarkText = Annotated[str, msgspec.Meta(max_length=32)]
"""Text written over a picture; empty for none."""

FIT_FOR_VENDOR: Final = "imageMogr2/auto-orient/thumbnail/2048x2048>/format/jpg/quality/90/strip"
"""A reference picture far below the limits of picture models (10 MB, 6000 pixels a side)."""

_LABEL_SHARE: Final = 0.05
"""Height of a watermark's letters, as a share of the picture's shorter side."""
_LEAST_FONT: Final = 16
_WHITE: Final = "#FFFFFF"


def saved_as(extension: str, quality: int) -> str:
    """Return the step that stores a picture in a format, without metadata; `quality` is of jpg and webp."""
    return f"imageMogr2/format/{extension}" + ("" if extension == "png" else f"/quality/{quality}") + "/strip"


def filled(width: int, height: int) -> tuple[str, str]:
    """Return the steps that fill a box with a picture, and cut off the rest around the centre."""
    return f"imageMogr2/thumbnail/!{width}x{height}r", f"imageMogr2/crop/{width}x{height}/gravity/center"


def padded(width: int, height: int, color: str) -> str:
    """Return the step that puts a picture in the middle of a box of a colour, such as #FFFFFF."""
    return f"imageMogr2/thumbnail/{width}x{height}/pad/1/color/{_encoded(color)}"


def text_step(text: str, font_size: int, color: str, position: Position, dx: int, dy: int) -> str:
    """Return the step that writes a text in a plain colour, `dx` and `dy` pixels from the edges of its position."""
    return (
        f"watermark/2/text/{_encoded(text)}/fontsize/{font_size}/fill/{_encoded(color)}/dissolve/100"
        f"/gravity/{position}/dx/{dx}/dy/{dy}"
    )


def watermark_step(text: str, font_size: int, position: Position = "southeast") -> str:
    """Return the step that writes a text over a picture, white with a shadow."""
    margin = font_size // 2
    return (
        f"watermark/2/text/{_encoded(text)}/fontsize/{font_size}/fill/{_encoded(_WHITE)}"
        f"/gravity/{position}/dx/{margin}/dy/{margin}/shadow/60"
    )


def pipeline(*steps: str) -> str:
    """Return one pass of these steps; empty ones are left out."""
    return "|".join(step for step in steps if step)


def finished(extension: str, quality: int, short_side: int, watermark: str) -> Plan:
    """Return the plan of a vendor's result: the watermark, if there is one, then the format.

    Args:
        extension: of the result.
        quality: of jpg and webp.
        short_side: the result's shorter side, in pixels.
        watermark: text written over it; empty for none.
    """
    font_size = max(_LEAST_FONT, round(short_side * _LABEL_SHARE))
    written = watermark_step(watermark, font_size) if watermark else ""
    return Plan((pipeline(written, saved_as(extension, quality)),), extension)


def _encoded(text: str) -> str:
    """Encode a value as the service wants it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
