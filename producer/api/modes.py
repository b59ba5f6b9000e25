"""Routes of the four modes that clients know; each makes tasks of one kind."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["MODES", "Mode"]


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """A route that makes tasks of one kind."""

    name: str
    kind: str
    field: str
    """Name of the field with the inputs; empty for a kind without."""
    many: bool = True
    """True if the field is a list."""
    summary: str
    example: dict[str, Any]


MODES: Final = (
    Mode(
        name="generate",
        kind="ai_image",
        field="clothingImages",
        summary="Generate pictures from photos of clothes: preprocessing, prompt, generation, postprocessing",
        example={
            "clothingImages": ["https://example.com/clothing1.jpg", "https://example.com/clothing2.jpg"],
            "sceneType": "indoor",
            "stylePreference": "modern",
            "options": {"size": "1024x1024", "quality": "standard", "n": 2},
        },
    ),
    Mode(
        name="preprocess",
        kind="ai_image_preprocess",
        field="images",
        summary="Compress, resize and convert pictures",
        example={
            "images": ["https://example.com/image.jpg"],
            "options": {
                "compress": True,
                "resize": {"width": 1024, "height": 1024, "mode": "fit"},
                "format": "webp",
            },
        },
    ),
    Mode(
        name="generate-prompt",
        kind="ai_image_prompt",
        field="imageUrl",
        many=False,
        summary="Write a prompt for a photo of clothes",
        example={
            "imageUrl": "https://example.com/clothing.jpg",
            "clothingType": "fashion",
            "stylePreference": "modern",
            "sceneType": "indoor",
        },
    ),
    Mode(
        name="generate-only",
        kind="ai_image_generate",
        field="",
        summary="Generate pictures from a prompt of your own",
        example={
            "prompt": "一个穿着时尚服装的模特",
            "options": {"size": "1024x1024", "quality": "standard", "n": 2},
            "modelConfig": {"model": "doubao-Seedream-4-0-250828"},
        },
    ),
)
"""Routes of the four modes; bodies as in the interface that clients know."""
