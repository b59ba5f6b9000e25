"""Photographs of a model in the user's clothes in a scene, by Seedream; half of the pictures are enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from recipes.prompt import Prompt, Question
from recipes.recipe import Params, Plan, Recipe
from recipes.shared.fashion import ask_for_prompt, own_words, plain_prompt
from recipes.shared.picture_rules import FIT_FOR_VENDOR, WatermarkText, check_text, finished
from recipes.shared.scenes import SCENES, Scene
from recipes.shared.seedream import short_side, size_of

__all__ = ["PHOTOGRAPHY", "PhotographyParams", "photography"]

_QUALITY: Final = 90
_MOST_INPUTS: Final = 10


class PhotographyParams(Params, frozen=True):
    """Parameters of `photography`."""

    scene: str = ""
    """Id of a scene of the deployment (`SCENES_FILE`); empty for the first one."""
    count: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    """Number of pictures; with at least half of them the task succeeds."""
    size: str = "2048x2048"
    """Size of each picture, WIDTHxHEIGHT or 1K, 2K, 4K."""
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """Further wishes of the user."""
    watermark: WatermarkText = ""
    """Text in the corner of each picture; empty for none."""

    def __post_init__(self) -> None:
        size_of(self.size)
        check_text(self.watermark, "watermark")


def _clean(_: PhotographyParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _values(params: PhotographyParams) -> Mapping[str, str]:
    return {"size": params.size}


def _slots(params: PhotographyParams) -> int:
    return params.count


def _enough(_: PhotographyParams, slots: int) -> int:
    return (slots + 1) // 2


def _text(params: PhotographyParams) -> str:
    return own_words(params.note, params.watermark)


def _finish(params: PhotographyParams) -> Plan:
    return finished("jpg", _QUALITY, short_side(params.size), params.watermark)


def photography(scenes: Mapping[str, Scene]) -> Recipe:
    """Return the recipe with the scenes of a deployment.

    Args:
        scenes: by their ids; the first one is that of a task which names none.
    """
    first = next(iter(scenes))

    def check(params: PhotographyParams) -> None:
        if (params.scene or first) not in scenes:
            raise ValueError(f"`scene` must be one of {', '.join(scenes)}")

    def wishes(params: PhotographyParams) -> Mapping[str, str]:
        scene = scenes[params.scene or first]
        return {"场景": f"{scene.name}，{scene.text}", "要求": params.note}

    def ask(params: PhotographyParams) -> Question:
        return ask_for_prompt(wishes(params))

    def template(params: PhotographyParams) -> str:
        return plain_prompt(wishes(params))

    return Recipe(
        kind="photography",
        params=PhotographyParams,
        check=check,
        deadline_s=1200,
        most_inputs=_MOST_INPUTS,
        clean=_clean,
        text=_text,
        prompt=Prompt(version="1", ask=ask, template=template),
        vendor="ark",
        synchronous=True,
        inputs=tuple(f"image_{n:02d}" for n in range(1, _MOST_INPUTS + 1)),
        values=_values,
        slots=_slots,
        enough=_enough,
        last_call_s=420.0,
        finish=_finish,
        result="photo_{:02d}.{}",
        expected_s=40.0,
        create_limit_s=180.0,
    )


PHOTOGRAPHY: Final = photography(SCENES)
"""The recipe with the bundled scenes."""
