"""The embedded broker: one SQLite file for several processes on one machine, or `:memory:` for one object.

- `options` is what it is opened with.
- `store` is the file: schema and statements, nothing else touches SQL.
- `peers` is the folder beside the file: who else is alive, and how to wake them.
- `delivery` is the one task that talks to both: it groups what many tasks ask for into one transaction.
- `broker` is the port's face.
"""

from __future__ import annotations

from transport.sqlite.broker import SqliteBroker
from transport.sqlite.options import SqliteOptions

__all__ = ["Options", "SqliteBroker", "SqliteOptions"]

Options = SqliteOptions
"""As `transport` finds it."""
