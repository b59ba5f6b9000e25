"""Size that `thumbnail/…` produces from a size, and the part that `cut/…` and `crop/…` keep.

Source: Tencent COS, "Image processing, Scaling" (document 436/36366): `!50p`, `!50px`, `!x50p`, `Wx`, `xH`, `WxH`,
`WxH>`, `WxH<`, `WxH!`, `!WxHr`, `Area@`. Widths and heights over 10,000 count as 10,000 (document 460/36620).
`pad/1` beside the form `WxH` puts the picture in the middle of the whole box. "Cropping" (436/36367):
`cut/WxHxDXxDY` and `crop/WxH/gravity/…`. Its text is silent about parts that reach over the edge: the stand-in keeps
what lies inside, and refuses a part that lies outside, and a `crop` that is larger.
"""

from __future__ import annotations

import math
import re

from sandbox.cos.errors import BadPicture, UnknownOperation

__all__ = ["GRAVITIES", "MAX_PARAMETER", "cropped_part", "cut_part", "padded_size", "thumbnail_size"]

MAX_PARAMETER = 10_000
"""Pixels; a larger width or height is reduced to it."""

GRAVITIES = {
    "northwest": (0.0, 0.0),
    "north": (0.5, 0.0),
    "northeast": (1.0, 0.0),
    "west": (0.0, 0.5),
    "center": (0.5, 0.5),
    "east": (1.0, 0.5),
    "southwest": (0.0, 1.0),
    "south": (0.5, 1.0),
    "southeast": (1.0, 1.0),
}
"""Name of a position -> shares of the free width and height left of it and above it."""

_PERCENT = re.compile(r"!(?:([0-9]+)p|([0-9]+)px|x([0-9]+)p)")
_AREA = re.compile(r"([0-9]+)@")
_AT_LEAST = re.compile(r"!([0-9]+)x([0-9]+)r")
_BOX = re.compile(r"([0-9]*)x([0-9]*)([<>!]?)")


def thumbnail_size(geometry: str, width: int, height: int) -> tuple[int, int]:
    """Return the size that `thumbnail/geometry` makes of a picture of `width` x `height`; at least 1 pixel a side.

    Raises:
        UnknownOperation: a form that the service does not have, or a size of 0.
    """
    for pattern, sized in ((_PERCENT, _percent), (_AREA, _area), (_AT_LEAST, _at_least), (_BOX, _box)):
        match = pattern.fullmatch(geometry)
        if match:
            wide, high = sized(match, width, height)
            return max(1, round(wide)), max(1, round(high))
    raise UnknownOperation(f"thumbnail/{geometry}")


def padded_size(geometry: str) -> tuple[int, int]:
    """Return the size of the box that `thumbnail/geometry/pad/1` fills.

    Raises:
        UnknownOperation: not of the form `WxH`: only that one is documented with `pad`.
    """
    match = _BOX.fullmatch(geometry)
    if not match or not all(match.group(1, 2)) or match[3]:
        raise UnknownOperation(f"thumbnail/{geometry[:50]}/pad/1")
    return _pixels(match[1]), _pixels(match[2])


def cut_part(cut: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part that `cut` keeps of a picture of `width` x `height`.

    Raises:
        BadPicture: it lies outside the picture.
    """
    wide, high, left, top = cut
    if left >= width or top >= height:
        raise BadPicture("a cut outside the picture")
    return left, top, min(width, left + wide), min(height, top + high)


def cropped_part(crop: tuple[int, int], gravity: str, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part that `crop` keeps of a picture of `width` x `height`.

    Raises:
        BadPicture: it is larger than the picture.
    """
    wide, high = crop
    if wide > width or high > height:
        raise BadPicture("a crop larger than the picture")
    across, down = GRAVITIES[gravity or "northwest"]
    left, top = int(across * (width - wide)), int(down * (height - high))
    return left, top, left + wide, top + high


def _number(text: str) -> int:
    value = int(text[:9])
    if not value:
        raise UnknownOperation("a thumbnail of size 0")
    return value


def _pixels(text: str) -> int:
    return min(_number(text), MAX_PARAMETER)


def _percent(match: re.Match[str], width: int, height: int) -> tuple[float, float]:
    both, wide, high = match.groups()
    if both:
        return width * _number(both) / 100, height * _number(both) / 100
    if wide:
        return width * _number(wide) / 100, height
    return width, height * _number(high) / 100


def _area(match: re.Match[str], width: int, height: int) -> tuple[float, float]:
    ratio = min(1.0, math.sqrt(_number(match[1]) / (width * height)))
    return (width, height) if ratio == 1.0 else (math.floor(width * ratio), math.floor(height * ratio))


def _at_least(match: re.Match[str], width: int, height: int) -> tuple[float, float]:
    ratio = max(_pixels(match[1]) / width, _pixels(match[2]) / height)
    return width * ratio, height * ratio


def _box(match: re.Match[str], width: int, height: int) -> tuple[float, float]:
    wide, high, mode = match.groups()
    if not wide or not high:
        return _one_side(wide, high, mode, width, height)
    target = (_pixels(wide), _pixels(high))
    if mode == "!":
        return target
    ratio = min(target[0] / width, target[1] / height)
    if mode == ">":
        ratio = min(ratio, 1.0)
    if mode == "<":
        ratio = max(ratio, 1.0)
    return width * ratio, height * ratio


def _one_side(wide: str, high: str, mode: str, width: int, height: int) -> tuple[float, float]:
    if mode or not (wide or high):
        raise UnknownOperation(f"thumbnail/{wide}x{high}{mode}")
    ratio = _pixels(wide) / width if wide else _pixels(high) / height
    return width * ratio, height * ratio
