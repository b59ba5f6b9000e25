"""Pictures from photos of clothes: prompt by the chat model, pictures by Seedream (FULL_GENERATION of the API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recipes.prompt import Prompt, Question
from recipes.recipe import Params, Plan, Recipe
from recipes.shared.fashion import Wish, ask_for_prompt, own_words, plain_prompt
from recipes.shared.picture_options import ModelConfig, PictureOptions, check_size, plan_of, values_of
from recipes.shared.picture_rules import FIT_FOR_VENDOR

__all__ = ["AI_IMAGE", "AiImageParams"]

_MOST_INPUTS: Final = 10
"""Reference pictures that every model takes."""


class AiImageParams(Params, frozen=True, rename="camel"):
    """Parameters of `ai_image`; in JSON the names are sceneType, stylePreference and so on."""

    scene_type: Wish = "indoor"
    """Scene, in a few words."""
    style_preference: Wish = "modern"
    """Style, in a few words."""
    options: PictureOptions = PictureOptions()
    """Options of the pictures."""
    model_config: ModelConfig = ModelConfig()
    """Choice of the model."""

    def __post_init__(self) -> None:
        check_size(self.options, self.model_config)


def _wishes(params: AiImageParams) -> Mapping[str, str]:
    return {"场景": params.scene_type, "风格": params.style_preference}


def _clean(_: AiImageParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _ask(params: AiImageParams) -> Question:
    return ask_for_prompt(_wishes(params))


def _template(params: AiImageParams) -> str:
    return plain_prompt(_wishes(params))


def _values(params: AiImageParams) -> Mapping[str, str]:
    return values_of(params.options, params.model_config)


def _slots(params: AiImageParams) -> int:
    return params.options.n


def _text(params: AiImageParams) -> str:
    return own_words(params.scene_type, params.style_preference, params.options.watermark)


def _finish(params: AiImageParams) -> Plan:
    return plan_of(params.options)


AI_IMAGE: Final = Recipe(
    kind="ai_image",
    params=AiImageParams,
    deadline_s=1200,
    most_inputs=_MOST_INPUTS,
    clean=_clean,
    text=_text,
    prompt=Prompt(version="1", ask=_ask, template=_template),
    vendor="ark",
    synchronous=True,
    inputs=tuple(f"clothing_{n:02d}" for n in range(1, _MOST_INPUTS + 1)),
    values=_values,
    slots=_slots,
    finish=_finish,
    result="image_{:02d}.{}",
    expected_s=40.0,
    create_limit_s=180.0,
)
"""The recipe."""
