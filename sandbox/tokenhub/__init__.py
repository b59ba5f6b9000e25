"""Stand-in for TokenHub's chat completions, with its oddities as faults.

Source: docs/reference/tokenhub.md. It is served by `sandbox.server.Server`, or called in-process.
"""

from __future__ import annotations

from sandbox.tokenhub.app import create_app
from sandbox.tokenhub.model import Core, Fault

__all__ = ["Core", "Fault", "create_app"]
