"""The exception trees: each docstring draws the tree of its classes."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType

import pytest

from messages.codes import Code
from messages.errors import (
    InvalidKey,
    InvalidMessage,
    MessageTooLarge,
    Outage,
    Permanent,
    Rejected,
    RetryClass,
    ScfWorkersError,
    Transient,
    Unknown,
)

MODULES = ("messages.errors", "transport.errors", "services.errors", "runtime.errors")
LINE = re.compile(r"^(?P<indent>\s*(?:│\s+)*)(?P<branch>[├└]── )?(?P<name>[A-Z]\w+)(?:\s{2,}\S.*)?$")


def drawn(module: ModuleType) -> dict[str, str]:
    """Class -> base, as the module's docstring draws them; a root has the base ''."""
    assert module.__doc__
    tree: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in module.__doc__.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        column = len(found["indent"]) + (4 if found["branch"] else 0)
        path = [(at, name) for at, name in path if at < column]
        if not found["branch"]:
            path = []
        tree[found["name"]] = path[-1][1] if path else ""
        path.append((column, found["name"]))
    return tree


def classes(module: ModuleType) -> dict[str, type[ScfWorkersError]]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, ScfWorkersError) and value.__module__ == module.__name__
    }


def test_the_reader_of_trees_sees_a_tree() -> None:
    assert drawn(importlib.import_module("messages.errors")) == {
        "ScfWorkersError": "",
        "Transient": "ScfWorkersError",
        "Outage": "ScfWorkersError",
        "Permanent": "ScfWorkersError",
        "InvalidMessage": "Permanent",
        "BadSignature": "InvalidMessage",
        "NewerMessage": "InvalidMessage",
        "MessageTooLarge": "Permanent",
        "NotSigned": "Permanent",
        "Unknown": "ScfWorkersError",
        "Rejected": "ScfWorkersError",
        "InvalidKey": "Rejected",
    }


@pytest.mark.parametrize("name", MODULES)
def test_the_tree_drawn_is_the_tree_there_is(name: str) -> None:
    module = importlib.import_module(name)
    tree, real = drawn(module), classes(module)
    # A root that is drawn and not defined here comes from the package's parent tree.
    foreign = {word for word in tree if not tree[word] and word not in real}
    assert all(issubclass(getattr(module, word), ScfWorkersError) for word in foreign)
    assert set(tree) - foreign == set(real)
    for word, value in real.items():
        expected = tree[word] or "Exception"
        assert value.__base__ is not None
        assert value.__base__.__name__ == expected
        assert set(real) <= set(module.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_error_has_a_code_and_a_class_of_retry(name: str) -> None:
    for value in classes(importlib.import_module(name)).values():
        error = value("anything")
        assert isinstance(error.code, Code)
        assert error.retry in RetryClass
        assert str(value()) == value.__name__


def test_what_the_engine_does_about_each_class() -> None:
    expected = {
        Transient: RetryClass.TRANSIENT,
        Outage: RetryClass.OUTAGE,
        Permanent: RetryClass.PERMANENT,
        InvalidMessage: RetryClass.PERMANENT,
        MessageTooLarge: RetryClass.PERMANENT,
        Unknown: RetryClass.UNKNOWN,
        Rejected: RetryClass.REJECTED,
        InvalidKey: RetryClass.REJECTED,
    }
    assert {kind: kind("x").retry for kind in expected} == expected


def test_a_code_given_wins_over_the_class() -> None:
    error = Rejected("x", code=Code.EMPTY_FILE, retry_after=3.0)
    assert (error.code, error.retry_after) == (Code.EMPTY_FILE, 3.0)
    assert Rejected("x").code is Code.INTERNAL
