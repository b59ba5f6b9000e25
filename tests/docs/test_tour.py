"""The tour: at most twelve stops, each a file and a function that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT, text_of

TEXT = text_of("docs/tour.md")
STOPS = re.findall(r"^\d+\. `([\w/]+\.py)`, `([\w.]+)`", TEXT, re.MULTILINE)
NAMED = re.findall(r"`([\w/]+\.py)`,\s+`([\w.]+)`", TEXT)
FILES = re.findall(r"`([\w/]+\.py)`", TEXT)


def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}" for one in inner}
    return found


def test_the_tour_has_at_most_twelve_stops() -> None:
    numbers = re.findall(r"^(\d+)\. ", TEXT, re.MULTILINE)
    assert 8 <= len(STOPS) == len(numbers) <= 12


@pytest.mark.parametrize(("path", "function"), NAMED, ids=[f"{path}:{function}" for path, function in NAMED])
def test_each_stop_is_a_function_that_exists(path: str, function: str) -> None:
    assert function in _functions(path)


def test_each_file_of_the_tour_exists() -> None:
    assert [path for path in FILES if not (ROOT / path).is_file()] == []
