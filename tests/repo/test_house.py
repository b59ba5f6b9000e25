"""The house rules that a machine can hold: sizes, declared names, docstrings, what a file may not say."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.trees import tree_of

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_MODULE = 500
MAX_FUNCTION = 60
MEDIAN_FUNCTION = 12


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _defined(tree: ast.Module) -> set[str]:
    """Public names a module defines itself, without its log; type variables are nobody's business."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if not _is_type_variable(node.value):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")} - {"log"}


def _is_type_variable(value: ast.expr | None) -> bool:
    return (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in {"TypeVar", "ParamSpec"}
    )


def _declared(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=_name)
def test_a_module_is_short_and_so_are_its_functions(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE
    long = {node.name: _lines(node) for node in _functions(tree_of(path)) if _lines(node) > MAX_FUNCTION}
    assert not long


def test_functions_are_short_as_a_rule() -> None:
    sizes = sorted(_lines(node) for path in MODULES for node in _functions(tree_of(path)))
    assert sizes[len(sizes) // 2] <= MEDIAN_FUNCTION


@pytest.mark.parametrize("path", [p for p in MODULES if p.name not in {"__init__.py", "__main__.py"}], ids=_name)
def test_public_names_are_exactly_those_declared(path: Path) -> None:
    tree = tree_of(path)
    declared = _declared(tree)
    assert declared is not None, "the module has no __all__"
    assert sorted(declared) == sorted(set(declared))
    assert set(declared) <= _defined(tree) | _imported(tree), "__all__ names something the module does not have"
    assert _defined(tree) <= set(declared), "a public name is not in __all__: declare it, or begin it with _"


def _imported(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_no_committed_file_speaks_of_the_place_it_was_written_in() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    foreign = re.compile(rb"/work/|\.\./shared|/root/")
    guilty: list[str] = []
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path != Path(__file__) and path.is_file() and foreign.search(path.read_bytes()):
            guilty.append(name)
    assert not guilty
