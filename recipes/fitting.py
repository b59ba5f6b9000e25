"""A person in other clothes: a picture of the person and one to four of the clothes, by a try-on model or Seedream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Params, Plan, Recipe
from recipes.shared.picture_rules import FIT_FOR_VENDOR

__all__ = ["FITTING", "FittingParams"]

_MOST_CLOTHES: Final = 4
_INSTRUCTION: Final = (
    "让第一张图片中的人物穿上其余图片中的服装。保持人物的面容、发型、体型、姿势和背景不变，"
    "保持服装的款式、颜色、图案和材质不变，合身自然，光线一致，真实照片质感。"
)
"""Text for every model: a try-on model needs none, a general one does."""


class FittingParams(Params, frozen=True):
    """Parameters of `fitting`."""

    quality: Literal["", "lite", "flash", "pro"] = ""
    """Grade of VOD's try-on model: fast, balanced or best; empty for the deployment's model. Ark has no grades."""
    size: Literal["1K", "2K", "4K"] = "2K"
    """Size of the picture."""
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """Further wishes of the user."""


def _clean(_: FittingParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _for_ark(params: FittingParams) -> Mapping[str, str]:
    note = params.note.strip()
    return {"size": params.size, "prompt": f"{_INSTRUCTION}要求：{note}" if note else _INSTRUCTION}


def _for_vod(params: FittingParams) -> Mapping[str, str]:
    model = {"model": f"WAND-tryon-1.0-{params.quality}"} if params.quality else {}
    return {**_for_ark(params), **model}


def _text(params: FittingParams) -> str:
    return params.note


_BY_VOD: Final = Recipe(
    kind="fitting",
    params=FittingParams,
    deadline_s=1200,
    least_inputs=2,
    most_inputs=1 + _MOST_CLOTHES,
    clean=_clean,
    text=_text,
    vendor="vod",
    inputs=("person", *(f"clothes_{n}" for n in range(1, _MOST_CLOTHES + 1))),
    values=_for_vod,
    result="fitting_{:02d}.{}",
    expected_s=40.0,
)

_BY_ARK: Final = msgspec.structs.replace(_BY_VOD, vendor="ark", synchronous=True, values=_for_ark, create_limit_s=180.0)

FITTING: Final = msgspec.structs.replace(_BY_VOD, others=(_BY_ARK,))
"""The recipe, by VOD; `FITTING_VENDOR` may choose Ark."""
