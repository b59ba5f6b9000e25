"""The body of a call as an event: strict where it can be, and of a batch every record that can be read. Pure.

The bridge that delivers batches (`consumers.runners.push`) has removed their messages from the queue and never delivers
them again, so a record that no JSON library reads must not spoil the others. JSON allows more than libraries take: half
a surrogate pair, `1e400`, nesting without a bound (RFC 8259, section 9: an implementation may set limits).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from messages.text import without_bom
from runtime.errors import BadBody

__all__ = ["BATCH", "decode_event"]

BATCH: Final = "EventList"
"""Field of a batch's records (EventBridge, SCF target)."""

_KEY: Final = json.dumps(BATCH).encode()
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""Exceptions of the JSON libraries; errors of encodings are ValueErrors."""


def decode_event(body: bytes) -> dict[str, Any]:
    """Return the event in a call's body.

    In a batch, a record that cannot be read is its text as it came, a `str`, for the consumer of the batch.

    Args:
        body: of the call.

    Raises:
        runtime.errors.BadBody: the body is not a JSON object.
    """
    try:
        event = _decode(without_bom(body))
    except _UNREADABLE as error:
        records = _split(body)
        if records is None:
            raise BadBody(f"the event is no JSON: {error}") from error
        return {BATCH: [_decode_or_text(record) for record in records]}
    if not isinstance(event, dict):
        raise BadBody(f"the event is no JSON object, but a {type(event).__name__}")
    return event


def _decode(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Slower, but it reads half a surrogate pair, and 1e400 as infinity.
        return json.loads(text)


def _decode_or_text(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return _decode(text)
    except _UNREADABLE:
        return text.decode("utf-8", "backslashreplace")


def _split(body: bytes) -> list[bytes] | None:
    """Return the records of a batch as they came, by brackets and commas alone; None if the batch is not whole."""
    records: list[bytes] = []
    depth, start, last = 0, -1, b""
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if token[0] == b"[" and depth == 2 and last == _KEY and start < 0:  # noqa: PLR2004 - in the event itself
                    start = token.end()
            case b"]" | b"}":
                depth -= 1
                if start >= 0 and depth == 1:
                    records.append(body[start : token.start()].strip())
                    return [record for record in records if record]
            case b",":
                if start >= 0 and depth == 2:  # noqa: PLR2004 - between two records
                    records.append(body[start : token.start()].strip())
                    start = token.end()
            case text:
                last = text if depth == 1 else b""
    return None
