"""Errors of the engine.

Transient
└── StageTimeout      a stage passed its time limit
Permanent
├── AttemptsSpent     a message comes with all its attempts behind it
└── ProcessCrashed    a message ended its process too often
"""

from __future__ import annotations

from messages.codes import Code
from messages.errors import Permanent, Transient

__all__ = ["AttemptsSpent", "ProcessCrashed", "StageTimeout"]


class StageTimeout(Transient):
    """A stage passed its time limit."""

    default_code = Code.BUSY


class AttemptsSpent(Permanent):
    """A message comes with all its attempts behind it."""


class ProcessCrashed(Permanent):
    """A message ended its process too often."""
