"""Contact sheet: one picture that shows tasks with their inputs and results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["Block", "contact_sheet"]

_FONT: Final = Path(__file__).parent / "fonts" / "cjk-subset.otf"
_CELL: Final = 240
_GAP: Final = 8
_SMALL: Final = 116
"""Side of an input: two fit above each other beside a row of results."""
_TITLE: Final = 34
_LETTERS: Final = 18
_LINE: Final = 26
_PAPER: Final = (245, 245, 245)
_INK: Final = (40, 40, 40)
_PALE: Final = (120, 120, 120)
_FRAME: Final = (190, 190, 190)


class Block(NamedTuple):
    """A task on the sheet."""

    title: str
    inputs: Sequence[Path]
    results: Sequence[Path]
    text: str = ""
    """A text among the results."""


def contact_sheet(blocks: Sequence[Block], target: Path, columns: int = 4) -> None:
    """Write a jpg with a block for each task: its title, its inputs at the left, its results in a grid beside them.

    Args:
        blocks: the tasks; their pictures are files that Pillow can read.
        target: the file to write.
        columns: greatest number of results in a row.
    """
    most = max((min(columns, len(block.results)) for block in blocks), default=1)
    most = max(most, 3 if any(block.text for block in blocks) else 1)
    beside = max((_input_columns(block, most) for block in blocks), default=0)
    left = _GAP + beside * (_SMALL + _GAP) + (_GAP if beside else 0)
    font = ImageFont.truetype(_FONT, _LETTERS)
    titles = max((math.ceil(font.getlength(block.title)) for block in blocks), default=0)
    width = max(left + most * (_CELL + _GAP), titles + 2 * _GAP)
    heights = [_height(block, most) for block in blocks]
    sheet = Image.new("RGB", (width, sum(heights) + _GAP), _PAPER)
    top = _GAP
    for block, height in zip(blocks, heights, strict=True):
        _paint(sheet, block, (left, top), most)
        top += height
    sheet.save(target, "JPEG", quality=88)


def _input_columns(block: Block, columns: int) -> int:
    """Return the columns of a block's inputs: they stand below each other as far as the results reach."""
    return math.ceil(len(block.inputs) / _input_rows(block, columns))


def _input_rows(block: Block, columns: int) -> int:
    return 2 * max(1, math.ceil(len(block.results) / columns))


def _height(block: Block, columns: int) -> int:
    rows = math.ceil(len(block.results) / columns)
    lines = len(_wrapped(block.text, columns * (_CELL + _GAP) - _GAP)) if block.text else 0
    inputs = min(len(block.inputs), _input_rows(block, columns))
    return _TITLE + max(rows * (_CELL + _GAP), lines * _LINE + _GAP, inputs * (_SMALL + _GAP)) + _GAP


def _paint(sheet: Image.Image, block: Block, corner: tuple[int, int], columns: int) -> None:
    left, top = corner
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(_FONT, _LETTERS)
    pen.text((_GAP, top), block.title, font=font, fill=_INK)
    top += _TITLE
    rows = _input_rows(block, columns)
    for n, path in enumerate(block.inputs):
        spot = (_GAP + n // rows * (_SMALL + _GAP), top + n % rows * (_SMALL + _GAP))
        _place(sheet, path, spot, _SMALL)
        pen.rectangle((*spot, spot[0] + _SMALL - 1, spot[1] + _SMALL - 1), outline=_FRAME)
    for n, path in enumerate(block.results):
        step = _CELL + _GAP
        _place(sheet, path, (left + n % columns * step, top + n // columns * step), _CELL)
    if block.text:
        lines = _wrapped(block.text, columns * (_CELL + _GAP) - _GAP)
        pen.multiline_text((left, top), "\n".join(lines), font=font, fill=_INK, spacing=_LINE - _LETTERS)
    elif not block.results:
        pen.text((left, top), "no results", font=font, fill=_PALE)


def _place(sheet: Image.Image, path: Path, spot: tuple[int, int], side: int) -> None:
    """Paste a picture into a square, without its transparency; a file that is no picture leaves it empty."""
    try:
        with Image.open(path) as picture:
            small = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGBA"), (side, side))
    except (OSError, ValueError, Image.DecompressionBombError):
        return
    cell = Image.new("RGBA", small.size, (*_PAPER, 255))
    cell.alpha_composite(small)
    sheet.paste(cell.convert("RGB"), (spot[0] + (side - small.width) // 2, spot[1] + (side - small.height) // 2))


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of a width; between any two letters, as Chinese is."""
    font = ImageFont.truetype(_FONT, _LETTERS)
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for letter in paragraph:
            if line and font.getlength(line + letter) > width:
                lines.append(line)
                line = ""
            line += letter
        lines.append(line)
    return lines
