"""`promo_poster`: parameters, what the model is asked for, and the layout: nothing overlaps, nothing is cut off."""

from __future__ import annotations

import base64
import io
import itertools
import re
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from messages.codes import Code
from recipes.promo_poster import PROMO_POSTER
from recipes.recipe import BadParameters, parse_params
from recipes.shared.picture_rules import arranged
from recipes.shared.poster import FAMILIAR, LINE_HEIGHT, SHAPES, Line, Shape, em_width, lay_out, wrapped
from recipes.shared.seedream import MODELS, size_of
from sandbox.cos.ci.pictures import process

FONT: Final = Path(__file__).parents[3] / "sandbox/fonts/cjk-subset.otf"
UNITS: Final = 1000
MEASURE: Final = ImageFont.truetype(FONT, UNITS)
SIGNS: Final = "".join(chr(n) for n in range(32, 0xFFFF) if FAMILIAR.fullmatch(chr(n)) and not 0x4E00 <= n <= 0x9FA5)
LETTERS: Final = SIGNS + "秋日新品上市轻盈保暖鱻龘睿飒"

shapes = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)


def texts(most: int, least: int = 0) -> st.SearchStrategy[str]:
    return st.text(LETTERS, min_size=least, max_size=most)


def prices() -> st.SearchStrategy[str]:
    return st.just("") | st.integers(0, 999_999_999).map(lambda cents: f"¥{cents // 100}.{cents % 100:02d}")


# ---- layout ----------------------------------------------------------------------------------------------------------


def apart(one: Line, other: Line) -> bool:
    return (
        one.left + one.width <= other.left
        or other.left + other.width <= one.left
        or one.top + one.height <= other.top
        or other.top + other.height <= one.top
    )


@given(shapes, texts(24, 1).filter(str.strip), texts(32), prices())
def test_no_line_leaves_the_panel_or_meets_another(shape: Shape, title: str, subtitle: str, price: str) -> None:
    lines = lay_out(shape, title, subtitle, price)
    for line in lines:
        assert 0 < line.left < line.left + line.width <= shape.width - shape.width // 20
        assert 0 < line.top < line.top + line.height < shape.panel
        assert em_width(line.text) * line.size <= line.width
        assert line.size * LINE_HEIGHT < line.height + 1
        assert line.top < line.letters_top < line.top + line.height - line.size
    assert all(itertools.starmap(apart, itertools.combinations(lines, 2)))


@given(shapes, texts(24, 1).filter(str.strip), texts(32), prices())
def test_every_letter_is_written_once_and_large_enough(shape: Shape, title: str, subtitle: str, price: str) -> None:
    lines = lay_out(shape, title, subtitle, price)
    for role, text, least in (("title", title, 0.044), ("subtitle", subtitle, 0.018), ("price", price, 0.036)):
        of_role = [line for line in lines if line.role == role]
        assert "".join(line.text for line in of_role).replace(" ", "") == text.replace(" ", "")
        assert len(of_role) <= (1 if role == "price" else 2)
        assert all(line.size >= least * shape.width for line in of_role), (role, of_role)


@given(shapes, texts(24, 1).filter(str.strip), texts(32), prices())
def test_the_title_is_the_largest(shape: Shape, title: str, subtitle: str, price: str) -> None:
    sizes = {line.role: line.size for line in lay_out(shape, title, subtitle, price)}
    assert sizes.get("subtitle", 0) <= sizes["title"] * 1.1
    if len(title) <= 6:
        assert sizes["title"] >= max(sizes.values())


@given(texts(32, 1))
def test_the_stand_in_s_font_is_never_wider_than_the_estimate(text: str) -> None:
    assert MEASURE.getlength(text) <= em_width(text) * UNITS


def test_the_font_has_every_sign_that_is_accepted() -> None:
    small = ImageFont.truetype(FONT, 40)
    box = bytes(small.getmask("\uffff"))
    assert len(box) > 0
    assert [sign for sign in SIGNS if bytes(small.getmask(sign)) == box] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("秋日新品全场八折优惠", ("秋日新品全", "场八折优惠")),
        ("秋日新品，全场八折", ("秋日新品，", "全场八折")),
        ("New Arrival Today", ("New Arrival", "Today")),
        ("Unbreakable", ("Unbre", "akable")),
        ("羊绒Cashmere", ("羊绒", "Cashmere")),
        ("新", ("新",)),
    ],
)
def test_a_text_breaks_where_its_language_allows(text: str, lines: tuple[str, ...]) -> None:
    assert wrapped(text, 2) == lines
    assert wrapped(text, 1) == (text,)


