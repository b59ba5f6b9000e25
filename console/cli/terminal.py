"""The way of every command to the terminal: foreign text is escaped, and a stream that takes nothing stops no work."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

from telemetry.printable import json_safe, printable

__all__ = ["say", "say_json", "warn"]


def say(text: str) -> None:
    """Print a line on standard output.

    Raises:
        OSError: it takes no more: the answer of a command must not be lost in silence.
    """
    print(printable(text), flush=True)


def say_json(document: object) -> None:
    """Print a JSON document on one line of standard output.

    Raises:
        OSError: it takes no more.
    """
    # A lone surrogate, which no UTF-8 stream takes, becomes its JSON escape.
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    print(json_safe(text), flush=True)


def warn(text: str) -> None:
    """Print a line on standard error, if that takes one: a full disk behind it must stop no worker."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)
