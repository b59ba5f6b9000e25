"""Rules of the picture models of Volcengine Ark (Seedream), checked before anything is paid. Pure.

Sources: number of pixels and proportions from the pages of resellers that print Ark's table (novita.ai and jiekou.ai,
Seedream 4.0 and 4.5), ids and named sizes from Ark's command-line tool. The upper bounds of the 5.0 models are ours:
the
square of the largest named size, and a tenth more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

__all__ = ["DEFAULT_MODEL", "MODELS", "PictureModel", "model_of", "short_side", "size_of"]

DEFAULT_MODEL: Final = "doubao-seedream-4-0-250828"
"""The model whose rules hold where a task names none; Ark's default here too, unless `ARK_MODEL` names another."""

_SIZE: Final = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", re.ASCII)
_WIDEST: Final = 16.0
"""Greatest ratio of the longer side to the shorter one."""
_K: Final = 1024


class PictureModel(msgspec.Struct, frozen=True):
    """Sizes that a model accepts."""

    least_pixels: int
    most_pixels: int
    short_sizes: tuple[str, ...]
    """Sizes by name, such as 2K; the model chooses the proportions."""


MODELS: Final[Mapping[str, PictureModel]] = MappingProxyType(
    {
        DEFAULT_MODEL: PictureModel(921_600, 16_777_216, ("1K", "2K", "4K")),
        "doubao-seedream-4-5-251128": PictureModel(3_686_400, 16_777_216, ("2K", "4K")),
        "doubao-seedream-5-0-260128": PictureModel(3_686_400, 10_404_496, ("2K", "3K")),
        "doubao-seedream-5-0-pro-260628": PictureModel(921_600, 4_624_220, ("1K", "2K")),
    }
)
"""Every known model by its id."""


def model_of(name: str) -> str:
    """Return the id of a model, in lower case as Ark writes it; empty for none.

    Raises:
        ValueError: no such model is known.
    """
    known = name.lower()
    if known and known not in MODELS:
        raise ValueError(f"`model` must be one of {', '.join(MODELS)}")
    return known


def size_of(size: str, model: str = "") -> str:
    """Return the size if the model accepts it.

    Args:
        size: `WIDTHxHEIGHT` in pixels, or a name such as 2K.
        model: id of the model; empty for the default one.

    Raises:
        ValueError: it does not; the message names `size` and the sizes that it accepts.
    """
    name = model_of(model) or DEFAULT_MODEL
    rules = MODELS[name]
    if size in rules.short_sizes:
        return size
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"`size` must be WIDTHxHEIGHT or one of {', '.join(rules.short_sizes)} for {name}")
    width, height = int(match[1]), int(match[2])
    if not rules.least_pixels <= width * height <= rules.most_pixels:
        raise ValueError(f"`size` must have {rules.least_pixels} to {rules.most_pixels} pixels for {name}")
    if max(width, height) > _WIDEST * min(width, height):
        raise ValueError(f"`size` must not be longer than {_WIDEST:g} times its width or height")
    return size


def short_side(size: str) -> int:
    """Return the shorter side of a valid size in pixels; of a named size, that of its square."""
    match = _SIZE.fullmatch(size)
    return min(int(match[1]), int(match[2])) if match else int(size[:-1]) * _K
