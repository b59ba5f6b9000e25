"""Layout of a poster: a panel with title, subtitle and price, and the picture below it. Pure.

The picture service reports no widths, and its font is its own choice: widths are estimated here from above, by the
widest letters of Arial, Tahoma, SimHei and Noto Sans, so that no text is cut off or meets another.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

__all__ = [
    "FAMILIAR",
    "LINE_HEIGHT",
    "SHAPES",
    "Line",
    "Shape",
    "em_width",
    "lay_out",
    "wrapped",
]

FAMILIAR: Final = re.compile(r"[ -~°·×¥€™®©–—‘’“”•…℃、-〗\u4e00-\u9fa5！-～￥]*")
"""Texts that the fonts of the picture service can write: Chinese, English, digits and common signs."""

LINE_HEIGHT: Final = 1.3
"""Height of a line, in heights of its letters."""

_ASCENT: Final = 0.15
"""Space above the letters of a line, in heights of its letters."""
_WIDEST_LATIN: Final = frozenset("MWmw@%—…™®©€×¥℃&")
_CLOSING: Final = frozenset("、。〉》」』】〕〗！％），．：；？～’”…!%),.:;?")
_OPENING: Final = frozenset("〈《「『【〔〖（￥¥‘“(")
_TITLE_SHARE: Final = 0.6
"""Share of the panel's height for the title, if there is text below it."""
_PRICE_SHARE: Final = 0.42
"""Greatest share of the panel's width for the price, beside a subtitle."""
_SUBTITLE_SHARE: Final = 0.6
"""Greatest size of the subtitle, in sizes of its row."""


class Shape(msgspec.Struct, frozen=True):
    """Sizes of a poster in pixels."""

    size: str
    """Size of the picture to ask of the model, in the proportions of `width` x `picture`."""
    width: int
    panel: int
    """Height of the panel."""
    picture: int
    """Height of the picture."""

    @property
    def height(self) -> int:
        """Height of the poster."""
        return self.panel + self.picture


SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "square": Shape("2304x1728", 1440, 360, 1080),
        "portrait": Shape("2048x2048", 1440, 480, 1440),
        "story": Shape("1728x2304", 1080, 480, 1440),
    }
)
"""Name of a shape -> its sizes: 1:1, 3:4 and 9:16. Every model takes the sizes of the pictures."""


class Line(msgspec.Struct, frozen=True):
    """A line of text, and the box that it has for itself, in pixels from the poster's corner."""

    role: str
    """title, subtitle or price."""
    text: str
    size: int
    """Height of the letters."""
    left: int
    top: int
    width: int
    """Estimated from above."""
    height: int
    from_right: bool = False
    """Keeps to the right edge of its box; else to the left one."""

    @property
    def letters_top(self) -> int:
        """Upper edge of the letters."""
        return self.top + round(self.size * _ASCENT)


class _Block(msgspec.Struct, frozen=True):
    """A place for a text."""

    left: int
    top: int
    width: int
    height: int


def em_width(text: str) -> float:
    """Return the greatest width of a text, in heights of its letters."""
    return sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    if letter in _WIDEST_LATIN or unicodedata.east_asian_width(letter) in "WFA":
        return 1.0
    return 0.8 if letter.isupper() else 0.65


def wrapped(text: str, lines: int) -> tuple[str, ...]:
    """Return a text in at most this many lines (one or two), of widths as equal as the rules of line breaks allow."""
    if lines == 1:
        return (text,)
    places = [at for at in range(1, len(text)) if _may_break(text, at)] or list(range(1, len(text)))
    pairs = [(text[:at].strip(), text[at:].strip()) for at in places]
    fits = [pair for pair in pairs if all(pair)]
    if not fits:
        return (text,)
    return min(fits, key=lambda pair: max(map(em_width, pair)))


def _may_break(text: str, at: int) -> bool:
    """Return True if a line may begin there: next to a space or a Chinese character, and not at wrong punctuation."""
    before, after = text[at - 1], text[at]
    if after in _CLOSING or before in _OPENING:
        return False
    return any(letter == " " or unicodedata.east_asian_width(letter) in "WF" for letter in (before, after))


def lay_out(shape: Shape, title: str, subtitle: str, price: str) -> tuple[Line, ...]:
    """Return the lines of a poster's panel; an empty text has none.

    Args:
        shape: the poster's shape.
        title: as large as it fits, in one line or two.
        subtitle: below it, in one line or two.
        price: at the right of the subtitle, in one line.
    """
    margin, pad = shape.width // 18, shape.panel // 9
    inner = _Block(margin, pad, shape.width - 2 * margin, shape.panel - 2 * pad)
    if not subtitle and not price:
        return _fitted("title", title, inner, most=inner.height, lines=2)
    upper = _Block(inner.left, inner.top, inner.width, round(inner.height * _TITLE_SHARE))
    gap = pad // 2
    row = _Block(inner.left, upper.top + upper.height + gap, inner.width, inner.height - upper.height - gap)
    amount = _amount(price, row, alone=not subtitle)
    taken = amount[0].width + margin // 2 if amount else 0
    rest = _Block(row.left, row.top, row.width - taken, row.height)
    return (
        *_fitted("title", title, upper, most=upper.height, lines=2),
        *_fitted("subtitle", subtitle, rest, most=int(row.height * _SUBTITLE_SHARE), lines=2),
        *amount,
    )


def _amount(price: str, row: _Block, *, alone: bool) -> tuple[Line, ...]:
    """Return the price at the right end of its row; alone at the left one."""
    width = row.width if alone else int(row.width * _PRICE_SHARE)
    lines = _fitted("price", price, _Block(row.left, row.top, width, row.height), most=row.height, lines=1)
    if alone:
        return lines
    end = row.left + row.width
    return tuple(msgspec.structs.replace(line, left=end - line.width, from_right=True) for line in lines)


def _fitted(role: str, text: str, block: _Block, *, most: int, lines: int) -> tuple[Line, ...]:
    """Return a text in the number of lines in which its letters are largest, in the middle of the block's height."""
    text = " ".join(text.split())
    if not text:
        return ()
    size, parts = max(
        ((_largest(parts, block, most), parts) for parts in (wrapped(text, n) for n in range(1, lines + 1))),
        key=lambda found: (found[0], -len(found[1])),
    )
    height = math.floor(size * LINE_HEIGHT)
    top = block.top + (block.height - height * len(parts)) // 2
    return tuple(
        Line(role, part, size, block.left, top + n * height, math.ceil(em_width(part) * size), height)
        for n, part in enumerate(parts)
    )


def _largest(parts: tuple[str, ...], block: _Block, most: int) -> int:
    """Return the greatest size at which the parts fit into the block."""
    by_width = block.width / max(map(em_width, parts))
    by_height = block.height / (len(parts) * LINE_HEIGHT)
    return math.floor(min(most, by_width, by_height))
