"""Longest wait of tests for an expected effect."""

from __future__ import annotations

from typing import Final

__all__ = ["PATIENCE_S"]

PATIENCE_S: Final = 120.0
"""Seconds: long enough for a machine with ten times the work that it can do; a later effect never comes."""
