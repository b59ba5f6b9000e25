"""Syntax trees of modules, each parsed once in a process: several tests read the whole product."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

__all__ = ["tree_of"]


def tree_of(path: Path) -> ast.Module:
    """Return the tree of a module; a copy elsewhere with the same text has the same one."""
    return _parsed(path.read_text(encoding="utf-8"))


@functools.cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
