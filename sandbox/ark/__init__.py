"""Stand-in for Volcengine Ark's pictures, with its oddities as faults.

Source: docs/reference/ark.md. It is served by `sandbox.server.Server`, or called in-process.
"""

from __future__ import annotations

from sandbox.ark.app import create_app
from sandbox.ark.core import Core
from sandbox.ark.model import MODELS, Fault, KeyLimits, Model

__all__ = ["MODELS", "Core", "Fault", "KeyLimits", "Model", "create_app"]
