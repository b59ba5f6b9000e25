"""Contact sheet: one picture that shows tasks with their inputs and results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["Block", "contact_sheet"]

_FONT: Final = Path(__file__).parent / "fonts" / "cjk-subset.otf"
_WIDEST: Final = 2000
"""Greatest width of a sheet, so that a screen shows it whole."""
_CELL: Final = 240
"""Greatest side of a tile."""
_GAP: Final = 8
_TITLE: Final = 34
_LETTERS: Final = 18
_LINE: Final = 26
_PAPER: Final = (245, 245, 245)
_TILE: Final = (226, 226, 226)
_INK: Final = (40, 40, 40)
_PALE: Final = (120, 120, 120)
_FRAME: Final = (190, 190, 190)
_TEXT_COLUMNS: Final = 3
"""Least columns of a sheet with a text."""

_CAPTION: Final = "The results are the stand-ins' variations of the inputs; no AI vendor made them."


class Block(NamedTuple):
    """A task on the sheet."""

    title: str
    inputs: Sequence[Path]
    results: Sequence[Path]
    text: str = ""
    """A text among the results."""


class _Grid(NamedTuple):
    """Measures of a sheet. Every result has a tile of the same size; inputs are at the left."""

    columns: int
    """Results in a row."""
    cell: int
    """Side of a result's tile."""
    beside: int
    """Width of the inputs, with their gaps."""

    @property
    def width(self) -> int:
        """Width of inputs and results."""
        return self.beside + self.columns * (self.cell + _GAP) + _GAP


def contact_sheet(blocks: Sequence[Block], target: Path, columns: int = 4) -> None:
    """Write a jpg with a block for each task: its title, its inputs at the left, its results in a grid beside them.

    Args:
        blocks: the tasks; their pictures are files that Pillow can read.
        target: the file to write.
        columns: greatest number of results in a row. Many columns make small tiles: the sheet has a greatest width.
    """
    grid = _grid(blocks, columns)
    font = ImageFont.truetype(_FONT, _LETTERS)
    lines = [_CAPTION, *(block.title for block in blocks)]
    longest = max(math.ceil(font.getlength(line)) for line in lines)
    width = min(_WIDEST, max(grid.width, longest + 2 * _GAP))
    heights = [_height(block, grid) for block in blocks]
    sheet = Image.new("RGB", (width, sum(heights) + _LINE + 2 * _GAP), _PAPER)
    top = _GAP
    for block, height in zip(blocks, heights, strict=True):
        _paint(sheet, block, top, grid)
        top += height
    ImageDraw.Draw(sheet).text((_GAP, top), _CAPTION, font=font, fill=_PALE)
    sheet.save(target, "JPEG", quality=88)


def _grid(blocks: Sequence[Block], columns: int) -> _Grid:
    """Return the largest tiles with which the sheet keeps its greatest width."""
    most = max((min(columns, len(block.results)) for block in blocks), default=1)
    most = max(most, _TEXT_COLUMNS if any(block.text for block in blocks) else 1)
    grids = [_grid_of(blocks, most, cell) for cell in range(_CELL, 0, -1)]
    return next((grid for grid in grids if grid.width <= _WIDEST), grids[-1])


def _grid_of(blocks: Sequence[Block], columns: int, cell: int) -> _Grid:
    bare = _Grid(columns, cell, 0)
    return bare._replace(beside=max((_inputs_width(block, bare) for block in blocks), default=0))


def _small(block: Block, grid: _Grid) -> int:
    """Return the side of an input's tile: that of a result, or half of it for more inputs than rows."""
    return grid.cell if len(block.inputs) <= _result_rows(block, grid) else (grid.cell - _GAP) // 2


def _result_rows(block: Block, grid: _Grid) -> int:
    return max(1, math.ceil(len(block.results) / grid.columns))


def _input_rows(block: Block, grid: _Grid) -> int:
    """Return the inputs below each other: as far as the results reach."""
    rows = _result_rows(block, grid)
    return rows if _small(block, grid) == grid.cell else 2 * rows


def _inputs_width(block: Block, grid: _Grid) -> int:
    columns = math.ceil(len(block.inputs) / _input_rows(block, grid))
    return columns * (_small(block, grid) + _GAP) + (_GAP if columns else 0)


def _text_width(grid: _Grid) -> int:
    return grid.columns * (grid.cell + _GAP) - _GAP


def _height(block: Block, grid: _Grid) -> int:
    rows = math.ceil(len(block.results) / grid.columns)
    lines = len(_wrapped(block.text, _text_width(grid))) if block.text else 0
    inputs = min(len(block.inputs), _input_rows(block, grid))
    pictures = max(rows * (grid.cell + _GAP), inputs * (_small(block, grid) + _GAP))
    return _TITLE + max(pictures, lines * _LINE + _GAP, _LINE) + _GAP


def _paint(sheet: Image.Image, block: Block, top: int, grid: _Grid) -> None:
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(_FONT, _LETTERS)
    pen.text((_GAP, top), block.title, font=font, fill=_INK)
    top += _TITLE
    rows, small = _input_rows(block, grid), _small(block, grid)
    for n, path in enumerate(block.inputs):
        spot = (_GAP + n // rows * (small + _GAP), top + n % rows * (small + _GAP))
        _place(sheet, path, spot, small)
        pen.rectangle((*spot, spot[0] + small - 1, spot[1] + small - 1), outline=_FRAME)
    left, step = grid.beside + _GAP, grid.cell + _GAP
    for n, path in enumerate(block.results):
        _place(sheet, path, (left + n % grid.columns * step, top + n // grid.columns * step), grid.cell)
    if block.text:
        lines = _wrapped(block.text, _text_width(grid))
        pen.multiline_text((left, top), "\n".join(lines), font=font, fill=_INK, spacing=_LINE - _LETTERS)
    elif not block.results:
        pen.text((left, top), "no results", font=font, fill=_PALE)


def _place(sheet: Image.Image, path: Path, spot: tuple[int, int], side: int) -> None:
    """Paste a picture whole into a tile, without its transparency; of a file that is no picture its name."""
    tile = Image.new("RGBA", (side, side), (*_TILE, 255))
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (side, side))
            small = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGBA"), (side, side))
    except (OSError, ValueError, Image.DecompressionBombError):
        font = ImageFont.truetype(_FONT, _LETTERS)
        lines = "\n".join(_wrapped(path.name, side - 2 * _GAP))
        ImageDraw.Draw(tile).multiline_text((_GAP, _GAP), lines, font=font, fill=_PALE)
    else:
        tile.alpha_composite(small, ((side - small.width) // 2, (side - small.height) // 2))
    sheet.paste(tile.convert("RGB"), spot)


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
