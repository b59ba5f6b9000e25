"""The picture models that VOD sells, by a code of ours, `MAKER-VERSION`: what each of them takes. Pure.

Source: docs/reference/vod.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

__all__ = ["MODELS", "Action", "ModelRules", "rules_of"]


class Action(StrEnum):
    """The call that makes a picture."""

    IMAGE = "CreateAigcImageTask"
    """From a prompt and reference pictures."""
    SCENE = "CreateSceneAigcImageTask"
    """Try-on: from a person and clothes."""


class ModelRules(msgspec.Struct, frozen=True, kw_only=True):
    """Rules of a model."""

    name: str
    """`ModelName`; of a try-on model, `Model`."""
    version: str = ""
    """`ModelVersion`."""
    action: Action = Action.IMAGE
    least_inputs: int = 0
    most_inputs: int
    sizes: tuple[str, ...] = ()
    """Names of sizes, as the vendor writes them; empty where it has no field for one."""
    ratios: tuple[str, ...] = ()
    """Proportions, width:height; empty where it has no field for them."""
    counts: bool = False
    """True if it draws several pictures in one call unless the request asks for one."""


_K: Final = ("1K", "2K", "4K")
_OG_RATIOS: Final = ("1:1", "3:2", "2:3", "3:4", "4:3", "16:9", "9:16", "21:9", "9:21")
_GG_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_GG_31_RATIOS: Final = (*_GG_RATIOS, "1:4", "1:8", "4:1", "8:1")
_KLING_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
_VIDU_RATIOS: Final = _KLING_RATIOS


def _gg(version: str, most: int, sizes: tuple[str, ...], ratios: tuple[str, ...]) -> ModelRules:
    return ModelRules(name="GG", version=version, most_inputs=most, sizes=sizes, ratios=ratios)


def _og(quality: str) -> ModelRules:
    version = f"image2_{quality}"
    return ModelRules(name="OG", version=version, most_inputs=10, sizes=_K, ratios=_OG_RATIOS, counts=True)


def _kling(version: str, most: int, sizes: tuple[str, ...]) -> ModelRules:
    return ModelRules(name="Kling", version=version, most_inputs=most, sizes=sizes, ratios=_KLING_RATIOS, counts=True)


def _try_on(grade: str) -> ModelRules:
    name = f"WAND-tryon-1.0-{grade}"
    return ModelRules(name=name, action=Action.SCENE, least_inputs=2, most_inputs=5, sizes=_K)


MODELS: Final[Mapping[str, ModelRules]] = MappingProxyType(
    {
        "GG-2.5": _gg("2.5", 3, _K, _GG_RATIOS),
        "GG-3.0": _gg("3.0", 14, _K, _GG_RATIOS),
        "GG-3.1": _gg("3.1", 14, ("720P", *_K), _GG_31_RATIOS),
        "GG-3.1-lite": _gg("3.1-lite", 14, ("720P", *_K), _GG_31_RATIOS),
        "OG-image2_low": _og("low"),
        "OG-image2_medium": _og("medium"),
        "OG-image2_high": _og("high"),
        "Hunyuan-3.0": ModelRules(name="Hunyuan", version="3.0", most_inputs=3),
        "Vidu-q2": ModelRules(
            name="Vidu", version="q2", most_inputs=7, sizes=("1080p", "2K", "4K"), ratios=_VIDU_RATIOS
        ),
        "Kling-2.1": _kling("2.1", 4, ("1k", "2k")),
        "Kling-3.0": _kling("3.0", 1, ("1k", "2k")),
        "Kling-3.0-Omni": _kling("3.0-Omni", 10, ("1k", "2k", "4k")),
        "Kling-O1": _kling("O1", 10, ("1k", "2k", "4k")),
        "WAND-tryon-1.0-lite": _try_on("lite"),
        "WAND-tryon-1.0-flash": _try_on("flash"),
        "WAND-tryon-1.0-pro": _try_on("pro"),
    }
)
"""Code of a model -> its rules."""

_BY_LOWER: Final = {code.lower(): rules for code, rules in MODELS.items()}


def rules_of(code: str) -> ModelRules | None:
    """Return the rules of a model by its code, in any case; None for no model of this table."""
    return _BY_LOWER.get(code.strip().lower())
