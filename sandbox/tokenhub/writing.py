"""The words of the model: a prompt that describes the pictures, as JSON of the schema that was asked for.

The same pictures and question give the same words. The calls block: run them in a thread.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sandbox.tokenhub.model import Refused

__all__ = ["Seen", "compose", "fill", "look", "schema_in"]

_COLOURS: Final = {
    "白色": (245, 245, 245),
    "米色": (222, 205, 180),
    "浅灰色": (190, 190, 190),
    "深灰色": (95, 95, 95),
    "黑色": (20, 20, 20),
    "红色": (200, 40, 45),
    "粉色": (235, 160, 180),
    "橙色": (235, 130, 50),
    "黄色": (235, 205, 70),
    "绿色": (70, 150, 80),
    "青色": (70, 175, 180),
    "蓝色": (50, 95, 190),
    "紫色": (130, 80, 170),
    "棕色": (125, 85, 55),
}
_WORDS_OF_QUESTION: Final = 60
_SIDE: Final = 64

_decoder: Final = json.JSONDecoder()


class Seen(NamedTuple):
    """A picture as the model sees it."""

    width: int
    height: int
    colours: tuple[str, ...]
    """The most frequent ones, the first most often."""


def look(body: bytes) -> Seen:
    """Return the size and colours of a picture.

    Raises:
        Refused: 400002, it is none.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(body)) as opened:
            width, height = opened.size
            small = opened.convert("RGB").resize((_SIDE, _SIDE))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refused("400002", "a picture cannot be read") from error
    counts: dict[str, int] = {}
    for count, pixel in small.quantize(8).convert("RGB").getcolors(_SIDE * _SIDE) or []:
        name = _nearest(pixel if isinstance(pixel, tuple) else (0, 0, 0))
        counts[name] = counts.get(name, 0) + count
    return Seen(width, height, tuple(sorted(counts, key=lambda name: (-counts[name], name))[:2]))


def compose(text: str, pictures: Sequence[Seen]) -> str:
    """Return the prompt: what the pictures show, and the beginning of the question."""
    parts = [
        f"图{n}主色为{'与'.join(seen.colours)}，{seen.width}×{seen.height}像素，{_shape(seen)}构图"
        for n, seen in enumerate(pictures, 1)
    ]
    shown = "；".join(parts) or "无参考图"
    asked = " ".join(text.split())[:_WORDS_OF_QUESTION]
    return f"专业时尚产品摄影，{shown}。保持服装版型、面料质感与颜色不变，柔和自然光，背景干净。要求：{asked}"


def schema_in(system: str) -> dict[str, Any]:
    """Return the JSON schema in the instructions: the last object in them; empty without one."""
    found: dict[str, Any] = {}
    start = system.find("{")
    while start >= 0:
        try:
            found, end = _decoder.raw_decode(system, start)
        except ValueError:
            end = start + 1
        start = system.find("{", end)
    return found


def fill(schema: dict[str, Any], prompt: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value that fits a schema, with the prompt as its texts."""
    return _fill(schema, schema.get("$defs", {}), prompt)


def _fill(schema: dict[str, Any], defs: dict[str, Any], prompt: str) -> Any:  # noqa: ANN401 - any JSON value
    if "$ref" in schema:
        schema = defs.get(schema["$ref"].rpartition("/")[2], {})
    match schema.get("type"):
        case "object":
            return {name: _fill(part, defs, prompt) for name, part in schema.get("properties", {}).items()}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return prompt[: schema.get("maxLength", len(prompt))]


def _nearest(pixel: tuple[int, ...]) -> str:
    def distance(name: str) -> int:
        return sum((ours - theirs) ** 2 for ours, theirs in zip(_COLOURS[name], pixel, strict=False))

    return min(_COLOURS, key=distance)


def _shape(seen: Seen) -> str:
    if seen.width == seen.height:
        return "方形"
    return "横向" if seen.width > seen.height else "竖向"
