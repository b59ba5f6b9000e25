"""Size that `thumbnail/…` produces from a size.

Source: Tencent COS, "Image processing, Scaling" (document 436/36366): `!50p`, `!50px`, `!x50p`, `Wx`, `xH`, `WxH`,
`WxH>`, `WxH<`, `WxH!`, `!WxHr`, `Area@`. Widths and heights over 10,000 count as 10,000 (document 460/36620).
"""

from __future__ import annotations

import math
import re

from sandbox.cos.errors import UnknownOperation

__all__ = ["MAX_PARAMETER", "thumbnail_size"]

MAX_PARAMETER = 10_000
"""Pixels; a larger width or height is reduced to it."""

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
