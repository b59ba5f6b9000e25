"""Errors of the engine.

Outage
└── StageTimeout      a stage passed its time limit
Permanent
├── AttemptsSpent     all attempts of a message are spent
└── ProcessCrashed    a message ended its process too often
"""

from __future__ import annotations

from messages.errors import Outage, Permanent

__all__ = ["AttemptsSpent", "ProcessCrashed", "StageTimeout"]


class StageTimeout(Outage):
    """A stage passed its time limit: it waits only for outside services, so it is not the task's error."""


class AttemptsSpent(Permanent):
    """All attempts of a message are spent."""


class ProcessCrashed(Permanent):
    """A message ended its process too often."""
