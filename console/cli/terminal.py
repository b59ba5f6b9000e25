"""Terminal output of all commands: foreign text is escaped, and a broken stream stops no worker."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import NoReturn

from telemetry.printable import json_safe, printable
from telemetry.redaction import redact_text

__all__ = ["fail", "say", "say_json", "warn"]


def say(text: str) -> None:
    """Print a line on standard output.

    Raises:
        OSError: the line cannot be written; a command must not lose its answer silently.
    """
    print(printable(text), flush=True)


def say_json(document: object) -> None:
    """Print a JSON document on one line of standard output.

    Raises:
        OSError: it cannot be written.
    """
    # A lone surrogate cannot be encoded as UTF-8; it becomes its JSON escape.
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    print(json_safe(text), flush=True)


def warn(text: str) -> None:
    """Print a line on standard error, and ignore errors: a full disk must stop no worker."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def fail(text: str, status: int) -> NoReturn:
    """Print a redacted line on standard error, and leave with an exit status.

    Raises:
        SystemExit: always.
    """
    warn(redact_text(f"scf-workers: {text}"))
    raise SystemExit(status)
