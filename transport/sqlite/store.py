"""Broker file: schema, statements and transactions. All functions block and run in the broker's only thread.

A queue is a pair (topic, subscription). A message is one row per queue. The ack deletes the row, so the file holds only
unacked messages. A topic without a subscription has a queue with an empty subscription name, which the first
subscription takes over.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from transport.errors import BadBrokerUrl
from transport.port import Backlog
from transport.sqlite.clocks import Moment

__all__ = ["MEMORY", "NO_HOLDER", "Lease", "Store"]

MEMORY: Final = ":memory:"
NO_HOLDER: Final = 0
"""Value of `holder` for a message without a holder."""

_APPLICATION: Final = 0x53434657
_VERSION: Final = 3
_OLDEST_SQLITE: Final = (3, 35, 0)
"""First version with RETURNING (sqlite.org/lang_returning.html, section 1)."""
_WAL_BYTES: Final = 4 << 20
"""Size limit of the write-ahead log after a checkpoint; equals the 1000 pages at which SQLite checkpoints."""
_SPARE_PAGES: Final = 1024
"""Free pages kept for reuse; surplus pages are returned to the file system, this many at a time."""

_SCHEMA: Final = """
CREATE TABLE broker (identity TEXT NOT NULL, boot TEXT NOT NULL);
CREATE TABLE queues (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, subscription TEXT NOT NULL, UNIQUE (topic, subscription)
);
CREATE TABLE holders (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, expires REAL NOT NULL);
CREATE TABLE messages (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  origin INTEGER,
  queue INTEGER NOT NULL,
  holder INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL,
  wall REAL NOT NULL,
  lost INTEGER NOT NULL DEFAULT 0,
  payload BLOB NOT NULL
);
CREATE INDEX waiting ON messages (queue, holder, due);
"""
# Rows and holders are AUTOINCREMENT so that numbers are never reused: a late ack must not delete another message.
# `due`: seconds since the boot named in `broker`; `wall`: the same moment in wall time, needed after a reboot.
# `lost`: 0 if no holder lost the message, 1 if every holder that lost it is known to be dead, 2 if one may be alive.
# `origin`: row of the message's first copy, NULL in that copy. Ids contain it, so all subscriptions see the same id.

_CLAIM: Final = """
UPDATE messages SET holder = ? WHERE row IN (
  SELECT row FROM messages WHERE queue = ? AND holder = 0 AND due <= ? ORDER BY due LIMIT ?
) RETURNING row, coalesce(origin, row), payload, lost
"""
_FIRST_DUES: Final = """
SELECT queue, due FROM (
  SELECT key, value AS queue,
         (SELECT due FROM messages WHERE queue = value AND holder = 0 ORDER BY due LIMIT 1) AS due
  FROM json_each(?)
) WHERE due IS NOT NULL ORDER BY key
"""
# One statement for all queues takes a third of the time of one for each.
_COPY: Final = """
INSERT INTO messages (origin, queue, due, wall, payload)
SELECT coalesce(origin, row), ?, due, wall, payload FROM messages
WHERE queue IN (SELECT id FROM queues WHERE topic = ?) GROUP BY coalesce(origin, row)
"""
_REMOVE_DEAD: Final = """
UPDATE messages SET holder = 0, lost = max(lost, 1) WHERE queue IN (SELECT id FROM queues)
AND holder IN (SELECT id FROM holders WHERE name = ?)
"""
_RECLAIM: Final = """
UPDATE messages SET holder = 0, lost = 2 WHERE queue IN (SELECT id FROM queues) AND holder > 0
AND holder NOT IN (SELECT id FROM holders WHERE expires >= ?)
"""
_BACKLOG: Final = """
SELECT count(*) FILTER (WHERE holder = 0 AND due <= :now),
       count(*) FILTER (WHERE holder = 0 AND due > :now),
       count(*) FILTER (WHERE holder > 0),
       min(due) FILTER (WHERE holder = 0 AND due <= :now)
