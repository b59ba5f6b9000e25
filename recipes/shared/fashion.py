"""Words of the kinds that make fashion pictures: questions to the chat model, and templates without one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from recipes.prompt import Question

__all__ = ["Wish", "ask_for_prompt", "chinese", "own_words", "plain_prompt"]

Wish = Annotated[str, msgspec.Meta(max_length=50)]
"""A word or short phrase of the user's own; known English words are translated."""

_SYSTEM: Final = (
    "你是资深的时尚摄影指导。根据服装图片和要求，写一段用于图像生成模型的中文提示词："
    "如实描述服装的款式、颜色、材质和细节，再描述模特、姿势、场景、光线和构图。"
    "不超过300字，只写画面，不写解释，不出现品牌、名人和文字。"
)

_CHINESE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "indoor": "室内",
        "outdoor": "户外",
        "studio": "摄影棚",
        "street": "街头",
        "beach": "海边",
        "nature": "自然风光",
        "modern": "现代简约",
        "classic": "经典优雅",
        "casual": "休闲",
        "elegant": "优雅",
        "vintage": "复古",
        "minimalist": "极简",
        "fashion": "时装",
        "dress": "连衣裙",
        "suit": "西装",
        "sportswear": "运动服",
    }
)


def chinese(word: str) -> str:
    """Return a known English word in Chinese; any other text as it is."""
    return _CHINESE.get(word.strip().lower(), word.strip())


def own_words(*texts: str) -> str:
    """Return the texts that are the user's own, a line each: known words are left out."""
    return "\n".join(text for text in texts if text.strip() and text.strip().lower() not in _CHINESE)


def ask_for_prompt(wishes: Mapping[str, str]) -> Question:
    """Return the question for a prompt. Wishes are by topic; empty ones are left out."""
    lines = [f"{name}：{chinese(wish)}" for name, wish in wishes.items() if wish.strip()]
    return Question(_SYSTEM, "\n".join(["请根据图片中的服装写提示词。", *lines]))


def plain_prompt(wishes: Mapping[str, str]) -> str:
    """Return a prompt without the chat model's help, from the same wishes."""
    parts = [f"{name}：{chinese(wish)}" for name, wish in wishes.items() if wish.strip()]
    ending = "模特自然展示图片中的服装，保持服装的款式、颜色和细节不变，光线柔和，构图完整，高清细腻。"
    return "。".join(["生成时尚摄影照片", *parts, ending])
