"""Stand-in for Tencent VOD's pictures (AIGC), with its oddities as faults.

Source: docs/reference/vod.md. It is served by `sandbox.server.Server`, or called in-process.
"""

from __future__ import annotations

from sandbox.vod.app import create_app
from sandbox.vod.core import Core
from sandbox.vod.model import Account, Fault

__all__ = ["Account", "Core", "Fault", "create_app"]
