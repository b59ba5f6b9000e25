"""Contact sheet: one picture that shows many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

__all__ = ["contact_sheet"]

_CELL: Final = 240
_GAP: Final = 8
_PAPER: Final = (245, 245, 245)


def contact_sheet(pictures: Sequence[Path], target: Path, columns: int = 4) -> None:
    """Write a jpg with all pictures in a grid, left to right, top to bottom.

    Args:
        pictures: files that Pillow can read.
        target: the file to write.
        columns: greatest number of pictures in a row.
    """
    columns = min(columns, max(1, len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    step = _CELL + _GAP
    sheet = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), _PAPER)
    for n, path in enumerate(pictures):
        with Image.open(path) as picture:
            small = ImageOps.contain(picture.convert("RGBA"), (_CELL, _CELL))
        cell = Image.new("RGBA", small.size, (*_PAPER, 255))
        cell.alpha_composite(small)
        left = _GAP + n % columns * step + (_CELL - small.width) // 2
        top = _GAP + n // columns * step + (_CELL - small.height) // 2
        sheet.paste(cell.convert("RGB"), (left, top))
    sheet.save(target, "JPEG", quality=88)
