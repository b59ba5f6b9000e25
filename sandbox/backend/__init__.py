"""Stand-in for the customer's backend (docs/backend.md), with its quota account. It verifies every call.

signatures     checks signatures and issues tickets, with code of its own
quota_account  tasks sold, charges, callbacks and refunds: SQLite, so it survives a restart
faults         faults that tests arm
app            the HTTP interface
"""

from __future__ import annotations

from sandbox.backend.app import create_app

__all__ = ["create_app"]