FROM messages WHERE queue IN (SELECT id FROM queues WHERE topic = :topic AND subscription IN (:subscription, ''))
"""


class Lease(NamedTuple):
    """A message claimed by this broker."""

    row: int
    message_id: str
    queue: int
    payload: bytes
    holder_died: bool
    """See `transport.port.Delivery`."""


class Store:
    """An open broker file. Use `Store.open`."""

    def __init__(self, db: sqlite3.Connection, identity: str) -> None:
        self._db = db
        self._identity = identity
        self._queues: dict[str, list[int]] = {}
        self.made_deliverable = False
        """True if the last transaction made a message deliverable, or may have."""

    @classmethod
    def open(cls, path: str, *, now: Moment, busy_timeout: float) -> Self:
        """Open a broker file; creates it and its folder if missing.

        Args:
            path: absolute path, or `:memory:`.
            now: current time. Its wall time becomes the identity of a new file, so that ids of different files differ;
                in a file of an earlier boot, due times are recomputed from it.
            busy_timeout: seconds to wait for other processes.

        Raises:
            transport.errors.BadBrokerUrl: the path is not usable, or holds another file or schema.
            sqlite3.Error: the disk failed, or another process keeps the file locked.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise BadBrokerUrl(
                f"SQLite {sqlite3.sqlite_version} is too old for the sqlite broker: 3.35 or newer is needed"
            )
        if path != MEMORY:
            _create(Path(path))
        deadline = time.monotonic() + busy_timeout
        while True:
            try:
                return cls._open(path, now, busy_timeout)
            except sqlite3.OperationalError as error:
                # Switching a new file to WAL fails at once if another process is doing the same.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    @classmethod
    def _open(cls, path: str, now: Moment, busy_timeout: float) -> Self:
        db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
        try:
            ours = _is_ours(db, path)
            if path != MEMORY:
                _tune(db, path)
            if not ours:
                _make_tables(db, path, now)
            _enter_boot(db, now)
            ((identity,),) = db.execute("SELECT identity FROM broker").fetchall()
            return cls(db, str(identity))
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """Close the file; the last process to close it also removes the write-ahead log."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Run a write transaction; it sets `made_deliverable`."""
        self.made_deliverable = False
        self._queues.clear()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def publish(self, topic: str, payload: bytes, due: float, wall: float) -> str:
        """Store a message for every subscription of the topic and return its id.

        Args:
            topic: name of the topic.
            payload: bytes of the message.
            due: earliest delivery, in seconds since boot.
            wall: the same moment in wall time.
        """
        origin: int | None = None
        for queue in self._queues_of(topic):
            sql = "INSERT INTO messages (origin, queue, due, wall, payload) VALUES (?, ?, ?, ?, ?)"
            row = self._db.execute(sql, (origin, queue, due, wall, payload)).lastrowid
            origin = origin or row
        self.made_deliverable = True
        return f"{self._identity}-{origin}"

    def _queues_of(self, topic: str) -> list[int]:
        """Return the queues of a topic; looked up once per transaction."""
        queues = self._queues.get(topic)
        if queues is None:
            queues = [id_ for (id_,) in self._db.execute("SELECT id FROM queues WHERE topic = ?", (topic,))]
            queues = self._queues[topic] = queues or [self._new_queue(topic, "")]
        return queues

    def _new_queue(self, topic: str, subscription: str) -> int:
        sql = "INSERT INTO queues (topic, subscription) VALUES (?, ?) RETURNING id"
        ((queue,),) = self._db.execute(sql, (topic, subscription)).fetchall()
        return int(queue)

    def subscribe(self, topics: Iterable[str], subscription: str) -> dict[int, str]:
        """Return the queues of a subscription, each with its topic. Creates missing queues; see `Broker.subscribe`."""
        return {self._subscribe(topic, subscription): topic for topic in topics}

    def _subscribe(self, topic: str, subscription: str) -> int:
        sql = "UPDATE queues SET subscription = ? WHERE topic = ? AND subscription = '' RETURNING id"
        found = self._db.execute(sql, (subscription, topic)).fetchall()
        if not found:
            sql = "SELECT id FROM queues WHERE subscription = ? AND topic = ?"
            found = self._db.execute(sql, (subscription, topic)).fetchall()
        if found:
            return int(found[0][0])
        queue = self._new_queue(topic, subscription)
        self._queues.clear()
        self._db.execute(_COPY, (queue, topic))
        return queue

    def ready(self, queues: Iterable[int], now: float) -> list[int]:
        """Return the queues with a message that is due and has no holder."""
        return [queue for queue, due in self._first_dues(queues) if due <= now]

    def next_due(self, queues: Iterable[int]) -> float | None:
        """Return the earliest due time of the messages without a holder; None if there are none."""
        return min((due for _queue, due in self._first_dues(queues)), default=None)

    def _first_dues(self, queues: Iterable[int]) -> list[tuple[int, float]]:
        """Return the earliest due time of each queue that has a message without a holder, in the order given."""
        return self._db.execute(_FIRST_DUES, (json.dumps(list(queues)),)).fetchall()

    def claim(self, holder: int, queues: Sequence[int], limit: int, now: float) -> list[Lease]:
        """Claim up to `limit` due messages, spread evenly over the queues, starting with the first queue."""
        leases: list[Lease] = []
        ready = deque(self.ready(queues, now))
        while ready and len(leases) < limit:
            queue = ready.popleft()
            share = max(1, (limit - len(leases)) // (len(ready) + 1))
            rows = self._db.execute(_CLAIM, (holder, queue, now, share)).fetchall()
            leases += [
                Lease(row, f"{self._identity}-{origin}", queue, payload, lost == 1)
                for row, origin, payload, lost in rows
            ]
            if len(rows) == share:
                ready.append(queue)
        return leases

    def ack(self, row: int) -> None:
        """Delete a message, regardless of its current holder."""
        self._db.execute("DELETE FROM messages WHERE row = ?", (row,))

    def release(self, rows: Iterable[int], holder: int) -> None:
        """Release those rows that this holder still holds."""
        sql = "UPDATE messages SET holder = 0 WHERE row = ? AND holder = ?"
        self.made_deliverable |= self._db.executemany(sql, [(row, holder) for row in rows]).rowcount > 0

    def backlog(self, topic: str, subscription: str, now: float) -> Backlog:
        """Count the messages of a subscription exactly; for a future subscription, those it will start with."""
        values = {"topic": topic, "subscription": subscription, "now": now}
        ready, delayed, in_flight, oldest = self._db.execute(_BACKLOG, values).fetchone()
        age = 0.0 if oldest is None else max(now - oldest, 0.0)
        return Backlog(ready=ready, delayed=delayed, in_flight=in_flight, oldest_age=age)

    def register(self, name: str, expires: float) -> int:
        """Register a holder whose lease ends at `expires` and return its number, which is never reused."""
        sql = "INSERT INTO holders (name, expires) VALUES (?, ?) RETURNING id"
        ((holder,),) = self._db.execute(sql, (name, expires)).fetchall()
        return int(holder)

    def renew_lease(self, name: str, expires: float) -> bool:
        """Extend a holder's lease; return False if no holder of that name is registered."""
        return self._db.execute("UPDATE holders SET expires = ? WHERE name = ?", (expires, name)).rowcount == 1

    def holders(self) -> set[str]:
        """Return the names of the registered holders."""
        return {name for (name,) in self._db.execute("SELECT name FROM holders")}

    def remove_dead(self, name: str) -> None:
        """Remove a dead holder and release its messages."""
        self.made_deliverable |= self._db.execute(_REMOVE_DEAD, (name,)).rowcount > 0
        self.remove_holder(name)

    def remove_holder(self, name: str) -> None:
        """Remove a holder that may still be alive; `reclaim` then releases its messages."""
        self._db.execute("DELETE FROM holders WHERE name = ?", (name,))

    def reclaim(self, now: float) -> None:
        """Release every message whose holder is not registered, or whose holder's lease ended before `now`."""
        self.made_deliverable |= self._db.execute(_RECLAIM, (now,)).rowcount > 0

    def vacuum(self) -> None:
        """Return some free pages to the file system, if there are many. Must run outside a transaction."""
        ((free,),) = self._db.execute("PRAGMA freelist_count").fetchall()
        if free > _SPARE_PAGES:
            # `incremental_vacuum` frees one page per step and `execute` does only one step, so run it as a script. The
            # checkpoint then truncates the file.
            self._db.executescript(f"PRAGMA incremental_vacuum({_SPARE_PAGES}); PRAGMA wal_checkpoint(PASSIVE)")


def _create(path: Path) -> None:
    """Create an empty file that only its owner may read, unless the file exists.

    The file is created under a temporary name and then linked: opening and closing a database file directly would drop
    the locks that this process's SQLite holds on it (sqlite.org/howtocorrupt.html, section 2.2). Only the nearest
    folder is created: otherwise a process with a mistyped path would work on a separate, empty broker.
    """
    if not path.parent.parent.is_dir():
        raise BadBrokerUrl(
            f"cannot create the broker file {path}: create the folder {path.parent.parent}, or name another path"
        )
    try:
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            return
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise BadBrokerUrl(f"cannot create the broker file {path} ({error.strerror}): name another folder") from error


def _is_ours(db: sqlite3.Connection, path: str) -> bool:
    """Return True if the file holds our tables, False if it is empty; raise `BadBrokerUrl` for any other content."""
    try:
        ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise BadBrokerUrl(f"{path} is not a SQLite database: name another file") from error
    ((application,),) = db.execute("PRAGMA application_id").fetchall()
    ((version,),) = db.execute("PRAGMA user_version").fetchall()
    if tables and application != _APPLICATION:
        raise BadBrokerUrl(f"{path} is a database of another program: name another file")
    if tables and version != _VERSION:
        raise BadBrokerUrl(
            f"{path} has schema {version}, but this build needs {_VERSION}: process its messages with the build that "
            "wrote it, or name another file"
        )
    return bool(tables)


def _tune(db: sqlite3.Connection, path: str) -> None:
    """Set the pragmas of a file; `auto_vacuum` takes effect only before the first table is created."""
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    ((mode,),) = db.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise BadBrokerUrl(f"{path} is on a file system without shared memory: name a folder on a local disk")
    # The death of a process loses nothing; a power failure may lose the latest commits but never corrupts the file.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")


def _make_tables(db: sqlite3.Connection, path: str, now: Moment) -> None:
    """Create our tables, unless another process has created them."""
    db.execute("BEGIN IMMEDIATE")
    if not _is_ours(db, path):
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("INSERT INTO broker (identity, boot) VALUES (?, ?)", (f"{int(now.wall * 1e6):x}", now.boot))
    db.execute("COMMIT")


def _enter_boot(db: sqlite3.Connection, now: Moment) -> None:
    """Adopt a file of an earlier boot: recompute due times from wall time and release all messages of dead holders."""
    if _is_of_boot(db, now.boot):
        return
    db.execute("BEGIN IMMEDIATE")
    if not _is_of_boot(db, now.boot):
        db.execute(
            "UPDATE messages SET due = wall - ? + ?, holder = 0, lost = (lost > 0 OR holder > 0)",
            (now.wall, now.steady),
        )
        db.execute("DELETE FROM holders")
        db.execute("UPDATE broker SET boot = ?", (now.boot,))
    db.execute("COMMIT")


def _is_of_boot(db: sqlite3.Connection, boot: str) -> bool:
    ((known,),) = db.execute("SELECT boot FROM broker").fetchall()
    return bool(known == boot)
