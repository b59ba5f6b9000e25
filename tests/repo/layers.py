"""The layers of import-linter's contracts, and two rules that it cannot check: names in strings, full folders."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.trees import tree_of

__all__ = ["MAX_MODULES", "crowded", "forbidden", "upward_names"]

MAX_MODULES = 15

LARGER: dict[str, str] = {}
"""Folder -> why it may hold more than `MAX_MODULES` modules."""


def forbidden(root: Path) -> dict[str, set[str]]:
    """Package -> packages that it must not name, as the contracts in `pyproject.toml` say."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    packages = set(contracts["root_packages"])
    found: dict[str, set[str]] = {package: set() for package in packages}
    for contract in contracts["contracts"]:
        if contract["type"] == "layers":
            layers = [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]
            # The folders of one package have layers of their own.
            if set().union(*layers) <= packages:
                _add_layers(found, layers)
        else:
            for source in contract["source_modules"]:
                found[source] |= packages & set(contract["forbidden_modules"])
    return found


def _add_layers(found: dict[str, set[str]], layers: list[set[str]]) -> None:
    above: set[str] = set()
    for layer in layers:
        for package in layer:
            found[package] |= above | (layer - {package})
        above |= layer


def upward_names(root: Path) -> list[str]:
    """Strings that name a module, or a package after `-m`, which the string's own package must not know."""
    return [
        f"{path.relative_to(root)}:{line} names {name}"
        for package, others in forbidden(root).items()
        for path in sorted((root / package).rglob("*.py"))
        for line, name in _named(tree_of(path), root)
        if name.partition(".")[0] in others
    ]


def _named(tree: ast.Module, root: Path) -> Iterator[tuple[int, str]]:
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Call):
            yield from _run_as_module(node.args if isinstance(node, ast.Call) else node.elts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            # A sentence that mentions a module imports and runs nothing.
            if re.fullmatch(r"[a-z_]+\.[\w.]*", node.value) and _exists(root, node.value):
                yield node.lineno, node.value.rstrip(".")
            for word in re.findall(r"(?:^|\s)-m\s+(\w[\w.]*)", node.value):
                yield node.lineno, word


def _run_as_module(words: list[ast.expr]) -> Iterator[tuple[int, str]]:
    values: list[Any] = [word.value if isinstance(word, ast.Constant) else None for word in words]
    for flag, name, word in zip(values, values[1:], words[1:], strict=False):
        if flag == "-m" and isinstance(name, str):
            yield word.lineno, name


def _exists(root: Path, word: str) -> bool:
    """True if the first two parts of a dotted word are a module; a dot at its end begins one in an f-string."""
    package, _, rest = word.partition(".")
    if not (root / package).is_dir():
        return False
    first = rest.partition(".")[0]
    return not first or (root / package / first).is_dir() or (root / package / f"{first}.py").is_file()


def crowded(root: Path) -> list[str]:
    """Folders of the product and the sandbox with too many modules side by side."""
    folders = {path.parent for package in forbidden(root) for path in (root / package).rglob("*.py")}
    sizes = {folder: len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) for folder in folders}
    names = {str(folder.relative_to(root)): size for folder, size in sizes.items() if size > MAX_MODULES}
    return sorted(f"{name}: {size} modules" for name, size in names.items() if name not in LARGER)
