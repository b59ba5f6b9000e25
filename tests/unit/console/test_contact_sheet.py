"""The contact sheet: every input, result and text of every task has its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFont

from recipes.shared.scenes import SCENES
from sandbox.contact_sheet import Block, contact_sheet

ROOT = Path(__file__).parents[3]
FONT = ROOT / "sandbox/fonts/cjk-subset.otf"


def picture(folder: Path, colour: str, size: tuple[int, int] = (300, 200)) -> Path:
    path = folder / f"{colour}{size[0]}.png"
    Image.new("RGB", size, colour).save(path)
    return path


def area(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """Pixels near a colour."""
    plain = sheet.convert("RGB")
    counted: Any = plain.getcolors(plain.width * plain.height)
    return sum(n for n, pixel in counted if all(abs(a - b) < 40 for a, b in zip(pixel, colour, strict=True)))


@pytest.mark.parametrize(
    ("inputs", "results", "columns", "tile"),
    [(0, 3, 4, 240), (1, 12, 4, 240), (10, 1, 4, 116), (10, 4, 4, 116), (2, 5, 12, 116), (3, 12, 4, 240)],
)
def test_every_picture_is_on_the_sheet(tmp_path: Path, inputs: int, results: int, columns: int, tile: int) -> None:
    red, blue = picture(tmp_path, "red"), picture(tmp_path, "blue")
    target = tmp_path / "sheet.jpg"
    contact_sheet([Block("photography  success", [red] * inputs, [blue] * results)], target, columns)
    with Image.open(target) as sheet:
        assert sheet.width <= 2000
        assert area(sheet, (254, 0, 0)) == pytest.approx(inputs * tile * tile * 2 / 3, rel=0.08)
        assert area(sheet, (0, 0, 254)) == pytest.approx(results * 240 * 160, rel=0.06)


@pytest.mark.parametrize("results", [1, 9, 12])
def test_tiles_have_one_size_whatever_the_pictures_and_the_sheet_stays_narrow(tmp_path: Path, results: int) -> None:
    shapes = [(300, 200), (100, 400), (40, 40)]
    blue = [picture(tmp_path, "blue", shapes[n % 3]) for n in range(results)]
    target = tmp_path / "sheet.jpg"
    contact_sheet([Block("model_pose12  success", [picture(tmp_path, "red")], blue)] * 3, target, columns=12)
    with Image.open(target) as sheet:
        assert sheet.width <= 2000
        # The last tile of the first row ends one gap before the edge, and is as high as the first.
        tile, top = (sheet.width - 8 - 16) // (results + 1) - 8 if results > 8 else 240, 42
        grey = sheet.convert("L")
        left = 8 + tile + 8 + 8
        assert (grey.getpixel((left + 1, top + 1)) or 0) < 240
        assert (grey.getpixel((left + results * (tile + 8) - 10, top + tile - 2)) or 0) < 240


def test_an_input_that_is_no_picture_is_named_in_its_tile(tmp_path: Path) -> None:
    broken, target = tmp_path / "text.jpg", tmp_path / "sheet.jpg"
    broken.write_text("no picture")
    contact_sheet([Block("basic_clean  failed", [broken, picture(tmp_path, "red")], [])], target)
    with Image.open(target) as sheet:
        assert area(sheet, (254, 0, 0)) == pytest.approx(116 * 77, rel=0.06)
        dark = sheet.convert("L").crop((8, 42, 124, 158)).histogram()
        assert sum(dark[:170]) > 100


def test_the_caption_names_the_stand_ins(tmp_path: Path) -> None:
    contact_sheet([Block("one", [], [picture(tmp_path, "blue")])], tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        caption = sheet.convert("L").crop((0, sheet.height - 36, sheet.width, sheet.height))
        assert sum(caption.histogram()[:170]) > 500
        assert caption.crop((sheet.width - 8, 0, sheet.width, 36)).getextrema()[0] > 230


def test_tasks_stand_below_each_other(tmp_path: Path) -> None:
    blue = picture(tmp_path, "blue")
    heights: list[int] = []
    for number in (1, 2, 3):
        contact_sheet([Block("one", [blue], [blue])] * number, tmp_path / "sheet.jpg")
        with Image.open(tmp_path / "sheet.jpg") as sheet:
            heights.append(sheet.height)
    assert heights[2] - heights[1] == heights[1] - heights[0] > 240


def test_a_text_is_written_and_a_failure_has_its_line(tmp_path: Path) -> None:
    red = picture(tmp_path, "red")
    contact_sheet(
        [Block("ai_image_prompt", [red], [], SCENES["beach"].text * 6), Block("x  failed", [red], [])],
        tmp_path / "s.jpg",
    )
    with Image.open(tmp_path / "s.jpg") as sheet:
        right = sheet.convert("L").crop((264, 40, sheet.width, 160))
        assert sum(right.histogram()[:100]) > 1000


def test_the_font_has_every_chinese_letter_of_recipes_and_stand_ins() -> None:
    font = ImageFont.truetype(FONT, 20)
    missing = bytes(font.getmask("\ue000"))
    files = [
        *ROOT.glob("recipes/**/*.py"),
        *ROOT.glob("recipes/**/*.json"),
        *ROOT.glob("sandbox/**/*.py"),
        ROOT / "messages/codes.py",
    ]
    letters = {letter for path in files for letter in path.read_text(encoding="utf-8") if letter >= "\u4e00"}
    assert len(letters) > 200
    assert not [letter for letter in letters if bytes(font.getmask(letter)) == missing]
