"""A poster of one to four products: the picture by Seedream, title, subtitle and price by the picture service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Params, Plan, Recipe
from recipes.shared.picture_rules import FIT_FOR_VENDOR, filled, padded, pipeline, text_step
from recipes.shared.poster import FAMILIAR, SHAPES, Line, Shape, lay_out

__all__ = ["PROMO_POSTER", "PromoPosterParams"]

_MOST_PRODUCTS: Final = 4
_QUALITY: Final = 92
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,6})(\.[0-9]{1,2})?", re.ASCII)
_INSTRUCTION: Final = (
    "商业产品海报的主视觉照片：把图片中的所有商品放在同一个画面里，作为画面的主体，完整呈现。"
    "保持每件商品的外形、颜色、图案、材质和细节不变。背景简洁有质感，光线柔和，构图平衡，高清细腻。"
    "画面中不要出现任何文字、数字、价签、水印和边框。"
)


class _Theme(msgspec.Struct, frozen=True):
    """Colours of a panel."""

    panel: str
    title: str
    subtitle: str
    price: str

    def of(self, role: str) -> str:
        """Return the colour of a line."""
        return {"title": self.title, "subtitle": self.subtitle, "price": self.price}[role]


_THEMES: Final[Mapping[str, _Theme]] = MappingProxyType(
    {
        "light": _Theme(panel="#FBF7F0", title="#211C18", subtitle="#5E554C", price="#C8102E"),
        "dark": _Theme(panel="#17191F", title="#FFFFFF", subtitle="#C9CCD3", price="#FFC94D"),
        "red": _Theme(panel="#B3121D", title="#FFFFFF", subtitle="#FFE3D6", price="#FFE08A"),
    }
)


class PromoPosterParams(Params, frozen=True):
    """Parameters of `promo_poster`."""

    title: Annotated[str, msgspec.Meta(max_length=24)]
    """Largest text; in one line or two."""
    subtitle: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """Text below it; empty for none."""
    price: str | int | float = ""
    """Amount in yuan, such as 199 or 199.90; empty for none."""
    shape: Literal["square", "portrait", "story"] = "square"
    """1:1, 3:4 or 9:16."""
    theme: Literal["light", "dark", "red"] = "light"
    """Colours of the panel with the texts."""
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """Further wishes for the picture."""

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError("`title` must not be empty")
        for name, text in (("title", self.title), ("subtitle", self.subtitle)):
            if not FAMILIAR.fullmatch(text):
                raise ValueError(f"`{name}` must consist of Chinese, English, digits and common signs, without emoji")
        if self.price != "" and not _PRICE.fullmatch(str(self.price)):
            raise ValueError("`price` must be an amount in yuan up to 9999999.99, such as 199 or 199.90")


def _clean(_: PromoPosterParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _values(params: PromoPosterParams) -> Mapping[str, str]:
    note = params.note.strip()
    return {"size": SHAPES[params.shape].size, "prompt": f"{_INSTRUCTION}要求：{note}" if note else _INSTRUCTION}


def _text(params: PromoPosterParams) -> str:
    return "\n".join(filter(str.strip, (params.title, params.subtitle, params.note)))


def _finish(params: PromoPosterParams) -> Plan:
    shape, theme = SHAPES[params.shape], _THEMES[params.theme]
    lines = lay_out(shape, params.title, params.subtitle, _amount(params.price))
    written = (_written(line, shape, theme) for line in lines)
    whole = pipeline(*_framed(shape, theme), *written, "imageMogr2/format/png")
    return Plan((whole,), "jpg", label="southeast", quality=_QUALITY)


def _amount(price: str | float) -> str:
    """Return the price as it is written, with two digits of its fraction or none."""
    whole, point, cents = str(price).partition(".")
    return f"¥{whole}{point}{cents:0<2}" if point else f"¥{whole}" if whole else ""


def _framed(shape: Shape, theme: _Theme) -> tuple[str, ...]:
    """Return the steps that put the picture below an empty panel: panels on both sides, and the lower one cut off."""
    return (
        *filled(shape.width, shape.picture),
        padded(shape.width, shape.picture + 2 * shape.panel, theme.panel),
        f"imageMogr2/cut/{shape.width}x{shape.height}x0x0",
    )


def _written(line: Line, shape: Shape, theme: _Theme) -> str:
    """Return the step that writes a line from the edge that it is aligned to, for any width of the service's font."""
    color = theme.of(line.role)
    if line.from_right:
        right = shape.width - line.left - line.width
        return text_step(line.text, line.size, color, "northeast", right, line.letters_top)
    return text_step(line.text, line.size, color, "northwest", line.left, line.letters_top)


PROMO_POSTER: Final = Recipe(
    kind="promo_poster",
    params=PromoPosterParams,
    example={"title": "秋日新品上市", "subtitle": "轻盈保暖，一件搞定整个秋天", "price": "199"},
    deadline_s=1200,
    most_inputs=_MOST_PRODUCTS,
    clean=_clean,
    text=_text,
    vendor="ark",
    synchronous=True,
    inputs=tuple(f"product_{n}" for n in range(1, _MOST_PRODUCTS + 1)),
    values=_values,
    finish=_finish,
    result="poster_{:02d}.{}",
    expected_s=40.0,
    create_limit_s=180.0,
)
"""The recipe."""
