"""Embedded broker: a SQLite file shared by processes of one machine, or `:memory:` for a single broker object.

- `options`: the URL.
- `store`: the file, its schema and all SQL statements.
- `peers`: the folder beside the file; detects dead processes and wakes the others.
- `delivery`: the task that uses both; it groups the requests of many tasks into one transaction.
- `clocks`: due times that survive a change of the wall clock and a reboot.
- `broker`: implements the port.
"""

from __future__ import annotations

from transport.sqlite.broker import SqliteBroker
from transport.sqlite.options import SqliteOptions

__all__ = ["Options", "SqliteBroker", "SqliteOptions"]

Options = SqliteOptions
"""Name under which `transport` looks up the options of an adapter."""
