"""Words: docstrings that open as riddles, and identifiers that this project has standard terms for."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from tests.support.trees import tree_of

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

_RIDDLE = re.compile(r"(What|Whether|Where|Who|Whoever|Whatever|Nobody|As|One|How)\b")
_PRONOUN = re.compile(r"\b(nobody|whoever)\b", re.IGNORECASE)
_BANNED = frozenset(
    {
        "bury",
        "buried",
        "crew",
        "desk",
        "fate",
        "greeting",
        "house",
        "keeper",
        "lane",
        "outlet",
        "seals",
        "shop",
        "solo",
        "told",
        "town",
        "world",
        "yard",
        "Crew",
        "Desk",
        "Fate",
        "House",
        "Keeper",
        "Lane",
        "Order",
        "Outlet",
        "Outlets",
        "Seals",
        "Shop",
        "Told",
        "Town",
        "Watched",
        "World",
        "Yard",
    }
)
"""docs/glossary.md and the class names have the standard terms instead."""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _docstrings(tree: ast.AST) -> list[tuple[int, str]]:
    """Return every text that stands alone as a statement, with its line: docstrings, also of fields."""
    return [
        (node.lineno, node.value.value.strip())
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def test_no_docstring_opens_as_a_riddle() -> None:
    found = [
        f"{_name(path)}:{line}: {text[:60]}"
        for path in MODULES
        for line, text in _docstrings(tree_of(path))
        if _RIDDLE.match(text)
    ]
    assert not found, "begin with an imperative or a noun phrase"


def test_sentences_name_their_subject() -> None:
    assert not [_name(path) for path in MODULES if _PRONOUN.search(path.read_text(encoding="utf-8"))]


def _names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                names.add(name.strip("_"))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name.strip("_"))
    return names


def test_identifiers_are_standard_terms() -> None:
    found = {_name(path): names for path in [*MODULES, *TESTS] if (names := _names(tree_of(path)) & _BANNED)}
    assert not found


def test_the_checks_bite() -> None:
    assert _RIDDLE.match("Whether it rains.")
    assert not _RIDDLE.match("Return True if it rains.")
    assert _PRONOUN.search("nobody knows")
    assert _names(ast.parse("def f(world): self.told = world")) & _BANNED == {"told", "world"}
