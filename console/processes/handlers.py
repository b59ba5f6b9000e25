"""Commands that run the product's functions, for the sandbox."""

from __future__ import annotations

import sys
from typing import Final

from sandbox.environment import Handlers

__all__ = ["HANDLERS"]

_CALL: Final = (sys.executable, "-m", "console", "invoke", "--event", "-")

HANDLERS: Final = Handlers(
    cos_trigger=(*_CALL, "producer.cos_trigger"),
    webhook=(*_CALL, "producer.webhook"),
)
"""Each command runs in a process of its own, as on the platform."""
