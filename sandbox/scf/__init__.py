"""Stand-in for the function platform: runs a function's server as SCF does, freezes it and counts the cost.

It knows a function only as a command line and an environment. Where SCF's documents give no answer, a docstring states
the assumption.
"""

from __future__ import annotations

from sandbox.scf.answers import Answer, Role, Stats, Status
from sandbox.scf.function import Function
from sandbox.scf.timer import Timer

__all__ = ["Answer", "Function", "Role", "Stats", "Status", "Timer"]
