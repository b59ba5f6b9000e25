"""The code rules that a machine can check: sizes, declared names, docstrings, forbidden texts."""

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
    """Public names that a module defines itself, without its log and its type variables."""
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


def test_modules_and_functions_are_short() -> None:
    long = []
    for path in [*MODULES, *TESTS]:
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        long += [f"{_name(path)}: {lines} lines"] if lines > MAX_MODULE else []
        functions = [(node.name, _lines(node)) for node in _functions(ast.parse(text))]
        long += [f"{_name(path)}: {name} has {size} lines" for name, size in functions if size > MAX_FUNCTION]
    assert long == []


def test_functions_are_short_as_a_rule() -> None:
    sizes = sorted(_lines(node) for path in MODULES for node in _functions(tree_of(path)))
    assert sizes[len(sizes) // 2] <= MEDIAN_FUNCTION


def test_public_names_are_exactly_those_declared() -> None:
    wrong = {
        _name(path): why
        for path in MODULES
        if path.name not in {"__init__.py", "__main__.py"} and (why := _misdeclared(tree_of(path)))
    }
    assert wrong == {}


def _misdeclared(tree: ast.Module) -> str:
    """Return what is wrong with the `__all__` of a module; empty if nothing is."""
    declared = _declared(tree)
    if declared is None:
        return "it has no __all__"
    if len(declared) != len(set(declared)):
        return "a name stands twice in __all__"
    if missing := set(declared) - _defined(tree) - _imported(tree):
        return f"__all__ names {sorted(missing)}, which the module does not have"
    if hidden := _defined(tree) - set(declared):
        return f"public names that are not in __all__: declare {sorted(hidden)}, or begin them with _"
    return ""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("def a(): ...", "no __all__"),
        ("__all__ = ['a', 'a']\ndef a(): ...", "twice"),
        ("__all__ = ['a', 'b']\ndef a(): ...", "does not have"),
        ("__all__ = ['a']\ndef a(): ...\ndef b(): ...", "not in __all__"),
    ],
)
def test_each_wrong_declaration_is_found(text: str, wrong: str) -> None:
    assert wrong in _misdeclared(ast.parse(text))


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
