"""Engine on the embedded broker against a raw loop of sqlite3 that claims and deletes, with the same pragmas."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.environment import TOPIC, NoWork, poll_message
from bench.figures import Figure, ratio
from transport.sqlite import SqliteBroker

__all__ = ["measure"]

_REPEATS = 5
_MESSAGES = 5_000
_SLOTS = 64

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE queue (id INTEGER PRIMARY KEY, payload BLOB NOT NULL, taken INTEGER NOT NULL DEFAULT 0);
CREATE INDEX free ON queue (id) WHERE taken = 0;
"""
_CLAIM = """
UPDATE queue SET taken = 1 WHERE id = (SELECT id FROM queue WHERE taken = 0 ORDER BY id LIMIT 1)
RETURNING id, payload
"""


def _raw(folder: Path) -> float:
    """Return messages per second of a loop that claims one, commits, deletes it, commits."""
    db = sqlite3.connect(folder / "raw.db", isolation_level=None)
    db.executescript(_SCHEMA)
    db.execute("BEGIN")
    db.executemany("INSERT INTO queue (payload) VALUES (?)", ((poll_message(n),) for n in range(_MESSAGES)))
    db.execute("COMMIT")
    started = time.perf_counter()
    while (found := db.execute(_CLAIM).fetchall()) != []:
        db.execute("DELETE FROM queue WHERE id = ?", (found[0][0],))
    took = time.perf_counter() - started
    db.close()
    return _MESSAGES / took


async def _engine(folder: Path, prefetch: int) -> float:
    broker = await SqliteBroker.open(str(folder / "broker.db"))
    await asyncio.gather(*(broker.publish(TOPIC, poll_message(number)) for number in range(_MESSAGES)))
    took = await NoWork(broker, concurrency=_SLOTS, prefetch=prefetch).take(_MESSAGES)
    await broker.close()
    return _MESSAGES / took


def measure() -> Iterator[Figure]:
    """Measure rates and their ratio."""
    rows: dict[str, list[float]] = {"raw_sqlite": [], "engine_sqlite": [], "engine_sqlite_prefetch": []}
    for _ in range(_REPEATS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows["raw_sqlite"].append(_raw(folder))
            rows["engine_sqlite"].append(asyncio.run(_engine(folder / "a", 0)))
            rows["engine_sqlite_prefetch"].append(asyncio.run(_engine(folder / "b", 200)))
    for label, rates in rows.items():
        yield Figure.of(label, rates, "messages/s")
    yield ratio("engine_vs_raw_sqlite", rows["engine_sqlite"], rows["raw_sqlite"])
    yield ratio("engine_prefetch_vs_raw_sqlite", rows["engine_sqlite_prefetch"], rows["raw_sqlite"])
