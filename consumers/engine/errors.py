"""Errors of the engine.

Outage
└── StageTimeout      a stage passed its time limit
Permanent
├── AttemptsSpent     a message comes with all its attempts behind it
└── ProcessCrashed    a message ended its process too often
"""

from __future__ import annotations

from messages.errors import Outage, Permanent

__all__ = ["AttemptsSpent", "ProcessCrashed", "StageTimeout"]


class StageTimeout(Outage):
    """A stage passed its time limit: it only ever waits for what lies outside, so the task is not at fault."""


class AttemptsSpent(Permanent):
    """A message comes with all its attempts behind it."""


class ProcessCrashed(Permanent):
    """A message ended its process too often."""
