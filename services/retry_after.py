"""Retry-After: the wait that an answer asks for (RFC 9110, section 10.2.3). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["MAX_WAIT_S", "http_time", "wait_of"]

MAX_WAIT_S: Final = 3600.0
"""Longest wait in seconds: a server may send any value, and it becomes the delay of a message."""


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks us to wait, from 0 to `MAX_WAIT_S`; None without a request.

    Args:
        headers: of the answer, found in any case. A date is measured against the answer's own `Date`, so that no clock
            but the server's counts; without that a date is ignored.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_WAIT_S)
    then, now = http_time(value), http_time(headers.get("Date", ""))
    if then is None or now is None:
        return None
    return min(max(0.0, then - now), MAX_WAIT_S)


def http_time(text: str) -> float | None:
    """Return the seconds since the epoch of an HTTP date (RFC 9110, section 5.6.7); None for other text."""
    try:
        date = parsedate_to_datetime(text)
        # HTTP's dates are all in UTC, whatever else is written there.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
