"""Quota account: tasks sold, charges, callbacks and refunds. The oracle of many tests.

It is one SQLite file with one connection, used by one call at a time. Each change is one transaction, so after a kill
the account holds everything it had answered. `QuotaAccount` blocks: `sandbox.backend.app` calls it from a thread of its
own.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

__all__ = ["PAGE_SIZE", "Outcome", "Purchase", "QuotaAccount", "ReceivedCallback", "answer_to"]

PAGE_SIZE: Final = 50
"""Rows on one page of unfinished tasks."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, charges INTEGER NOT NULL, refunds INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL REFERENCES tasks, step INTEGER NOT NULL,
    kind TEXT NOT NULL, params TEXT NOT NULL, created REAL NOT NULL, status TEXT NOT NULL DEFAULT 'pending',
    outputs TEXT NOT NULL DEFAULT '[]', error TEXT NOT NULL DEFAULT '', error_code TEXT NOT NULL DEFAULT '',
    vendor_task_id TEXT NOT NULL DEFAULT '', run INTEGER NOT NULL DEFAULT 0, denied INTEGER NOT NULL DEFAULT 0,
    UNIQUE (task_id, step)
) STRICT;
CREATE INDEX IF NOT EXISTS open_steps ON steps (id) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL, step INTEGER NOT NULL, path TEXT NOT NULL,
    status TEXT NOT NULL, signature_ok INTEGER NOT NULL, v2 TEXT NOT NULL, http_status INTEGER NOT NULL,
    fault TEXT NOT NULL, received REAL NOT NULL, run INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS sales (
    user_id TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, task_id TEXT NOT NULL, PRIMARY KEY (user_id, key)
) STRICT;
CREATE TABLE IF NOT EXISTS limits (user_id TEXT PRIMARY KEY, quota INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS callbacks_of ON callbacks (task_id, step);
"""


_LATER_COLUMNS: Final = (
    ("steps", "run", "INTEGER NOT NULL DEFAULT 0"),
    ("steps", "denied", "INTEGER NOT NULL DEFAULT 0"),
    ("callbacks", "run", "INTEGER NOT NULL DEFAULT 0"),
    ("steps", "text", "TEXT NOT NULL DEFAULT ''"),
    ("steps", "degraded", "TEXT NOT NULL DEFAULT '[]'"),
)
"""Tables and columns that are not in files of an older build."""


class ReceivedCallback(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as received, valid or not."""

    path: str
    received: float
    """Seconds since the epoch."""
    signature_ok: bool
    """True if the signature and the timestamp are valid."""
    v2: str
    """`ok`, `missing` or `bad`."""
    task: str = ""
    step: int = 0
    run: int = 0
    status: str = ""
    """`success` or `failed`; empty if the body could not be read."""
    outputs: tuple[str, ...] = ()
    error: str = ""
    error_code: str = ""
    vendor_task_id: str = ""
    text: str = ""
    """The result of a kind that sells a text."""
    degraded: tuple[str, ...] = ()
    fault: str = ""
    """Fault that will affect the answer, if one is armed."""


Outcome = Literal["sold", "again", "other", "no_quota"]
"""`again`: the same purchase was made before; `other`: another one was made under the same key."""


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase under an idempotency key."""

    user: str
    key: str
    digest: str
    """Digest of everything that is bought."""
    kind: str
    params: str
    """JSON."""


def answer_to(current: str, status: str) -> int:
    """Return the HTTP status for a verdict: the first one stands, a repeat is accepted, a contrary one is not. Pure."""
    if current in {"pending", status} or (current, status) == ("cancelled", "failed"):
        return 200
    return 409


class QuotaAccount:
    """The quota account.

    Args:
        path: path of the file, or `:memory:`.
    """

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        for table, column, form in _LATER_COLUMNS:
            if all(row["name"] != column for row in self._all(f"PRAGMA table_info({table})")):
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {form}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sell(self, user: str, task: str, step: int, kind: str, params: str, now: float) -> None:
        """Sell a new task with its first step: charges quota once."""
        with self._transaction():
            self._db.execute("INSERT INTO tasks VALUES (?, ?, 1, 0)", (task, user))
            self._add(task, step, kind, params, now)

    def sell_once(self, purchase: Purchase, task: str, now: float) -> tuple[Outcome, str]:
        """Sell a new task under a key, unless the user has bought under that key before.

        Args:
            purchase: the purchase.
            task: id of a new task.
            now: seconds since the epoch.

        Returns:
            The outcome and the task's id, which is the earlier one for `again`, and empty where nothing is sold.
        """
        user = purchase.user
        with self._transaction():
            row = self._one("SELECT digest, task_id FROM sales WHERE user_id = ? AND key = ?", user, purchase.key)
            if row is not None:
                return ("again", row["task_id"]) if row["digest"] == purchase.digest else ("other", "")
            if not self._has_quota(user):
                return "no_quota", ""
            self._db.execute("INSERT INTO sales VALUES (?, ?, ?, ?)", (user, purchase.key, purchase.digest, task))
            self._db.execute("INSERT INTO tasks VALUES (?, ?, 1, 0)", (task, user))
            self._add(task, 0, purchase.kind, purchase.params, now)
        return "sold", task

    def limit(self, user: str, quota: int) -> None:
        """Limit a user's charges without a refund; without this call there is no limit."""
        self._db.execute("INSERT OR REPLACE INTO limits VALUES (?, ?)", (user, quota))

    def _has_quota(self, user: str) -> bool:
        row = self._one(
            "SELECT quota, (SELECT COALESCE(SUM(charges - refunds), 0) FROM tasks WHERE user_id = ?) AS spent"
            " FROM limits WHERE user_id = ?",
            *(user, user),
        )
        return row is None or row["spent"] < row["quota"]

    def add_step(self, task: str, kind: str, params: str, now: float) -> tuple[str, int] | None:
        """Add the next step of a task, which is paid already. Returns its user and index; None for an unknown task."""
        with self._transaction():
            row = self._one(
                "SELECT user_id, MAX(step) AS last FROM tasks JOIN steps USING (task_id) WHERE task_id = ?", task
            )
            if row is None or row["user_id"] is None:
                return None
            self._add(task, row["last"] + 1, kind, params, now)
            return row["user_id"], row["last"] + 1

    def record_callback(self, callback: ReceivedCallback, forced: int | None = None) -> tuple[int, str]:
        """Record a callback and apply it.

        Args:
            callback: the callback.
            forced: HTTP status to answer instead of applying it.

        Returns:
            HTTP status and the current state.
        """
        with self._transaction():
            http_status, state = (forced, "") if forced is not None else self._act(callback)
            self._db.execute(
                "INSERT INTO callbacks (task_id, step, path, status, signature_ok, v2, http_status, fault,"
                " received, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(callback.task, callback.step, callback.path, callback.status, callback.signature_ok, callback.v2),
                    *(http_status, callback.fault, callback.received, callback.run),
                ),
            )
        return http_status, state

    def state(self, task: str, step: int) -> tuple[str, str, float] | None:
        """Return a step's state, its task's user and the time of sale; None for a step that was never sold."""
        row = self._one(
            "SELECT status, user_id, created FROM steps JOIN tasks USING (task_id) WHERE task_id = ? AND step = ?",
            *(task, step),
        )
        return (row["status"], row["user_id"], row["created"]) if row else None

    def cancel(self, task: str) -> str | None:
        """Cancel pending steps and refund. Returns the current state; None for an unknown task."""
        with self._transaction():
            done = self._db.execute(
                "UPDATE steps SET status = 'cancelled' WHERE task_id = ? AND status = 'pending'", (task,)
            )
            if done.rowcount:
                self._refund(task)
            row = self._one("SELECT status FROM steps WHERE task_id = ? ORDER BY step DESC LIMIT 1", task)
            return row["status"] if row else None

    def reopen(self, task: str, step: int, run: int, now: float) -> tuple[int, str]:
        """Sell a failed step again for a run; charge it if it was refunded. A run has one answer, also a no.

        Args:
            task: id of the task.
            step: index of the step.
            run: run that is opened, from 1; one below the run that was opened last, or denied last, is turned away.
            now: seconds since the epoch.

        Returns:
            HTTP status and the current state.
        """
        with self._transaction():
            row = self._one("SELECT status, run, denied FROM steps WHERE task_id = ? AND step = ?", task, step)
            if row is None:
                return 404, ""
            if row["run"] == run:
                return 200, row["status"]
            if max(row["run"], row["denied"]) >= run or row["status"] != "failed":
                deny = "UPDATE steps SET denied = max(denied, ?) WHERE task_id = ? AND step = ?"
                self._db.execute(deny, (run, task, step))
                return 409, row["status"]
            self._db.execute(
                "UPDATE steps SET status = 'pending', error = '', error_code = '', created = ?, run = ?"
                " WHERE task_id = ? AND step = ?",
                (now, run, task, step),
            )
            self._db.execute("UPDATE tasks SET charges = charges + 1 WHERE task_id = ? AND refunds = charges", (task,))
            return 200, "pending"

    def unfinished(self, before: float, after: int) -> tuple[list[dict[str, Any]], int]:
        """Return a page of steps pending since `before` or longer, after row `after`; and the next cursor, or 0."""
        rows = self._all(
            "SELECT id, task_id AS task, user_id AS user, step, kind, created FROM steps JOIN tasks USING (task_id)"
            " WHERE status = 'pending' AND created <= ? AND id > ? ORDER BY id LIMIT ?",
            *(before, after, PAGE_SIZE + 1),
        )
        page = rows[:PAGE_SIZE]
        last = page[-1]["id"] if len(rows) > PAGE_SIZE else 0
        return [{name: value for name, value in row.items() if name != "id"} for row in page], last

    def steps(self, task: str = "") -> list[dict[str, Any]]:
        """Return every step sold, of one task or of all, with its callbacks."""
        where, values = ("WHERE task_id = ?", (task,)) if task else ("", ())
        calls: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for call in self._all(f"SELECT * FROM callbacks {where} ORDER BY id", *values):  # noqa: S608 - a constant
            calls.setdefault((call["task_id"], call["step"]), []).append(_shown(call))
        rows = self._all(
            f"SELECT * FROM steps JOIN tasks USING (task_id) {where} ORDER BY id",  # noqa: S608 - a constant
            *values,
        )
        return [{**_sold(row), "callbacks": calls.get((row["task_id"], row["step"]), [])} for row in rows]

    def strays(self) -> list[dict[str, Any]]:
        """Return callbacks for steps that were never sold."""
        rows = self._all(
            "SELECT callbacks.* FROM callbacks LEFT JOIN steps USING (task_id, step) WHERE steps.id IS NULL ORDER BY id"
        )
        return [{"task_id": row["task_id"], "step": row["step"], **_shown(row)} for row in rows]

    def totals(self) -> dict[str, int]:
        """Return the total quota charged and refunded."""
        row = self._one("SELECT COALESCE(SUM(charges), 0) AS charged, COALESCE(SUM(refunds), 0) AS refunded FROM tasks")
        return dict(row or {})

    def _act(self, callback: ReceivedCallback) -> tuple[int, str]:
        if not callback.signature_ok:
            return 403, ""
        row = self._one(
            "SELECT status, user_id, run FROM steps JOIN tasks USING (task_id) WHERE task_id = ? AND step = ?",
            *(callback.task, callback.step),
        )
        if row is None:
            return 404, ""
        if callback.run != row["run"]:
            return 409, row["status"]
        if not _is_complete(callback, row["user_id"]):
            return 422, row["status"]
        http_status = answer_to(row["status"], callback.status)
        if row["status"] == "pending":
            self._settle(callback)
            return http_status, callback.status
        return http_status, row["status"]

    def _settle(self, callback: ReceivedCallback) -> None:
        self._db.execute(
            "UPDATE steps SET status = ?, outputs = ?, error = ?, error_code = ?, vendor_task_id = ?, text = ?,"
            " degraded = ? WHERE task_id = ? AND step = ?",
            (
                *(
                    callback.status,
                    json.dumps(callback.outputs),
                    callback.error,
                    callback.error_code,
                    callback.vendor_task_id,
                    callback.text,
                    json.dumps(callback.degraded),
                ),
                *(callback.task, callback.step),
            ),
        )
        if callback.status == "failed":
            self._refund(callback.task)

    def _refund(self, task: str) -> None:
        self._db.execute("UPDATE tasks SET refunds = refunds + 1 WHERE task_id = ? AND refunds < charges", (task,))

    def _add(self, task: str, step: int, kind: str, params: str, now: float) -> None:
        self._db.execute(
            "INSERT INTO steps (task_id, step, kind, params, created) VALUES (?, ?, ?, ?, ?)",
            (task, step, kind, params, now),
        )

    def _all(self, sql: str, *values: object) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(sql, values)]

    def _one(self, sql: str, *values: object) -> dict[str, Any] | None:
        return next(iter(self._all(sql, *values)), None)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _is_complete(callback: ReceivedCallback, user: str) -> bool:
    """Return True if a success has a text or names results in the task's own folder, or a failure names its reason."""
    if callback.status == "success":
        folder = f"cos://output/{user}/{callback.task}/"
        return bool(callback.outputs or callback.text) and all(url.startswith(folder) for url in callback.outputs)
    return callback.status == "failed" and bool(callback.error)


def _sold(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("task_id", "user_id", "step", "kind", "status", "error", "error_code")},
        "params": json.loads(row["params"]),
        "outputs": json.loads(row["outputs"]),
        "degraded": json.loads(row["degraded"]),
        **{name: row[name] for name in ("text", "vendor_task_id", "created", "run", "charges", "refunds")},
    }


def _shown(call: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = ("path", "status", "run", "v2", "http_status", "fault", "received")
    return {**{name: call[name] for name in names}, "signature_ok": bool(call["signature_ok"])}
