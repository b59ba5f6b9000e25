"""A person who moves in other clothes: a picture or video of the person and a picture of the clothes, by RunningHub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from recipes.recipe import Params, Plan, Recipe
from recipes.shared.picture_rules import FIT_FOR_VENDOR

__all__ = ["VIDEO_TRYON", "VideoTryonParams"]


class VideoTryonParams(Params, frozen=True):
    """Parameters of `video_tryon`."""

    prompt: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Description of clothes and movement; empty leaves it to the workflow."""


def _clean(_: VideoTryonParams, __: str) -> Plan:
    return Plan((FIT_FOR_VENDOR,), "jpg")


def _values(params: VideoTryonParams) -> Mapping[str, str]:
    return {"prompt": params.prompt} if params.prompt else {}


def _text(params: VideoTryonParams) -> str:
    return params.prompt


VIDEO_TRYON: Final = Recipe(
    kind="video_tryon",
    params=VideoTryonParams,
    deadline_s=2700,
    least_inputs=2,
    most_inputs=2,
    clean=_clean,
    text=_text,
    vendor="runninghub",
    inputs=("person", "garment"),
    video_inputs=frozenset({"person"}),
    values=_values,
    media="video",
    extension="mp4",
    result="video_{:02d}.{}",
    still="video_{:02d}.{}",
    most_bytes=500 << 20,
    expected_s=300.0,
    collect_limit_s=600.0,
)
"""The recipe."""
