"""Text watermarks of CI: parser and drawing.

Source: Tencent CI, "Text watermark" (document 436/36374). A field that is not in `_FIELDS`, or occurs twice, is
refused; so are texts and colours that are not URL-safe base64. Points count as pixels. The font has the Chinese letters
of GB 2312; any other one is drawn as a box.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from sandbox.cos.ci.geometry import GRAVITIES
from sandbox.cos.errors import UnknownOperation

__all__ = ["Watermark", "draw", "read_color", "read_watermark"]

_FONT = Path(__file__).parents[2] / "fonts" / "cjk-subset.otf"
_MAX_TEXT = 64


@dataclass(slots=True)
class Watermark:
    """Text over a picture."""

    text: str = ""
    size: int = 13
    """Height of the letters."""
    fill: str = "#3D3D3D"
    dissolve: int = 90
    """1 (transparent) to 100."""
    gravity: str = "southeast"
    dx: int = 0
    dy: int = 0
    shadow: int = 0
    """0 (none) to 100."""


def read_watermark(rule: str) -> Watermark:
    """Return the watermark of a step `watermark/2/…`.

    Raises:
        UnknownOperation: a part of it is unknown to the stand-in.
    """
    words = rule.split("/")[2:]
    mark = Watermark()
    seen: set[str] = set()
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if name not in _FIELDS or name in seen:
            raise UnknownOperation(f"watermark {name[:50]}: unknown, or given twice")
        seen.add(name)
        _FIELDS[name](mark, value)
    if not mark.text:
        raise UnknownOperation("a watermark without text")
    return mark


def read_color(value: str) -> str:
    """Return the colour that a rule names, such as #3D4D3D.

    Raises:
        UnknownOperation: no URL-safe base64 of one.
    """
    color = _decoded(value)
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
        raise UnknownOperation(f"the colour {color[:50]!r}")
    return color


def draw(frame: Image.Image, mark: Watermark) -> Image.Image:
    """Return the picture with the text over it."""
    font = ImageFont.truetype(_FONT, mark.size)
    left, top, right, bottom = font.getbbox(mark.text)
    across, down = GRAVITIES[mark.gravity]
    x = across * (frame.width - (right - left)) + mark.dx * (1 - 2 * across) - left
    y = down * (frame.height - (bottom - top)) + mark.dy * (1 - 2 * down) - top
    layer = Image.new("RGBA", frame.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    offset = max(1, mark.size // 16)
    if mark.shadow:
        pen.text((x + offset, y + offset), mark.text, font=font, fill=(0, 0, 0, 255 * mark.shadow // 100))
    red, green, blue = ImageColor.getrgb(mark.fill)[:3]
    written = Image.new("RGBA", frame.size, (0, 0, 0, 0))
    ImageDraw.Draw(written).text((x, y), mark.text, font=font, fill=(red, green, blue, 255 * mark.dissolve // 100))
    layer.alpha_composite(written)
    below = frame.convert("RGBA")
    below.alpha_composite(layer)
    marked = below if frame.mode == "RGBA" else below.convert(frame.mode)
    marked.info = frame.info
    return marked


def _decoded(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", value):
        raise UnknownOperation(f"{value[:50]!r} is no URL-safe base64")
    try:
        return base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnknownOperation(f"{value[:50]!r} is no URL-safe base64 of a text") from error


def _number(value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not least <= int(value) <= most:
        raise UnknownOperation(f"watermark: {value[:50]!r} is not from {least} to {most}")
    return int(value)


def _set_text(mark: Watermark, value: str) -> None:
    mark.text = _decoded(value)
    if len(mark.text) > _MAX_TEXT:
        raise UnknownOperation("a watermark of too many letters")


def _set_fill(mark: Watermark, value: str) -> None:
    mark.fill = read_color(value)


def _set_gravity(mark: Watermark, value: str) -> None:
    if value not in GRAVITIES:
        raise UnknownOperation(f"gravity/{value[:50]}")
    mark.gravity = value


def _set_size(mark: Watermark, value: str) -> None:
    mark.size = _number(value, 1, 1000)


def _set_dissolve(mark: Watermark, value: str) -> None:
    mark.dissolve = _number(value, 1, 100)


def _set_dx(mark: Watermark, value: str) -> None:
    mark.dx = _number(value, 0, 9999)


def _set_dy(mark: Watermark, value: str) -> None:
    mark.dy = _number(value, 0, 9999)


def _set_shadow(mark: Watermark, value: str) -> None:
    mark.shadow = _number(value, 0, 100)


_FIELDS = {
    "text": _set_text,
    "fontsize": _set_size,
    "fill": _set_fill,
    "dissolve": _set_dissolve,
    "gravity": _set_gravity,
    "dx": _set_dx,
    "dy": _set_dy,
    "shadow": _set_shadow,
}
