"""The catalogues of telemetry against the code that uses them and the page that shows them, both ways."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.events import Event
from telemetry.fields import FIELDS
from telemetry.instruments import Metric, SpanName
from tests.support.trees import tree_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]
VERBS = {"count": "counter", "observe": "histogram", "level": "gauge"}
LEVELS = {"debug", "info", "warning", "error"}
CATALOGUES = {"events.py", "fields.py", "instruments.py"}


@functools.cache
def _trees() -> dict[str, ast.Module]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name not in CATALOGUES]
    return {str(path.relative_to(ROOT)): tree_of(path) for path in paths}


def _nodes() -> Iterator[tuple[str, ast.AST]]:
    for path, tree in _trees().items():
        for node in ast.walk(tree):
            yield path, node


def _members(name: str) -> set[str]:
    """Members of an enumeration that are used anywhere."""
    found = {node.attr for _, node in _nodes() if isinstance(node, ast.Attribute) and _ends_with(node.value, name)}
    return {member for member in found if member.isupper()}


def _ends_with(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _calls(owner: str, verbs: set[str]) -> Iterator[tuple[str, ast.Call]]:
    for path, node in _nodes():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == owner
            and node.func.attr in verbs
        ):
            yield path, node


@pytest.mark.parametrize("catalogue", [Event, Metric, SpanName])
def test_every_name_of_a_catalogue_is_used_and_no_other(catalogue: type[Event | Metric | SpanName]) -> None:
    assert _members(catalogue.__name__) == {member.name for member in catalogue}


def test_every_measurement_has_the_kind_and_the_labels_of_its_metric() -> None:
    seen = 0
    for path, call in _calls("metrics", set(VERBS)):
        metric = call.args[0]
        if not isinstance(metric, ast.Attribute):
            continue
        seen += 1
        declared = Metric[metric.attr]
        assert isinstance(call.func, ast.Attribute)
        assert VERBS[call.func.attr] == declared.kind, path
        assert {keyword.arg for keyword in call.keywords} == set(declared.labels), f"{path}: {declared}"
    assert seen >= len(Metric)


def _field_words() -> set[str]:
    said = [*_calls("log", LEVELS), *_calls("logs", {"context"})]
    return {keyword.arg for _, call in said for keyword in call.keywords if keyword.arg}


def test_every_field_of_a_line_or_a_span_is_in_the_catalogue() -> None:
    assert _field_words() - set(FIELDS) == set()
    assert {name for member in SpanName for name in member.attributes} - set(FIELDS) == set()


def test_every_field_of_the_catalogue_is_used() -> None:
    texts = {node.value for _, node in _nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    # The fields of sweep.done are those of the struct that it logs.
    targets = [node.target for _, node in _nodes() if isinstance(node, ast.AnnAssign)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    keywords = {keyword.arg for _, node in _nodes() if isinstance(node, ast.Call) for keyword in node.keywords}
    assert set(FIELDS) - texts - names - keywords == set()


# ---- the page ------------------------------------------------------------------------------------------------------


def _code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [f"## {heading}", *lines, *(f"| {' | '.join(row)} |" for row in rows)]


TABLES = [
    _table(
        "Spans",
        ("span", "kind", "attributes", "meaning"),
        [
            (
                f"`{span.value} <{span.which}>`" if span.which else f"`{span.value}`",
                span.kind,
                _code(*span.attributes),
                span.meaning,
            )
            for span in SpanName
        ],
    ),
    _table(
        "Metrics",
        ("metric", "kind", "unit", "labels", "meaning"),
        [(f"`{each.value}`", each.kind, f"`{each.unit}`", _code(*each.labels), each.meaning) for each in Metric],
    ),
    _table("Events", ("event", "meaning"), [(f"`{event.value}`", event.meaning) for event in Event]),
    _table("Fields", ("field", "meaning"), [(f"`{name}`", meaning) for name, meaning in FIELDS.items()]),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table[0])
def test_the_page_has_exactly_the_catalogue(table: list[str]) -> None:
    section = re.search(rf"^{table[0]}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, table[0]
    shown = [line for line in section[1].splitlines() if line.startswith("|")]
    assert shown == table[1:], "\n".join(["the page should have:", *table[1:]])


def _rewrite() -> None:
    """Bring the page's tables up to date: `python -m tests.telemetry.test_catalogue`."""
    page = PAGE
    for heading, *rows in TABLES:
        section = re.compile(rf"(^{heading}\n\n[^|]*)(?:\|.*\n)+", re.MULTILINE)
        page = section.sub(lambda found, rows=rows: found[1] + "\n".join(rows) + "\n", page)
    (ROOT / "docs/telemetry.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    _rewrite()
