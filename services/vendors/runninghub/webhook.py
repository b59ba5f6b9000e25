"""The body of RunningHub's webhook calls (docs/reference/vendors.md). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["parse_webhook"]

_JOB_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_MAX_NUMBER: Final = 10**64


def parse_webhook(body: Mapping[str, Any]) -> str | None:
    """Return the job id of a TASK_END event, which is a text or a whole number; None where there is no such id."""
    found = body.get("taskId")
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found < _MAX_NUMBER:
        found = str(found)
    return found if isinstance(found, str) and _JOB_ID.fullmatch(found) else None
