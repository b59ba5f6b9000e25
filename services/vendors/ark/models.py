"""Rules of the Seedream models: sizes, references and formats that each takes. Pure.

Source: docs/reference/ark.md. A request that breaks one would be answered with 400 and cost nothing, but that answer is
late and names no code of the catalogue: so each is checked before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["ANY_MODEL", "MODELS", "ModelRules", "check_size", "rules_of"]

_FAMILY: Final = re.compile(r"(?:doubao-)?seedream-(\d-\d(?:-pro)?)(?:-lite)?(?:-\d+)?")
_SIZE: Final = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")
_MOST_RATIO: Final = 16
_FOUR_K: Final = 4096 * 4096


class ModelRules(msgspec.Struct, frozen=True):
    """Rules of the models of a family."""

    names: frozenset[str]
    """Names of sizes, such as `2K`."""
    least_pixels: int
    most_pixels: int
    references: int = 14
    """Reference pictures, at most."""
    formats: frozenset[str] = frozenset({"jpeg"})
    """Formats of results; a model with only one has no field for it."""
    has_modes: bool = True
    """True if it takes `sequential_image_generation` and `stream`; the others refuse both fields."""


MODELS: Final[Mapping[str, ModelRules]] = {
    "4-0": ModelRules(frozenset({"1K", "2K", "4K"}), 1280 * 720, _FOUR_K, references=10),
    "4-5": ModelRules(frozenset({"2K", "4K"}), 2560 * 1440, _FOUR_K),
    "5-0": ModelRules(frozenset({"2K", "3K"}), 2560 * 1440, 10_404_496, formats=frozenset({"jpeg", "png"})),
    "5-0-pro": ModelRules(
        frozenset({"1K", "2K"}), 1280 * 720, 4_624_220, formats=frozenset({"jpeg", "png"}), has_modes=False
    ),
}
"""Family of a model -> its rules."""

ANY_MODEL: Final = ModelRules(frozenset({"1K", "2K", "3K", "4K"}), 1280 * 720, _FOUR_K, has_modes=False)
"""The widest rules: of a model whose family does not show in its name, such as an endpoint (`ep-…`)."""


def rules_of(model: str) -> ModelRules:
    """Return the rules of a model by its id, such as `doubao-seedream-4-0-250828`."""
    found = _FAMILY.fullmatch(model)
    return MODELS.get(found[1], ANY_MODEL) if found else ANY_MODEL


def check_size(size: str, rules: ModelRules) -> str:
    """Return what is wrong with a size, a name such as `2K` or `WIDTHxHEIGHT`; empty for nothing."""
    if size in rules.names:
        return ""
    found = _SIZE.fullmatch(size)
    if found is None:
        return f"no size: {', '.join(sorted(rules.names))} or WIDTHxHEIGHT are"
    width, height = int(found[1]), int(found[2])
    if not rules.least_pixels <= width * height <= rules.most_pixels:
        return f"{width * height} pixels, where {rules.least_pixels} to {rules.most_pixels} are allowed"
    if max(width, height) > _MOST_RATIO * min(width, height):
        return f"one side is more than {_MOST_RATIO} times the other"
    return ""
