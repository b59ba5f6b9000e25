"""Options of the kinds `ai_image` and `ai_image_generate`, named as clients of the API name them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from recipes.recipe import Params, Plan
from recipes.shared.picture_rules import ResultFormat, WatermarkText, check_text, finished
from recipes.shared.seedream import model_of, short_side, size_of

__all__ = ["ModelConfig", "PictureOptions", "check_size", "plan_of", "values_of"]

_QUALITY: Final[Mapping[str, int]] = {"standard": 85, "hd": 95}
"""Name of a quality -> quality of jpg and webp."""


class PictureOptions(Params, frozen=True):
    """Options of the pictures to generate."""

    size: str = "2048x2048"
    """WIDTHxHEIGHT, or a name such as 2K; which ones depends on the model."""
    quality: Literal["standard", "hd"] = "standard"
    """Compression of jpg and webp."""
    n: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    """Number of pictures."""
    format: ResultFormat = "jpg"
    """Format of each picture."""
    watermark: WatermarkText = ""
    """Text in the corner of each picture; empty for none."""

    def __post_init__(self) -> None:
        check_text(self.watermark, "watermark")


class ModelConfig(Params, frozen=True):
    """Choice of the model."""

    model: str = ""
    """Id of a model, in any case; empty for the deployment's."""


def check_size(options: PictureOptions, config: ModelConfig) -> None:
    """Check the size against the model's rules.

    Raises:
        ValueError: the model is not known, or refuses the size.
    """
    size_of(options.size, config.model)


def values_of(options: PictureOptions, config: ModelConfig) -> Mapping[str, str]:
    """Return the values for the vendor. Its `format` is a wish: not every model has a choice."""
    model = model_of(config.model)
    wish = {"format": "png"} if options.format == "png" else {}
    return {"size": options.size, **wish} | ({"model": model} if model else {})


def plan_of(options: PictureOptions) -> Plan:
    """Return the passes of the picture service over each result."""
    return finished(options.format, _QUALITY[options.quality], short_side(options.size), options.watermark)
