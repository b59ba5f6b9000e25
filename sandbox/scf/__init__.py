"""The function platform: runs a function's server as SCF would, freezes it between calls, and counts what it costs.

It knows a function as a command line and an environment, and nothing of what is in it. Where SCF's documents are
silent, a docstring says what is done here.
"""

from __future__ import annotations

from sandbox.scf.answers import Answer, Role, Stats, Status
from sandbox.scf.function import Function
from sandbox.scf.timer import Timer

__all__ = ["Answer", "Function", "Role", "Stats", "Status", "Timer"]