@given(texts(32, 2))
@example("0 ？")
def test_a_line_begins_with_no_closing_sign_if_there_is_another_way(text: str) -> None:
    lines = wrapped(text, 2)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if len(lines) == 2 and lines[1][0] in "，。！？）":
        # A blank before a closing sign is no other way.
        inner = re.sub(" +(?=[，。！？）])", "", text)[1:-1]
        assert not any(letter == " " or "一" <= letter <= "龥" for letter in inner)


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"title": ""}, "title", "empty"),
        ({"title": " "}, "title", "empty"),
        ({"title": "长" * 25}, "title", "24"),
        ({"title": "新品🎉"}, "title", "emoji"),
        ({"title": "新品\n上市"}, "title", "signs"),
        ({"title": "สวัสดี"}, "title", "signs"),
        ({"subtitle": "长" * 33}, "subtitle", "32"),
        ({"subtitle": "❤"}, "subtitle", "emoji"),
        ({"price": "¥199"}, "price", "199.90"),
        ({"price": "199.999"}, "price", "199.90"),
        ({"price": "1,299"}, "price", "199.90"),
        ({"price": "０"}, "price", "199.90"),
        ({"price": "-1"}, "price", "199.90"),
        ({"price": -1}, "price", "199.90"),
        ({"price": 0.001}, "price", "199.90"),
        ({"price": 12345678}, "price", "9999999.99"),
        ({"price": True}, "price", "bool"),
        ({"shape": "round"}, "shape", "round"),
        ({"theme": "blue"}, "theme", "blue"),
        ({"note": "长" * 201}, "note", "200"),
        ({"images": ["a.jpg"]}, "images", "unknown"),
    ],
)
def test_a_parameter_that_cannot_be_drawn_is_rejected_by_its_name(values: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(BadParameters, match=rf"^parameters of promo_poster: .*\b{field}\b") as raised:
        parse_params(PROMO_POSTER, {**PROMO_POSTER.example, **values})
    assert why in str(raised.value)
    assert raised.value.code is Code.BAD_PARAMETERS


@pytest.mark.parametrize(
    ("price", "written"),
    [("199", "¥199"), (199, "¥199"), ("199.9", "¥199.90"), (1299.9, "¥1299.90"), ("0.05", "¥0.05"), (0, "¥0")],
)
def test_a_price_has_two_digits_of_its_fraction_or_none(price: str | float, written: str) -> None:
    def rules(values: dict[str, Any]) -> tuple[str, ...]:
        assert PROMO_POSTER.finish is not None
        return PROMO_POSTER.finish(parse_params(PROMO_POSTER, values)).passes

    encoded = base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")
    assert f"/text/{encoded}/" in "".join(rules({"title": "新品", "price": price}))
    assert "".join(rules({"title": "新品"})).count("watermark/2") == 1


def test_the_title_is_required() -> None:
    with pytest.raises(BadParameters, match="title"):
        parse_params(PROMO_POSTER, {"subtitle": "上市"})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_model_makes_the_picture_of_every_shape_in_its_proportions(shape: str, model: str) -> None:
    size = PROMO_POSTER.values(parse_params(PROMO_POSTER, {"title": "新品", "shape": shape}))["size"]
    width, height = map(int, size_of(size, model).split("x"))
    assert width * SHAPES[shape].picture == height * SHAPES[shape].width


def test_the_model_never_gets_the_texts_of_the_poster_and_the_audit_gets_all_of_them() -> None:
    params = parse_params(PROMO_POSTER, {"title": "秋日上新", "subtitle": "全场八折", "price": 199, "note": "木桌"})
    prompt = PROMO_POSTER.values(params)["prompt"]
    assert not any(text in prompt for text in ("秋日上新", "全场八折", "199"))
    assert "木桌" in prompt
    assert "不要出现任何文字" in prompt
    assert PROMO_POSTER.text(params) == "秋日上新\n全场八折\n木桌"


# ---- the poster ------------------------------------------------------------------------------------------------------


def poster(values: dict[str, Any], picture: tuple[int, int] | None = None) -> Image.Image:
    params = parse_params(PROMO_POSTER, values)
    width, height = picture or tuple(map(int, PROMO_POSTER.values(params)["size"].split("x")))
    body = io.BytesIO()
    Image.new("RGB", (width, height), "#3080C0").save(body, "png")
    assert PROMO_POSTER.finish is not None
    plan = PROMO_POSTER.finish(params)
    # Its one pass is full: the labels and the format come in another.
    (rule,), rest = arranged(plan.passes)
    assert (plan.extension, rest) == ("jpg", "")
    made = process(body.getvalue(), rule)
    assert made.format == "png"
    return Image.open(io.BytesIO(made.body)).convert("RGB")


@pytest.mark.parametrize(("shape", "theme"), [("square", "light"), ("portrait", "dark"), ("story", "red")])
def test_the_texts_stand_on_the_panel_and_the_picture_is_whole(shape: str, theme: str) -> None:
    values = {"title": "秋日新品全场上市", "subtitle": "轻盈保暖", "price": "199.90", "shape": shape, "theme": theme}
    made, sizes = poster(values), SHAPES[shape]
    assert made.size == (sizes.width, sizes.height)
    ground = made.getpixel((5, 5))
    assert isinstance(ground, tuple)
    for line in lay_out(sizes, values["title"], values["subtitle"], "¥199.90"):
        inked = made.crop((line.left, line.top, line.left + line.width, line.top + line.height))
        assert contrast(farthest(inked, ground), ground) > 4.5, line
    margin, foot = sizes.width // 20, sizes.panel - 16
    edges = [(0, 0, margin, foot), (sizes.width - margin, 0, sizes.width, foot), (0, 0, sizes.width, foot // 20)]
    for edge in edges:
        assert all(abs(low - high) < 16 for low, high in made.crop(edge).getextrema())  # type: ignore[misc]
    below = made.crop((0, sizes.panel + 8, sizes.width, sizes.height))
    assert all(abs(low - high) < 8 for low, high in below.getextrema())  # type: ignore[misc]


def test_a_picture_of_other_proportions_is_cut_to_its_place() -> None:
    assert poster({"title": "新品"}, (1000, 3000)).size == (1440, 1440)


def farthest(picture: Image.Image, ground: tuple[int, ...]) -> tuple[int, ...]:
    """The colour that differs most from the background's."""
    colors = [color for _, color in picture.getcolors(1 << 24) or () if isinstance(color, tuple)]
    return max(colors, key=lambda color: sum(abs(one - other) for one, other in zip(color, ground, strict=True)))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Ratio of WCAG: 4.5 is the least for ordinary text."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: tuple[int, ...]) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (n / 255 for n in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
