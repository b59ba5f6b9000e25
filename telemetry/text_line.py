"""Log lines for people: time, level, event, task, then the other fields as `name=value`.

    14:47:17.163Z INFO    message.done       97daec32fc9f459a13fdf49ce6fc4988 clean  took=1.25 outcome=next

A value with spaces or quotes is quoted as in JSON, so that no foreign text looks like another field or another line. A
traceback follows on lines of its own, each with a mark at its beginning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from telemetry.printable import json_safe, printable

__all__ = ["text_line"]

_FIRST: Final = ("task_id", "stage")
"""Fields whose value is written without its name."""
_LEFT_OUT: Final = frozenset({*_FIRST, "message_id", "span_id", "stack"})
_OF_A_TASK: Final = frozenset({"trace_id", "user_id"})
"""Fields that are left out of a line with a task's id, by which `scf-workers show` finds them."""
_COUNTS: Final = frozenset({"step", "run", "seq", "attempt"})
"""Fields that are left out where they are 0, as mostly."""
_BARE: Final = re.compile(r"[^\s\"'=\\]+")

_EVENT_COLUMNS: Final = 18
_LEVEL_COLUMNS: Final = 7
_COLOURS: Final[Mapping[str, str]] = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"


def text_line(moment: str, level: str, event: str, fields: Mapping[str, object], *, colour: bool = False) -> str:
    """Return the line of one event without its end.

    Args:
        moment: the time.
        level: DEBUG, INFO, WARNING or ERROR.
        event: name of the event.
        fields: its fields, redacted; `stack` is a traceback.
        colour: mark the level with a colour of the terminal.
    """
    mark = _COLOURS.get(level, "") if colour else ""
    head = f"{moment} {mark}{level:{_LEVEL_COLUMNS}}{_PLAIN if mark else ''} {event:{_EVENT_COLUMNS}}"
    first = [_shown(fields[name]) for name in _FIRST if name in fields]
    others = [f"{name}={_shown(value)}" for name, value in _others(fields).items()]
    line = " ".join([head, *first, *others]).rstrip()
    stack = printable(str(fields.get("stack", "")))
    return "\n".join([line, *(f"    | {part}" for part in stack.splitlines())])


def _others(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that have their name in the line. Empty ones say nothing to a person."""
    left_out = _LEFT_OUT | _OF_A_TASK if "task_id" in fields else _LEFT_OUT
    kept = {name: value for name, value in fields.items() if name not in left_out and value != ""}
    return {name: value for name, value in kept.items() if value != 0 or name not in _COUNTS}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and not _BARE.fullmatch(text):
        text = json.dumps(text, ensure_ascii=False)
    return printable(json_safe(text).encode("utf-8", "backslashreplace").decode())
