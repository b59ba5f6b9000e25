"""Handlers by name: the module of a function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from runtime.errors import NoHandler
from telemetry.redaction import redact_text

__all__ = ["Handler", "find_handler"]

Handler = Callable[[Any, Mapping[str, Any]], Any]
"""`main_handler(event, context)`."""


def find_handler(name: str) -> Handler:
    """Return the `main_handler` of a module.

    Args:
        name: the module, such as `consumers.runners.drain`.

    Raises:
        runtime.errors.NoHandler: there is no such module, it cannot be imported, or it has none; the text says which.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise NoHandler(f"{name} is no module with a main_handler: modules have names such as producer.cos_trigger")
    try:
        handler: Handler = importlib.import_module(name).main_handler
    except (ImportError, AttributeError) as error:
        raise NoHandler(f"{name} is no module with a main_handler: {redact_text(str(error))}") from error
    return handler
