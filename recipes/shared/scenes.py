"""Scenes of `photography`, from the file `scenes.json` beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

__all__ = ["SCENES", "Scene", "read_scenes"]

_FILE: Final = Path(__file__).with_name("scenes.json")


class Scene(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place to photograph in."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    """Its name for users, in Chinese."""
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """Its description for the prompt, in Chinese."""


_Id = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]


def read_scenes(text: bytes) -> Mapping[str, Scene]:
    """Read scenes from JSON: id -> scene.

    Raises:
        ValueError: it is no such JSON, or has no scene.
    """
    found = msgspec.json.decode(text, type=dict[_Id, Scene])
    if not found:
        raise ValueError("no scene")
    return MappingProxyType(found)


SCENES: Final[Mapping[str, Scene]] = read_scenes(_FILE.read_bytes())
"""Every scene by its id."""
