"""Scenes of `photography`: those of the file `scenes.json` beside this module, or of a file of the deployment."""

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

    name: Annotated[str, msgspec.Meta(pattern=r"\S", max_length=20)]
    """Its name for users, in Chinese."""
    text: Annotated[str, msgspec.Meta(pattern=r"\S", max_length=200)]
    """Its description for the prompt, in Chinese."""


_Id = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]


def read_scenes(text: bytes) -> Mapping[str, Scene]:
    """Read scenes from JSON: id -> scene.

    Raises:
        ValueError: it has no scene, or one that cannot be used; the message names it.
        msgspec.DecodeError: it is no JSON of this form.
    """
    found = msgspec.json.decode(text, type=dict[_Id, msgspec.Raw])
    if not found:
        raise ValueError("no scene")
    return MappingProxyType({name: _read(name, scene) for name, scene in found.items()})


def _read(name: str, scene: msgspec.Raw) -> Scene:
    try:
        return msgspec.json.decode(scene, type=Scene)
    except msgspec.ValidationError as error:
        raise ValueError(f"scene {name!r}: {error}") from error


SCENES: Final[Mapping[str, Scene]] = read_scenes(_FILE.read_bytes())
"""The bundled scenes by their ids."""
