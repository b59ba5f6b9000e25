"""A prompt for a photo of clothes; the text is the result (PROMPT_ONLY of the API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recipes.prompt import Prompt, Question
from recipes.recipe import Params, Plan, Recipe
from recipes.shared.fashion import Wish, ask_for_prompt, own_words, plain_prompt
from recipes.shared.picture_rules import FIT_FOR_VENDOR

__all__ = ["AI_IMAGE_PROMPT", "AiImagePromptParams"]


class AiImagePromptParams(Params, frozen=True, rename="camel"):
    """Parameters of `ai_image_prompt`; in JSON the names are clothingType, stylePreference and sceneType."""

    clothing_type: Wish = "fashion"
    """Sort of clothes, in a few words."""
    style_preference: Wish = "modern"
    """Style, in a few words."""
    scene_type: Wish = "indoor"
    """Scene, in a few words."""


def _wishes(params: AiImagePromptParams) -> Mapping[str, str]:
    return {"服装": params.clothing_type, "风格": params.style_preference, "场景": params.scene_type}


def _clean(_: AiImagePromptParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _ask(params: AiImagePromptParams) -> Question:
    return ask_for_prompt(_wishes(params))


def _template(params: AiImagePromptParams) -> str:
    return plain_prompt(_wishes(params))


def _text(params: AiImagePromptParams) -> str:
    return own_words(params.clothing_type, params.style_preference, params.scene_type)


AI_IMAGE_PROMPT: Final = Recipe(
    kind="ai_image_prompt",
    params=AiImagePromptParams,
    deadline_s=600,
    clean=_clean,
    text=_text,
    prompt=Prompt(version="1", ask=_ask, template=_template),
)
"""The recipe."""
