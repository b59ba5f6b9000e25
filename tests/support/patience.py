"""How long tests wait for what must come."""

from __future__ import annotations

from typing import Final

__all__ = ["PATIENCE_S"]

PATIENCE_S: Final = 120.0
"""Seconds: a machine with ten times the work that it can do is slow; what has not come by then never comes."""
