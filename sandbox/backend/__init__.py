"""The customer's backend as docs/backend.md has it, with its quota book. It verifies everything it is told.

seals    signatures checked and tickets issued, by code of its own
book     what was sold, charged, heard and refunded: SQLite, so it outlives a restart
faults   answers that go wrong on request
app      the HTTP side
"""

from __future__ import annotations

from sandbox.backend.app import create_app

__all__ = ["create_app"]
