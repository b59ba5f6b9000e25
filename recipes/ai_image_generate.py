"""Pictures from the user's own prompt, without any photo (GENERATE_ONLY of the API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from recipes.recipe import Params, Plan, Recipe
from recipes.shared.picture_options import ModelConfig, PictureOptions, check_size, plan_of, values_of

__all__ = ["AI_IMAGE_GENERATE", "AiImageGenerateParams"]


class AiImageGenerateParams(Params, frozen=True, rename="camel"):
    """Parameters of `ai_image_generate`; in JSON `model_config` is modelConfig."""

    prompt: Annotated[str, msgspec.Meta(max_length=800)]
    """Description of the picture to make."""
    options: PictureOptions = PictureOptions()
    """Options of the pictures."""
    model_config: ModelConfig = ModelConfig()
    """Choice of the model."""

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise ValueError("`prompt` must not be empty")
        check_size(self.options, self.model_config)


def _values(params: AiImageGenerateParams) -> Mapping[str, str]:
    return {"prompt": params.prompt, **values_of(params.options, params.model_config)}


def _slots(params: AiImageGenerateParams) -> int:
    return params.options.n


def _text(params: AiImageGenerateParams) -> str:
    return "\n".join(filter(None, (params.prompt, params.options.watermark)))


def _finish(params: AiImageGenerateParams) -> Plan:
    return plan_of(params.options)


AI_IMAGE_GENERATE: Final = Recipe(
    kind="ai_image_generate",
    params=AiImageGenerateParams,
    example={"prompt": "一位模特身穿米色风衣，站在黄昏的海边，长焦镜头，柔和的逆光"},
    deadline_s=1200,
    least_inputs=0,
    most_inputs=0,
    text=_text,
    vendor="ark",
    synchronous=True,
    inputs=(),
    values=_values,
    slots=_slots,
    finish=_finish,
    result="image_{:02d}.{}",
    expected_s=40.0,
    create_limit_s=180.0,
)
"""The recipe."""
