"""Twelve poses of a model from one photo, by a RunningHub workflow; fewer than twelve pictures are a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from recipes.recipe import Params, Plan, Recipe

__all__ = ["MODEL_POSE12", "ModelPose12Params"]

_FIT: Final = "imageMogr2/auto-orient/thumbnail/4096x4096>/format/jpg/quality/92/strip"
"""A jpg of at most 4096 pixels a side stays far below RunningHub's limit of 30 MB (its API page 425761099)."""


class ModelPose12Params(Params, frozen=True):
    """Parameters of `model_pose12`."""

    prompt: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Description of the model; empty leaves it to the workflow."""


def _clean(_: ModelPose12Params, __: str) -> Plan:
    return Plan((_FIT,), "jpg")


def _values(params: ModelPose12Params) -> Mapping[str, str]:
    return {"prompt": params.prompt} if params.prompt else {}


def _text(params: ModelPose12Params) -> str:
    return params.prompt


MODEL_POSE12: Final = Recipe(
    kind="model_pose12",
    params=ModelPose12Params,
    deadline_s=1800,
    clean=_clean,
    text=_text,
    vendor="runninghub",
    values=_values,
    count=12,
    result="frame_{:02d}.{}",
    expected_s=90.0,
)
"""The recipe."""
