"""Descriptions of fields in JSON schemas, taken from the docstrings below the fields of their structs."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import msgspec

__all__ = ["describe_fields"]


def describe_fields(schemas: Mapping[str, Mapping[str, Any]], structs: Iterable[type]) -> dict[str, Any]:
    """Return the schemas with a description of each property whose field has a docstring.

    Args:
        schemas: JSON schemas by the name of their struct.
        structs: structs from whose fields every schema is reached.
    """
    reached = {found.__name__: found for kind in structs for found in _structs(kind)}
    return {
        name: _described(schema, _descriptions(reached[name])) if name in reached else dict(schema)
        for name, schema in schemas.items()
    }


def _structs(hint: object) -> Iterator[type[msgspec.Struct]]:
    """Return the structs in a type hint and in the fields of these."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
        for inner in get_type_hints(hint).values():
            yield from _structs(inner)
    for inner in get_args(hint):
        yield from _structs(inner)


def _descriptions(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the docstring of each field, own or inherited, by its name in JSON."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            texts |= _texts(base.__module__).get(base.__name__, {})
    names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    return {names[name]: text for name, text in texts.items() if name in names}


@cache
def _texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings below the fields of a module's classes: class -> field -> text."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _field_texts(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}


def _field_texts(body: Sequence[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, after in pairwise(body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
            case _:
                pass
    return found


def _described(schema: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    properties = {
        name: {**inner, "description": texts[name]} if name in texts else inner
        for name, inner in schema.get("properties", {}).items()
    }
    return {**schema, **({"properties": properties} if properties else {})}
