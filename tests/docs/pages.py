"""Commands and outputs on the pages of the documentation."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
)
"""In the order in which a reader meets them."""

WALKS: Final = (
    "docs/how-to/add-a-recipe.md",
    "docs/how-to/add-a-vendor.md",
    "docs/how-to/operate.md",
    "docs/how-to/replay-dead-letters.md",
    "docs/how-to/try-failures.md",
    "docs/how-to/use-the-api.md",
)
"""Pages whose commands are done one after another, each page by a test of its own."""

_FENCE: Final = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND: Final = re.compile(r"(?:scf-workers|make|pytest|python3?|pip|uv|git|docker|curl)\s+\S|\.venv/bin/\S")
"""Beginning of inline code that is a command and not the name of one."""


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


@functools.cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(text_of(page))]


def inline_of(page: str) -> list[str]:
    """Inline code, line ends inside it as spaces."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", _FENCE.sub("", text_of(page)))]


def commands_of(page: str) -> list[str]:
    """Every command of a page, each once: those of console blocks in their order, then those in its sentences."""
    shown = [
        line.removeprefix("$ ")
        for block in blocks_of(page)
        if block.language == "console"
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    return list(dict.fromkeys([*shown, *(code for code in inline_of(page) if _COMMAND.match(code))]))
