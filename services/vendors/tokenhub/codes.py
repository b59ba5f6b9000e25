"""Error codes of a chat endpoint, with their meaning: the one error table.

Sources: docs/reference/tokenhub.md (TokenHub: `error.code` is a string of six digits that begins with the HTTP status),
and for other endpoints of OpenAI's form the codes and types in its "Error codes" guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

__all__ = ["CODES", "CONTENT_ENDS", "STATUSES", "OnAsk", "meaning_of"]


class OnAsk(StrEnum):
    """Meaning of an error."""

    FULL = "full"
    """Over a limit of our key: come again later."""
    DOWN = "down"
    """The vendor fails as such: wait."""
    ACCOUNT = "account"
    """Our key, its rights or our funds: wait, for only an operator can help. An alarm."""
    REFUSED = "refused"
    """This question will never be answered."""
    CONTENT = "content"
    """The contents are refused."""


CODES: Final[Mapping[str, OnAsk]] = {
    "400001": OnAsk.REFUSED,
    "400002": OnAsk.REFUSED,
    "400004": OnAsk.REFUSED,
    "401002": OnAsk.ACCOUNT,
    "401007": OnAsk.ACCOUNT,
    "401008": OnAsk.ACCOUNT,
    "403001": OnAsk.ACCOUNT,
    "403002": OnAsk.ACCOUNT,
    "403004": OnAsk.ACCOUNT,
    "403005": OnAsk.ACCOUNT,
    "429001": OnAsk.FULL,
    "451001": OnAsk.CONTENT,
    "content_filter": OnAsk.CONTENT,
    "content_policy_violation": OnAsk.CONTENT,
    "content_filter_error": OnAsk.CONTENT,
    "insufficient_quota": OnAsk.ACCOUNT,
    "rate_limit_exceeded": OnAsk.FULL,
    "rate_limit_error": OnAsk.FULL,
    "authentication_error": OnAsk.ACCOUNT,
    "permission_error": OnAsk.ACCOUNT,
    "upstream_error": OnAsk.DOWN,
    "invalid_request_error": OnAsk.REFUSED,
}
"""`error.code` or `error.type` -> meaning."""

STATUSES: Final[Mapping[int, OnAsk]] = {
    **dict.fromkeys((401, 402, 403), OnAsk.ACCOUNT),
    **dict.fromkeys((408, 409, 425), OnAsk.DOWN),
    429: OnAsk.FULL,
    451: OnAsk.CONTENT,
}
"""HTTP status -> meaning, where no code decides. Another 4xx refuses the question, anything else is an outage."""

CONTENT_ENDS: Final = frozenset({"content_filter", "sensitive"})
"""Values of `finish_reason` of an answer that moderation removed."""

_STATUS_CODE: Final = re.compile(r"[1-5][0-9]{5}", re.ASCII)


def meaning_of(status: int, code: str, kind: str) -> OnAsk:
    """Return the meaning of an error: by its code, then its status, then its type.

    Args:
        status: HTTP status; 200 for an error in an answer that reports success.
        code: `error.code`; empty for none.
        kind: `error.type`; empty for none.
    """
    if code in CODES:
        return CODES[code]
    if CODES.get(kind) is OnAsk.CONTENT:
        return OnAsk.CONTENT
    if status < 400:  # noqa: PLR2004 - HTTP's own number
        # Some gateways answer 200 with the error inside, and TokenHub's codes begin with the status.
        if not _STATUS_CODE.fullmatch(code):
            return CODES.get(kind, OnAsk.DOWN)
        status = int(code[:3])
    if status in STATUSES:
        return STATUSES[status]
    return OnAsk.REFUSED if 400 <= status < 500 else OnAsk.DOWN  # noqa: PLR2004 - HTTP's own numbers
