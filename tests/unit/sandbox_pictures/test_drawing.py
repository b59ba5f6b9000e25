"""Pictures that the stand-ins draw: no empty corners, and heads stay in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sandbox.drawing import place, turned


@pytest.mark.parametrize("degrees", [-6, -1.5, 0, 6])
@pytest.mark.parametrize("size", [(512, 512), (300, 512), (40, 30)])
def test_a_turned_picture_has_no_empty_corners(size: tuple[int, int], degrees: float) -> None:
    picture = Image.new("RGB", size, (120, 60, 30))
    found = turned(picture, degrees)
    assert found.size == size
    assert all(
        low >= wanted - 2 and high <= wanted + 2
        for (low, high), wanted in zip(found.getextrema(), (120, 60, 30), strict=True)
    )


def test_a_tall_picture_keeps_its_upper_part(tmp_path: Path) -> None:
    tall = Image.new("RGB", (100, 400), "blue")
    ImageDraw.Draw(tall).rectangle((0, 0, 99, 39), fill="red")
    tall.save(tmp_path / "tall.png")
    canvas = Image.new("RGB", (100, 100))
    place(canvas, (str(tmp_path / "tall.png"),), (0, 0, 100, 100), mirrored=False)
    assert canvas.getpixel((50, 5)) == (255, 0, 0)
