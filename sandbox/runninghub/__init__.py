"""Stand-in for RunningHub: both versions of its interface over one core, with its oddities as faults.

Source: docs/reference/vendors.md. It is served by `sandbox.server.Server`, or called in-process.
"""

from __future__ import annotations

from sandbox.runninghub.app import create_app
from sandbox.runninghub.core import Core
from sandbox.runninghub.model import DEMO_WORKFLOW_ID, DEMO_WORKFLOWS, Fault, KeyLimits, Shape

__all__ = ["DEMO_WORKFLOWS", "DEMO_WORKFLOW_ID", "Core", "Fault", "KeyLimits", "Shape", "create_app"]
