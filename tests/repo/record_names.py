"""Places where names of records are written: only `tasks/ledger` may write them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tasks.ledger.records import RECORDS
from tests.support.trees import tree_of

__all__ = ["WORDS", "names_outside"]

_PACKAGES: Final = (
    "console", "consumers", "messages", "producer", "recipes", "runtime", "services", "tasks", "telemetry", "transport",
)  # fmt: skip
_HOME: Final = "tasks/ledger/"

_WHOLE: Final = frozenset(kind.template for kind in RECORDS if "{" not in kind.template)
_HEADS: Final = tuple({kind.prefix() for kind in RECORDS if "{" in kind.template})
_TAILS: Final = frozenset(
    tail for kind in RECORDS if (tail := kind.template.rpartition("}")[2]) and "{" in kind.template
)
_HEAD: Final = re.compile(rf"(?:^|/)(?:{'|'.join(map(re.escape, _HEADS))})(?:[a-z.]*-?[0-9]|[a-z]+-$|$)")
_PART: Final = re.compile(rf"/(?:{'|'.join(sorted(_WHOLE))})$")

WORDS: Final[Mapping[str, frozenset[str]]] = {
    "services/backend.py": frozenset({"delivered"}),
    "tasks/accepting/accept.py": frozenset({"accepted"}),
    "tasks/view.py": frozenset({"delivered"}),
    "console/cli/client.py": frozenset({"accepted", "cleaned", "delivered"}),
    "console/cli/demo/report.py": frozenset({"verdict"}),
    "console/cli/demo/injections.py": frozenset({"accepted"}),
    "console/cli/dead/display.py": frozenset({"delivered", "verdict"}),
    "console/cli/erase/display.py": frozenset({"erased"}),
    "tasks/dead_letters/plan.py": frozenset({"erased"}),
    "console/cli/operate/display.py": frozenset({"accepted", "delivered"}),
    "console/cli/operate/task.py": frozenset({"accepted", "verdict"}),
    "telemetry/instruments.py": frozenset({"verdict"}),
}
"""File -> words that are no names of records there: counts of a trigger, an answer's judgement, words for a person, a
field of a stand-in."""


def names_outside(root: Path) -> list[str]:
    """Lines outside `tasks/ledger` that write the name of a record, or a part of it."""
    found: list[str] = []
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(_HOME):
                allowed = WORDS.get(name, frozenset())
                texts = _texts(tree_of(path))
                found += [f"{name}:{line}: {text!r}" for line, text in texts if text not in allowed and _is_name(text)]
    return found


def _is_name(text: str) -> bool:
    return text in _WHOLE or text in _TAILS or bool(_HEAD.search(text) or _PART.search(text))


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string of a module, with its line; each part of an f-string; docstrings are left out."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value
