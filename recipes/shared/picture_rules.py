"""Rules of the picture service that several kinds use. Pure.

Source: Tencent CI, "Basic image processing": scaling and padding (document 436/36366), cropping (436/36367), text
watermarks (436/36374), and pipelines, in which `|` separates up to ten steps.
"""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Corner, Plan
from recipes.shared.poster import em_width

__all__ = [
    "FIT_FOR_VENDOR",
    "MOST_STEPS",
    "VISIBLE_LABEL",
    "Position",
    "ResultFormat",
    "WatermarkText",
    "arranged",
    "check_text",
    "filled",
    "finished",
    "label_letters",
    "last_pass",
    "padded",
    "pipeline",
    "saved_as",
    "text_step",
    "visible_label",
    "watermark_step",
]

ResultFormat = Literal["jpg", "png", "webp"]
Position = Literal["northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast"]
WatermarkText = Annotated[str, msgspec.Meta(max_length=32)]
"""Text written over a picture; empty for none."""

FIT_FOR_VENDOR: Final = "imageMogr2/auto-orient/thumbnail/2048x2048>/format/jpg/quality/90/strip"
"""A reference picture far below the limits of picture models (10 MB, 6000 pixels a side)."""

VISIBLE_LABEL: Final = "AI生成"
"""Text of the visible label of AI-made content (GB 45438-2025: it names AI, and that the content is generated)."""

MOST_STEPS: Final = 10
"""Steps of one pipeline."""

_LAST_STEPS: Final = 4
_UPRIGHT: Final = "imageMogr2/auto-orient"

_LABEL_SHARE: Final = 0.07
"""Size of the label's letters, as a share of the picture's shorter side: capital Latin letters, the lowest of them, are
then 5% of it high, as GB 45438-2025 demands."""
_WATERMARK_SHARE: Final = 0.05
"""Size of a watermark's letters, as a share of the picture's shorter side; a long text is written smaller."""
_WATERMARK_WIDTH: Final = 0.7
"""Greatest width of a watermark, as a share of that side: of a named size a model may choose 9:16."""
_LEAST_FONT: Final = 16
_UNWRITABLE: Final = frozenset({"Cc", "Zl", "Zp"})
"""Categories of Unicode: control characters, and separators of lines and paragraphs."""
_WHITE: Final = "#FFFFFF"
_BLACK: Final = "#000000"


def saved_as(extension: str, quality: int) -> str:
    """Return the step that stores a picture in a format, without metadata; `quality` is of jpg and webp."""
    return f"imageMogr2/format/{extension}" + ("" if extension == "png" else f"/quality/{quality}") + "/strip"


def filled(width: int, height: int) -> tuple[str, str]:
    """Return the steps that fill a box with a picture, and cut off the rest around the centre."""
    return f"imageMogr2/thumbnail/!{width}x{height}r", f"imageMogr2/crop/{width}x{height}/gravity/center"


def padded(width: int, height: int, color: str) -> str:
    """Return the step that puts a picture in the middle of a box of a colour, such as #FFFFFF."""
    return f"imageMogr2/thumbnail/{width}x{height}/pad/1/color/{_encoded(color)}"


def check_text(text: str, field: str) -> None:
    """Check that a text can be written over a picture in one line.

    Raises:
        ValueError: it has a line break or another control character; the message names the field.
    """
    if any(unicodedata.category(letter) in _UNWRITABLE for letter in text):
        raise ValueError(f"`{field}` must hold no line break and no control character")


def text_step(text: str, font_size: int, color: str, position: Position, dx: int, dy: int) -> str:
    """Return the step that writes a text in a plain colour, `dx` and `dy` pixels from the edges of its position."""
    return (
        f"watermark/2/text/{_encoded(text)}/fontsize/{font_size}/fill/{_encoded(color)}/dissolve/100"
        f"/gravity/{position}/dx/{dx}/dy/{dy}"
    )


def watermark_step(text: str, font_size: int, position: Position = "southeast") -> str:
    """Return the step that writes a text over a picture, white with a shadow."""
    return _shaded_step(text, font_size, _WHITE, position, font_size // 2, shadow=60)


def _shaded_step(text: str, font_size: int, color: str, position: Position, margin: int, shadow: int) -> str:
    return (
        f"watermark/2/text/{_encoded(text)}/fontsize/{font_size}/fill/{_encoded(color)}"
        f"/gravity/{position}/dx/{margin}/dy/{margin}/shadow/{shadow}"
    )


def pipeline(*steps: str) -> str:
    """Return one pass of these steps; empty ones are left out."""
    return "|".join(step for step in steps if step)


def label_letters(short_side: int) -> int:
    """Return the size of the visible label's letters over a picture or video of a shorter side, both in pixels."""
    return max(_LEAST_FONT, math.ceil(short_side * _LABEL_SHARE))


def visible_label(short_side: int, corner: Corner) -> str:
    """Return the steps that write the visible label.

    White letters between a dark copy and a shadow: goods are mostly shown on white.

    Args:
        short_side: of the picture, in pixels.
        corner: of the picture.
    """
    font_size = label_letters(short_side)
    margin, edge = font_size // 2, max(1, font_size // 24)
    return pipeline(
        text_step(VISIBLE_LABEL, font_size, _BLACK, corner, margin, margin),
        _shaded_step(VISIBLE_LABEL, font_size, _WHITE, corner, margin + edge, shadow=100),
    )


def arranged(passes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the passes over a vendor's file, and apart from them the last one, which `last_pass` completes.

    The picture is turned upright first: saving drops its orientation metadata. The last pass is empty where
    the plan's own cannot take more steps.
    """
    first, *more = passes or ("",)
    whole = (pipeline(_UPRIGHT, first), *more) if _has_room(first, 1) else (_UPRIGHT, first, *more)
    return (whole[:-1], whole[-1]) if _has_room(whole[-1], _LAST_STEPS) else (whole, "")


def _has_room(rule: str, steps: int) -> bool:
    return not rule.startswith("ci-process=") and rule.count("|") + 1 + steps <= MOST_STEPS


def last_pass(before: str, *, label: str, extension: str, quality: int, metadata: str) -> str:
    """Return the last pass over a vendor's file: that of `arranged`, visible label, format, metadata label.

    Args:
        before: the last pass of `arranged`.
        label: step of `visible_label`; empty for none.
        extension: of the result.
        quality: of jpg and webp.
        metadata: step that writes the metadata label; empty for none. It comes last: saving removes metadata.
    """
    return pipeline(before, label, saved_as(extension, quality), metadata)


def finished(extension: str, quality: int, short_side: int, watermark: str) -> Plan:
    """Return the plan of a vendor's result: the customer's watermark, if there is one; then it is labelled and saved.

    Args:
        extension: of the result.
        quality: of jpg and webp.
        short_side: the result's shorter side, in pixels.
        watermark: text written over it; empty for none.
    """
    text = watermark.strip()
    fitting = short_side * min(_WATERMARK_SHARE, _WATERMARK_WIDTH / (em_width(text) + 1))
    passes = (watermark_step(text, max(_LEAST_FONT, round(fitting))),) if text else ()
    return Plan(passes, extension, quality=quality)


def _encoded(text: str) -> str:
    """Encode a value for the service: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
